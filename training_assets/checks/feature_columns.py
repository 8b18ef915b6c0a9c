"""What the columns of a feature table say by themselves: nulls, and what is no number."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext, CheckOutcome, Metric
from training_assets.checks.structure import facts_of


def check_conversion(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows with more purchases than engagements."""
    outcomes = {}
    for day, figures in column_figures(context).items():
        high = figures["conversion_rate"]["above_one"]
        text = f"{high} rows on {day} have a conversion_rate above 1." if high else ""
        outcomes[day] = CheckOutcome(not high, {"rows_above_1": high}, text)
    return outcomes


def check_feature_nulls(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Columns without any value that must have one, or that had some the last time."""
    figures = column_figures(context)
    required = {c.name for c in context.table.stored_columns if not c.is_optional}
    outcomes = {}
    for day in context.days:
        rows = sum(file.rows for file in facts_of(context)[day])
        before = _nulls_before(context, day)
        empty = {name for name, f in figures[day].items() if rows and f["nulls"] == rows}
        lost = sorted(name for name in empty if name in required or before.get(name))
        holes = sorted(n for n in required if figures[day][n]["nulls"] and n not in lost)
        broken = sorted(name for name, f in figures[day].items() if f["nan"])
        metrics: dict[str, Metric] = {"empty_columns": len(empty), "lost_columns": len(lost)}
        problems = [f"{name} is null throughout" for name in lost]
        problems += [f"{name} is no number in some rows" for name in broken]
        problems += [f"{name} is null in some rows and must not be" for name in holes]
        text = f"On {day}: {'; '.join(problems)}." if problems else ""
        outcomes[day] = CheckOutcome(not problems, metrics, text)
    return outcomes


def _nulls_before(context: CheckContext, day: date) -> dict[str, bool]:
    """By column, whether the newest published day before had a value; nothing without rows."""
    snapshot = context.lake.snapshot(context.table.name)
    before = [d for d in snapshot.days if d < day and d not in context.days]
    if not before:
        return {}
    figures = snapshot.manifest(before[-1]).get("figures", {})
    rows, nulls = figures.get("rows", 0), figures.get("nulls", {})
    names = [column.name for column in context.table.stored_columns]
    return {name: nulls.get(name, 0) < rows for name in names}


def column_figures(context: CheckContext) -> dict[date, dict[str, dict[str, int]]]:
    """Of each day and column: rows that are null, no number, and above 1."""
    if "columns" not in context.memo:
        context.memo["columns"] = _column_figures(context)
    found: dict[date, dict[str, dict[str, int]]] = context.memo["columns"]
    return found


def _column_figures(context: CheckContext) -> dict[date, dict[str, dict[str, int]]]:
    columns = context.table.stored_columns
    frame = context.columns(context.table, context.days, [c.name for c in columns])
    counts = []
    for column in columns:
        value = F.col(column.name)
        is_number = column.type in ("double", "float")
        is_nan = F.isnan(value) if is_number else F.lit(False)
        is_high = value > 1 if column.name == "conversion_rate" else F.lit(False)
        counts += [
            F.count_if(value.isNull()).alias(f"nulls {column.name}"),
            F.count_if(is_nan).alias(f"nan {column.name}"),
            F.count_if(is_high).alias(f"above_one {column.name}"),
        ]
    nothing = {c.name: {"nulls": 0, "nan": 0, "above_one": 0} for c in columns}
    found = {
        day: {name: dict(figures) for name, figures in nothing.items()} for day in context.days
    }
    for row in frame.groupBy("dt").agg(*counts).toArrow().to_pylist():
        day = row.pop("dt")
        for name, count in row.items():
            kind, _, column_name = name.partition(" ")
            found[day][column_name][kind] = count
    return found


def feature_metrics(context: CheckContext) -> dict[date, dict[str, Any]]:
    """Rows, and of each column that has nulls how many."""
    figures = column_figures(context)
    return {
        day: {
            "rows": sum(file.rows for file in files),
            "nulls": {n: f["nulls"] for n, f in figures[day].items() if f["nulls"]},
        }
        for day, files in facts_of(context).items()
    }
