"""How many rows there are, against how many there must be: nothing is lost, nothing is added."""

from collections.abc import Mapping
from datetime import date
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext, CheckOutcome, Metric
from training_assets.checks.structure import facts_of
from training_assets.schemas import (
    ACTION_TYPES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    INTERACTION_TYPES,
    INTERACTIONS,
    ORDER,
    RAW_INTERACTIONS,
    RETURN,
    STORED_TYPES,
    TRAINING_INPUT,
    re_delivered,
)
from training_assets.sources import action_sources, first_by_kind, kinds_taken, source_days

_BY_TYPE: Final = "counts by type"


def check_action_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Raw rows of each kind = valid + quarantined + delivered again, where equal rows are one.

    Several sources of a kind add up.
    """
    stream = _from_stream(context)
    return {
        day: _action_counts(context, day, valid, stream[day])
        for day, valid in counts_by_type(context).items()
    }


def _action_counts(
    context: CheckContext, day: date, valid: Mapping[int | None, int], stream: Mapping[int, int]
) -> CheckOutcome:
    metrics: dict[str, Metric] = {}
    problems = []
    told = {*stream, *(source.action_type for source in context.sources)}
    for code in sorted(code for code in told if code is not None):
        good, kind = valid[code], STORED_TYPES[code]
        sources = [s for s in context.sources if s.action_type == code]
        if code in stream:
            metrics[f"interactions_{kind}"] = stream[code]
            # The stream gives what they have none of, and nothing of theirs is lost then.
            sources = [s for s in sources if context.raw_rows(s, day)]
        rows, bad = stream.get(code, 0), 0
        for source in sources:
            of_source, aside = context.raw_rows(source, day), context.rejected_rows(source, day)
            metrics |= {f"{source.name}_in": of_source, f"{source.name}_quarantined": aside}
            if again := context.rejected_rows(re_delivered(source), day):
                metrics[f"{source.name}_re_delivered"] = again
            rows, bad = rows + of_source - again, bad + aside
        names = [source.name for source in sources] + ["interactions"] * (code in stream)
        metrics[f"{names[0] if len(names) == 1 and sources else kind}_valid"] = good
        if rows != good + bad:
            of_kind = f" {kind}" if code in stream else ""
            aside_text = f" + {bad} quarantined" if sources else ""
            problems.append(f"{', '.join(names)}: {rows}{of_kind} in, {good} valid{aside_text}")
    metrics["unknown_type"] = unknown = sum(n for code, n in valid.items() if code not in told)
    if unknown:
        problems.append(f"{unknown} of a type other than {', '.join(map(str, ACTION_TYPES))}")
    text = f"Rows were lost or added on {day}: {'; '.join(problems)}." if problems else ""
    return CheckOutcome(not problems, metrics, text)


def _from_stream(context: CheckContext) -> dict[date, dict[int, int]]:
    """By day and code, how many actions of the event stream the day must have."""
    begins = source_days(context.lake, RAW_INTERACTIONS).first
    found: dict[date, dict[int, int]] = {day: {} for day in context.days}
    if begins is None:
        return found
    own = action_sources(context.lake)
    firsts = first_by_kind(own, lambda source: source_days(context.lake, source).first)
    mode = context.settings.interaction_kinds
    for day in context.days:
        found[day] = dict.fromkeys(kinds_taken(mode, day, begins, firsts), 0)
    rows = context.columns(INTERACTIONS, context.days, ["interaction_type"])
    for row in rows.groupBy("dt", "interaction_type").count().collect():
        code = INTERACTION_TYPES[row["interaction_type"]]
        is_taken = ORDER if code == RETURN else code
        if is_taken in found[row["dt"]]:
            found[row["dt"]][code] = row["count"]
    return found


def counts_by_type(context: CheckContext) -> dict[date, dict[int | None, int]]:
    """Actions of each day by type, None for types that are not known."""
    if _BY_TYPE not in context.memo:
        codes = [*sorted(STORED_TYPES), None]
        context.memo[_BY_TYPE] = {
            day: {code: sum(f.by_type[n] for f in facts) for n, code in enumerate(codes)}
            for day, facts in facts_of(context).items()
        }
    found: dict[date, dict[int | None, int]] = context.memo[_BY_TYPE]
    return found


def check_customer_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Each customer with an impression has one history, and nobody else has any."""
    keys = ["dt", "customer_id"]
    expected = context.raw(IMPRESSIONS).read_valid(context.spark).select(*keys).distinct()
    actual = context.columns(CUSTOMER_HISTORY, context.days, keys[1:])
    return compare_counts(context, expected, actual, "histories", "customers with impressions")


def check_impression_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Each valid impression item is a row, as often as it was shown, with its label."""
    shown = context.raw(IMPRESSIONS).read_valid(context.spark)
    expected = shown.select(
        "dt", "customer_id", "ranking_id", F.explode("impressions").alias("item")
    ).select(
        "dt",
        "customer_id",
        "ranking_id",
        F.col("item.item_id").cast("long").alias("impression_item_id"),
        F.col("item.is_order").cast("int").alias("is_order"),
    )
    actual = context.columns(TRAINING_INPUT, context.days, expected.columns[1:])
    return compare_counts(context, expected, actual, "training rows", "impression items")


def compare_counts(
    context: CheckContext, expected: DataFrame, actual: DataFrame, have: str, should: str
) -> dict[date, CheckOutcome]:
    """Both sides as multisets: what one has more often than the other is missing or surplus."""
    names = expected.columns
    both = expected.withColumn("side", F.lit(1)).unionByName(actual.withColumn("side", F.lit(-1)))
    balance = both.groupBy(*names).agg(
        F.sum("side").alias("balance"), F.count_if(F.col("side") == 1).alias("wanted")
    )
    found = (
        balance.groupBy("dt")
        .agg(
            F.sum("wanted").alias("wanted"),
            F.sum(F.greatest("balance", F.lit(0))).alias("missing"),
            F.sum(F.greatest(-F.col("balance"), F.lit(0))).alias("surplus"),
        )
        .collect()
    )
    counts = {r["dt"]: (int(r["wanted"]), int(r["missing"]), int(r["surplus"])) for r in found}
    outcomes = {}
    for day in context.days:
        wanted, missing, surplus = counts.get(day, (0, 0, 0))
        rows = wanted - missing + surplus
        metrics: dict[str, Metric] = {
            "rows": rows,
            "expected_rows": wanted,
            "missing_rows": missing,
            "surplus_rows": surplus,
        }
        text = (
            f"{rows} {have} for {wanted} {should} on {day}: {missing} missing, {surplus} surplus."
        )
        is_right = not missing and not surplus
        outcomes[day] = CheckOutcome(is_right, metrics, "" if is_right else text)
    return outcomes
