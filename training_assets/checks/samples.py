"""Whether training samples are what they say, found from the published actions in another way."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import reduce
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext, CheckOutcome, Metric
from training_assets.checks.counts import compare_counts
from training_assets.checks.files import Batches
from training_assets.checks.sample_rows import ACTED_DDL, Pairs, acted_on
from training_assets.checks.structure import facts_of
from training_assets.schemas import UNIFIED_ACTIONS

_PAIR: Final = ("dt", "customer_id", "item_id")
_FEATURES: Final = ("user_features", "item_features")
_TOLERANCE: Final = 1e-9


def check_positives(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Each pair with a positive action of the day is a positive, once, and nothing else is."""
    kinds = list(context.settings.positive_types)
    names = ("customer_id", "item_id", "action_type", "is_bot")
    actions = context.columns(UNIFIED_ACTIONS, context.days, names)
    is_positive = F.col("action_type").isin(kinds) & ~F.coalesce("is_bot", F.lit(False))
    expected = actions.where(is_positive).select(*_PAIR).distinct()
    if context.settings.positives == "new":
        before = _acted(context).distinct()
        known = expected.join(before, ["customer_id", "item_id"]).where(_is_before(context))
        expected = expected.join(known.select(*_PAIR).distinct(), list(_PAIR), "left_anti")
    found = _samples(context, ("label",)).where(F.col("label") == 1.0).select(*_PAIR)
    return compare_counts(context, expected, found, "positives", "pairs with a positive action")


def check_negatives(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """No negative was acted on in the window or on the day; ``seen_before`` says what was.

    Of the customers of a day, about ``check_customers`` are looked at.
    """
    rows = _samples(context, ("label", "seen_before")).where(_is_looked_at(_part(context)))
    pairs = rows.select("customer_id", "item_id").distinct().toArrow()
    acted = _acted(context, Pairs.of(pairs)).distinct()
    both = rows.select(*_PAIR).distinct().join(acted, ["customer_id", "item_id"])
    is_day = F.col("action_dt") == F.col("dt")
    known = (
        both.where(_is_before(context) | is_day)
        .groupBy(*_PAIR)
        .agg(
            F.max(F.when(is_day, 0).otherwise(1)).alias("before"),
            F.max(F.when(is_day, 1).otherwise(0)).alias("on_day"),
        )
    )
    judged = rows.join(known, list(_PAIR), "left").withColumns(
        {name: F.coalesce(name, F.lit(0)) for name in ("before", "on_day")}
    )
    is_acted_on = (F.col("before") == 1) | (F.col("on_day") == 1)
    if context.settings.exclude == "positives":
        is_acted_on = F.lit(False)
    is_negative = F.col("label") == 0.0
    says = F.coalesce(F.col("seen_before").cast("int"), F.lit(-1))
    counts = judged.groupBy("dt").agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_if(is_negative & is_acted_on).alias("acted_on"),
        F.count_if(says != F.col("before")).alias("wrong_seen_before"),
    )
    wording = {
        "acted_on": "negatives that their customers had acted on",
        "wrong_seen_before": "with a seen_before that is not so",
    }
    return _outcomes(context, counts, wording)


def check_sampling(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Each pair once; at most ``negative_ratio`` for a positive; fewer only where all were given.

    Where a customer has fewer, the probabilities of what was given add up to 1.
    """
    names = ("label", "sampling_probability", "log_q", "positive_item_id")
    rows = _samples(context, (*names, "item_text"))
    ratio = context.settings.negative_ratio
    is_negative = F.col("label") == 0.0
    p, log_q = F.col("sampling_probability"), F.col("log_q")
    is_right = F.when(is_negative, (p > 0) & (p <= 1) & log_q.isNotNull()).otherwise(
        p.isNull() & log_q.isNull() & (F.col("label") == 1.0)
    )
    twice = rows.groupBy(*_PAIR).agg((F.count(F.lit(1)) - 1).alias("twice"))
    per_positive = rows.groupBy("dt", "customer_id", "positive_item_id").agg(
        F.count_if(is_negative).alias("negatives"),
        F.count_if(~is_negative & (F.col("item_text") == F.col("positive_item_id"))).alias("own"),
    )
    of_customer = rows.groupBy("dt", "customer_id").agg(
        F.count_if(is_negative).alias("k"),
        F.count_if(~is_negative).alias("positives"),
        F.sum(F.when(is_negative, p)).alias("given"),
        F.min(F.when(is_negative, log_q - F.ln(p))).alias("low"),
        F.max(F.when(is_negative, log_q - F.ln(p))).alias("high"),
        F.count_if(~F.coalesce(is_right, F.lit(False))).alias("bad"),
    )
    k = F.col("k")
    is_short = (k > 0) & (k < F.col("positives") * ratio)
    is_wrong_log = (k > 0) & (
        (F.abs(F.col("low") - F.ln(k)) > _TOLERANCE) | (F.abs(F.col("high") - F.ln(k)) > _TOLERANCE)
    )
    by_day = [
        _sum(twice, F.col("twice"), "twice"),
        _sum(per_positive, F.greatest(F.col("negatives") - ratio, F.lit(0)), "too_many"),
        _sum(per_positive, F.abs(F.col("own") - 1), "without_positive"),
        _sum(of_customer, F.col("bad"), "bad_probability"),
        _sum(of_customer, is_wrong_log.cast("int"), "bad_log_q"),
        _sum(of_customer, (is_short & (F.abs(F.col("given") - 1) > 1e-6)).cast("int"), "short"),
        _sum(of_customer, (F.col("given") > 1 + 1e-6).cast("int"), "above_one"),
    ]
    wording = {
        "twice": "pairs that come again",
        "too_many": f"negatives beyond {ratio} for a positive",
        "without_positive": "whose positive is not there once",
        "bad_probability": "with a probability or log_q that cannot be",
        "bad_log_q": "customers whose log_q is not ln(k * probability)",
        "short": "customers with fewer negatives than there were left",
        "above_one": "customers whose probabilities add up to more than 1",
    }
    counts = reduce(lambda one, other: one.join(other, "dt", "left"), by_day)
    return _outcomes(context, counts, wording)


def sample_metrics(context: CheckContext) -> dict[date, dict[str, Any]]:
    """Rows, positives, negatives, how many could not be had, and features that were not there."""
    ratio, found = context.settings.negative_ratio, {}
    for day, files in facts_of(context).items():
        rows, positives = sum(f.rows for f in files), sum(f.positives for f in files)
        negatives = rows - positives
        absent = [n for n in _FEATURES if day not in context.lake.snapshot(n).files]
        found[day] = {
            "rows": rows,
            "customers": sum(f.customers for f in files),
            "positives": positives,
            "negatives": negatives,
            "shortfall": positives * ratio - negatives,
            "without_features": ", ".join(absent),
        }
    return found


def _samples(context: CheckContext, names: Sequence[str]) -> DataFrame:
    """Columns of the samples under check, item_id as a number; item_text is as delivered."""
    wanted = ["customer_id", "item_number", *(n for n in names if n != "item_text")]
    if "item_text" in names:
        wanted.append("item_id")
    rows = context.columns(context.table, context.days, wanted)
    if "item_text" in names:
        rows = rows.withColumnRenamed("item_id", "item_text")
    return rows.withColumnRenamed("item_number", "item_id")


def _acted(context: CheckContext, pairs: Pairs | None = None) -> DataFrame:
    """Who has acted on what up to the days, by day as action_dt; of ``pairs``, and of others."""
    lookback = context.settings.lookback_days
    first = date.min.toordinal()
    if lookback is not None:
        first = max(first, min(context.days).toordinal() - lookback)
    published = context.lake.days(UNIFIED_ACTIONS.name)
    days = [d for d in published if first <= d.toordinal() <= max(context.days).toordinal()]

    def read(batches: Batches) -> Iterator[pa.RecordBatch]:
        return acted_on(batches, pairs)

    return context.on_files(UNIFIED_ACTIONS, days, read, ACTED_DDL)


def _is_before(context: CheckContext) -> Column:
    """Whether action_dt is of the look-back of dt."""
    ago = F.datediff("dt", "action_dt")
    lookback = context.settings.lookback_days
    return ago >= 1 if lookback is None else (ago >= 1) & (ago <= lookback)


def _part(context: CheckContext) -> int:
    """One customer of so many is looked at."""
    customers = max((sum(f.customers for f in fs) for fs in facts_of(context).values()), default=0)
    return max(1, math.ceil(customers / context.settings.check_customers))


def _is_looked_at(part: int) -> Column:
    return F.pmod(F.xxhash64("customer_id"), F.lit(part)) == 0 if part > 1 else F.lit(True)


def _sum(frame: DataFrame, value: Column, name: str) -> DataFrame:
    return frame.groupBy("dt").agg(F.sum(value).cast("long").alias(name))


def _outcomes(
    context: CheckContext, counts: DataFrame, wording: Mapping[str, str]
) -> dict[date, CheckOutcome]:
    """A verdict a day: every count named in ``wording`` must be 0."""
    found = {row["dt"]: row.asDict() for row in counts.collect()}
    outcomes = {}
    for day in context.days:
        metrics: dict[str, Metric] = {
            name: int(value or 0) for name, value in found.get(day, {}).items() if name != "dt"
        }
        metrics = dict.fromkeys(wording, 0) | metrics
        problems = [f"{metrics[name]} {text}" for name, text in wording.items() if metrics[name]]
        text = f"Samples of {day}: {', '.join(problems)}; expected none." if problems else ""
        outcomes[day] = CheckOutcome(not problems, metrics, text)
    return outcomes
