"""Metrics of each day of a table, for its manifest, the UI and the command line; one job a table.

All are exact. ``age_days`` is that of the newest action in any history of the day.
"""

from collections.abc import Callable
from datetime import date
from typing import Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext
from training_assets.schemas import (
    ACTION_TYPES,
    CUSTOMER_HISTORY,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
)

# Upper ends, in actions; the last bin is open.
HISTOGRAM_BINS: Final = (0, 2, 5, 10, 20, 50, 100, 200, 500, 999)


def describe_days(context: CheckContext) -> dict[date, dict[str, Any]]:
    """Metrics by day of the context's table."""
    table = context.table.name
    frame = context.frame(table)
    rows = _AGGREGATES[table](frame, context.settings.history_length).collect()
    by_day = {str(row["dt"]): row.asDict() for row in rows}
    return {
        day: _finish(table, by_day.get(day.isoformat(), {}), context, day) for day in context.days
    }


def share(part: Column) -> Column:
    return F.avg(part.cast("double"))


def _unified_actions(frame: DataFrame, history_length: int) -> DataFrame:
    return frame.groupBy("dt").agg(
        F.count(F.lit(1)).alias("rows"),
        F.countDistinct("customer_id").alias("customers"),
        *(
            F.count_if(F.col("action_type") == code).alias(f"num_{name}s")
            for code, name in ACTION_TYPES.items()
        ),
    )


def _customer_history(frame: DataFrame, history_length: int) -> DataFrame:
    length = F.col("length")
    bins = []
    low = -1
    for high in (*HISTOGRAM_BINS, 2**31 - 1):
        bins.append(F.count_if((length > low) & (length <= high)))
        low = high
    sized = frame.select(
        "dt",
        F.size("action_items").alias("length"),
        F.array_min("action_days_ago").alias("newest_days"),
        *(_num_of_type(code).alias(f"num_{name}s") for code, name in ACTION_TYPES.items()),
    )
    return sized.groupBy("dt").agg(
        F.count(F.lit(1)).alias("rows"),
        F.count(F.lit(1)).alias("customers"),
        F.sum("length").alias("actions"),
        share(length == 0).alias("share_without_history"),
        share(length >= history_length).alias("share_at_limit"),
        F.percentile("length", 0.5).alias("median_length"),
        F.percentile("length", 0.99).alias("p99_length"),
        F.min("newest_days").alias("age_days"),
        *(F.sum(f"num_{name}s").alias(f"num_{name}s") for name in ACTION_TYPES.values()),
        F.array(*bins).alias("length_histogram"),
    )


def _num_of_type(code: int) -> Column:
    return F.size(F.filter("action_types", lambda action_type: action_type == code))


def _training_input(frame: DataFrame, history_length: int) -> DataFrame:
    return frame.groupBy("dt").agg(
        F.count(F.lit(1)).alias("rows"),
        F.countDistinct("customer_id").alias("customers"),
        F.countDistinct("customer_id", "ranking_id").alias("rankings"),
        F.sum("is_order").alias("positives"),
        share(F.col("is_order") == 1).alias("positives_rate"),
    )


_AGGREGATES: Final[dict[str, Callable[[DataFrame, int], DataFrame]]] = {
    UNIFIED_ACTIONS.name: _unified_actions,
    CUSTOMER_HISTORY.name: _customer_history,
    TRAINING_INPUT.name: _training_input,
}


def _finish(table: str, found: dict[str, Any], context: CheckContext, day: date) -> dict[str, Any]:
    """The day's aggregates with zeros where it has no rows, shares of types, and file metrics."""
    metrics = {k: _plain(v) for k, v in found.items() if k != "dt" and v is not None}
    metrics.setdefault("rows", 0)
    metrics.setdefault("customers", 0)
    if table == TRAINING_INPUT.name:
        metrics.setdefault("positives", 0)
    else:
        counts = {name: metrics.setdefault(f"num_{name}s", 0) for name in ACTION_TYPES.values()}
        total = sum(counts.values())
        for name, count in counts.items():
            metrics[f"share_{name}s"] = round(count / total, 6) if total else 0.0
    if table == CUSTOMER_HISTORY.name:
        metrics.setdefault("median_length", 0.0)
    metrics["quarantined"] = context.quarantined(day)
    return metrics


def _plain(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
