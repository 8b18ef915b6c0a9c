"""Whether feature tables have all rows that they should, counted from what came in."""

from collections.abc import Mapping
from datetime import date

from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext, CheckOutcome
from training_assets.checks.structure import facts_of
from training_assets.schemas import IMPRESSIONS, ITEMS_SHOWN, RETURN, UNIFIED_ACTIONS


def check_shown_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """How often items were shown, against the valid items of all rankings."""
    columns = context.columns(ITEMS_SHOWN, context.days, ["times"])
    counted = columns.groupBy("dt").agg(F.sum("times").alias("times")).collect()
    found = {row["dt"]: row["times"] for row in counted}
    wanted = dict.fromkeys(context.days, 0) | _shown(context, is_distinct=False)
    return {
        day: _outcome(day, found.get(day, 0), wanted[day], "times shown") for day in context.days
    }


def check_pair_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Pairs against the actions of the day without bots', and the pairs that were shown."""
    rows = context.columns(UNIFIED_ACTIONS, context.days, ["is_bot", "action_type"])
    actions = rows.where(~F.col("is_bot") & (F.col("action_type") != RETURN))
    counted = actions.groupBy("dt").agg(F.count(F.lit(1)).alias("rows")).collect()
    acted = {row["dt"]: row["rows"] for row in counted}
    shown = _shown(context, is_distinct=True)
    outcomes = {}
    for day, files in facts_of(context).items():
        wanted = acted.get(day, 0) + shown.get(day, 0)
        outcomes[day] = _outcome(day, sum(file.rows for file in files), wanted, "pairs")
    return outcomes


def _shown(context: CheckContext, *, is_distinct: bool) -> dict[date, int]:
    """Valid items of rankings by day; each pair of customer and item once if ``is_distinct``."""
    shown = (
        context.raw(IMPRESSIONS)
        .read_valid(context.spark)
        .select("dt", "customer_id", F.explode("impressions.item_id").alias("item_id"))
    )
    counts = F.countDistinct("customer_id", "item_id") if is_distinct else F.count(F.lit(1))
    rows = shown.groupBy("dt").agg(counts.alias("rows")).collect()
    return {row["dt"]: row["rows"] for row in rows}


def _outcome(day: date, found: int, wanted: int, what: str) -> CheckOutcome:
    metrics = {"found": found, "expected": wanted}
    text = f"{found} {what} on {day}; expected {wanted}."
    return CheckOutcome(found == wanted, metrics, "" if found == wanted else text)
