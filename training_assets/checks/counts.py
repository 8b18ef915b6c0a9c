"""How many rows there are, against how many there must be or were before."""

import statistics
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext, CheckOutcome, Metric
from training_assets.errors import DayNotPublishedError
from training_assets.lake import day_range
from training_assets.schemas import (
    ACTION_SOURCES,
    ACTION_TYPES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
)
from training_assets.sources import raw_days

_BASELINE_DAYS: Final = 7
_MIN_BASELINE_DAYS: Final = 3
_MAX_DROP: Final = 0.2


def check_action_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Raw rows of each source = valid + quarantined."""
    raw = [context.raw(source).count_rows() for source in ACTION_SOURCES]
    valid = _counts_by_type(context)
    outcomes = {}
    for day in context.days:
        metrics: dict[str, Metric] = {}
        problems = []
        for source, rows, code in zip(ACTION_SOURCES, raw, ACTION_TYPES, strict=True):
            good, bad = valid[day].get(code, 0), context.quarantined_rows(source, day)
            metrics |= {
                f"{source.name}_in": rows[day],
                f"{source.name}_valid": good,
                f"{source.name}_quarantined": bad,
            }
            if rows[day] != good + bad:
                problems.append(f"{source.name}: {rows[day]} in, {good} valid + {bad} quarantined")
        unknown = sum(rows for code, rows in valid[day].items() if code not in ACTION_TYPES)
        metrics["unknown_type"] = unknown
        if unknown:
            problems.append(f"{unknown} of a type other than {', '.join(map(str, ACTION_TYPES))}")
        text = f"Rows were lost or added on {day}: {'; '.join(problems)}." if problems else ""
        outcomes[day] = CheckOutcome(not problems, metrics, text)
    return outcomes


def check_customer_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Each customer with an impression has one history, and nobody else has any."""
    keys = ["dt", "customer_id"]
    expected = context.raw(IMPRESSIONS).read_valid(context.spark).select(*keys).distinct()
    actual = context.frame(CUSTOMER_HISTORY.name).select(*keys)
    return _compare_counts(context, expected, actual, "histories", "customers with impressions")


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
    actual = context.frame(TRAINING_INPUT.name).select(
        F.to_date("dt").alias("dt"),
        "customer_id",
        "ranking_id",
        "impression_item_id",
        "is_order",
    )
    return _compare_counts(context, expected, actual, "training rows", "impression items")


def _compare_counts(
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


def check_history_window(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Days of the look-back window that are not in ``unified_actions``.

    The window is taken to begin no earlier than the first day that the lake has any actions of.
    """
    published = set(context.lake.days(UNIFIED_ACTIONS.name))
    known = [day for source in ACTION_SOURCES for day in raw_days(context.lake.root, source)]
    first_known = min([*known, *published], default=None)
    outcomes = {}
    for day in context.days:
        start = context.settings.window_start(day)
        first = max(d for d in (start, first_known) if d) if first_known else day
        window = day_range(first, day - timedelta(days=1)) if first < day else []
        missing = [d for d in window if d not in published]
        metrics: dict[str, Metric] = {
            "window_start": str(first),
            "window_days": len(window),
            "missing_days": len(missing),
        }
        text = (
            f"{len(missing)} of {len(window)} days of the look-back window of {day} are not in "
            f"unified_actions: {_ranges(missing)}."
        )
        outcomes[day] = CheckOutcome(not missing, metrics, text if missing else "")
    return outcomes


def check_volume(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows of each source against the median of the 7 days before."""
    staged = _counts_by_type(context)
    published = set(context.lake.days(UNIFIED_ACTIONS.name))
    outcomes = {}
    for day in context.days:
        before = [day - timedelta(days=n) for n in range(1, _BASELINE_DAYS + 1)]
        baseline = [staged.get(d) or _manifest_counts(context, d, published) for d in before]
        known = [counts for counts in baseline if counts]
        metrics: dict[str, Metric] = {"baseline_days": len(known)}
        problems = []
        for source, code in zip(ACTION_SOURCES, ACTION_TYPES, strict=True):
            rows = staged[day].get(code, 0)
            metrics[f"{source.name}_rows"] = rows
            if len(known) < _MIN_BASELINE_DAYS:
                continue
            median = statistics.median(counts.get(code, 0) for counts in known)
            metrics[f"{source.name}_median"] = median
            if rows < (1 - _MAX_DROP) * median:
                problems.append(f"{source.name} has {rows} rows, the median was {median:g}")
        text = f"Fewer rows than usual on {day}: {'; '.join(problems)}." if problems else ""
        outcomes[day] = CheckOutcome(not problems, metrics, text)
    return outcomes


def _counts_by_type(context: CheckContext) -> dict[date, dict[int, int]]:
    if "counts" not in context.memo:
        rows = (
            context.frame(UNIFIED_ACTIONS.name)
            .groupBy("dt", "action_type")
            .agg(F.count(F.lit(1)).alias("rows"))
            .collect()
        )
        counts: dict[date, dict[int, int]] = {day: {} for day in context.days}
        for row in rows:
            counts[row["dt"]][row["action_type"]] = row["rows"]
        context.memo["counts"] = counts
    found: dict[date, dict[int, int]] = context.memo["counts"]
    return found


def _manifest_counts(context: CheckContext, day: date, published: set[date]) -> dict[int, int]:
    if day not in published:
        return {}
    try:
        metrics = context.lake.manifest(UNIFIED_ACTIONS.name, day).get("figures", {})
    except DayNotPublishedError:
        return {}
    return {code: int(metrics.get(f"num_{name}s", 0)) for code, name in ACTION_TYPES.items()}


def _ranges(days: list[date]) -> str:
    """Consecutive days as ``first..last``."""
    parts: list[list[date]] = []
    for day in days:
        if parts and day - parts[-1][-1] == timedelta(days=1):
            parts[-1].append(day)
        else:
            parts.append([day])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}..{p[-1]}" for p in parts)
