"""What can be seen in a table alone: the shape of its arrays, and its schema on disk.

A row is charged to the first check that it breaks, in the order length, padding, leakage, order,
so that one fault is one failed check.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext, CheckOutcome, schema_problems
from training_assets.lake import data_files
from training_assets.schemas import (
    ACTION_TYPES,
    CUSTOMER_HISTORY,
    MAX_ITEM_ID,
    MIN_ITEM_ID,
    PADDING,
    TRAINING_INPUT,
    Table,
)

_LAST_TYPE: Final = max(ACTION_TYPES)


def check_sequence_length(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Histories whose arrays differ in length, or are longer than ``history_length``."""
    limit = context.settings.history_length
    counts = {d: (rows, long) for d, (rows, long, _) in _broken_histories(context).items()}
    return outcomes_on_rows(context, counts, f"arrays that are not equal and within 0..{limit}")


def check_padding(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Histories with a zero, a null or an unknown type in them."""
    counts = {d: (rows, holes) for d, (rows, _, holes) in _broken_histories(context).items()}
    return outcomes_on_rows(context, counts, "a zero, a null or an unknown type in their arrays")


def has_wrong_length(table: Table, history_length: int) -> Column:
    items, types = F.size("action_items"), F.size("action_types")
    if table is TRAINING_INPUT:
        right = (items == history_length) & (types == history_length)
    else:
        days = F.size("action_days_ago")
        right = (items == types) & (items == days) & items.between(0, history_length)
    # The size of a null array is null or -1, by engine and setting.
    return ~F.coalesce(right, F.lit(False))


def num_actions() -> Column:
    """Actions before the first zero of a padded ``action_items``."""
    first_zero = F.array_position("action_items", PADDING)
    return F.when(first_zero == 0, F.size("action_items")).otherwise(first_zero - 1).cast("int")


def has_wrong_padding(table: Table, history_length: int) -> Column:
    # By smallest and largest value, not by lambdas: Sail cannot push those into a scan.
    if table is not TRAINING_INPUT:
        right = _are_actions(F.col("action_items"), F.col("action_types"))
    else:
        n, limit = num_actions(), F.lit(history_length)
        right = _are_actions(
            F.slice("action_items", F.lit(1), n), F.slice("action_types", F.lit(1), n)
        )
        right &= _within(F.slice("action_items", n + 1, limit), PADDING, PADDING)
        right &= _within(F.slice("action_types", n + 1, limit), PADDING, PADDING)
    return ~(right & _has_no_null("action_items") & _has_no_null("action_types"))


def _are_actions(items: Column, types: Column) -> Column:
    return _within(items, MIN_ITEM_ID, MAX_ITEM_ID) & _within(types, 1, _LAST_TYPE)


def _within(values: Column, low: int, high: int) -> Column:
    """All values that are not null lie in low..high; true of an empty array."""
    inside = (F.array_min(values) >= low) & (F.array_max(values) <= high)
    return F.coalesce(inside, F.lit(True))


def _has_no_null(name: str) -> Column:
    return F.size(F.array_compact(name)) == F.size(name)


def _broken_histories(context: CheckContext) -> dict[date, tuple[int, int, int]]:
    """By day: rows, rows of a wrong length, rows with holes; read once for both checks."""
    if "structure" not in context.memo:
        limit = context.settings.history_length
        long = has_wrong_length(CUSTOMER_HISTORY, limit)
        holes = ~long & has_wrong_padding(CUSTOMER_HISTORY, limit)
        found = (
            context.frame(CUSTOMER_HISTORY.name)
            .groupBy("dt")
            .agg(
                F.count(F.lit(1)).alias("rows"),
                F.count_if(long).alias("long"),
                F.count_if(holes).alias("holes"),
            )
            .collect()
        )
        context.memo["structure"] = {r["dt"]: (r["rows"], r["long"], r["holes"]) for r in found}
    counts: dict[date, tuple[int, int, int]] = context.memo["structure"]
    return counts


def outcomes_on_rows(
    context: CheckContext, counts: Mapping[date, tuple[int, int]], problem: str
) -> dict[date, CheckOutcome]:
    """Verdicts from (rows, broken rows) by day; ``problem`` completes "N of M rows have …"."""
    outcomes = {}
    for day in context.days:
        rows, broken = counts.get(day, (0, 0))
        text = f"{broken} of {rows} rows on {day} have {problem}." if broken else ""
        outcomes[day] = CheckOutcome(not broken, {"rows": rows, "broken_rows": broken}, text)
    return outcomes


def check_schema(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Columns in the day's files against ``schemas``: names, order and types."""
    return {day: _schema_outcome(context, day) for day in context.days}


def _schema_outcome(context: CheckContext, day: date) -> CheckOutcome:
    folder = context.folder(day)
    problems = schema_problems(context.table, folder)
    metrics = {"files": len(data_files(folder)), "differences": len(problems)}
    text = f"On {day}: {'; '.join(problems[:5])}." if problems else ""
    return CheckOutcome(not problems, metrics, text)
