"""The rows of training_input against customer_history, which has checks of its own.

Each history is judged by its shape and padded here anew. A row that is equal to it is right in
length, padding, content and order. Only where there are others, the engine looks at each row and
charges it to the first check that it breaks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column
from pyspark.sql import functions as F

from training_assets.checks.comparisons import COUNTED_DDL, GROUPS_DDL, count_other_rows
from training_assets.checks.context import CheckContext, CheckOutcome
from training_assets.checks.history import examples_of, listed
from training_assets.checks.structure import (
    has_wrong_length,
    has_wrong_padding,
    num_actions,
    outcomes_on_rows,
)
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT

LENGTH: Final = "length"
HOLES: Final = "holes"
WRONG: Final = "wrong"
MISORDERED: Final = "misordered"


def check_sequence_length(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows whose arrays are not exactly ``history_length`` long."""
    limit = context.settings.history_length
    return _outcomes(context, LENGTH, f"arrays that are not exactly {limit} long")


def check_padding(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows with zeros, nulls or unknown types before the padding, or anything else in it."""
    problem = "a zero, a null or an unknown type before the padding, or something else in it"
    return _outcomes(context, HOLES, problem)


def check_leakage(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows that carry other actions than the history of their customer and day."""
    return _outcomes(context, WRONG, "other actions than the history of their customer and day")


def check_order_and_ties(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows that carry the right actions in another order."""
    return _outcomes(context, MISORDERED, "the right actions in the wrong order")


@dataclass
class _Finding:
    rows: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)


def _outcomes(context: CheckContext, kind: str, problem: str) -> dict[date, CheckOutcome]:
    found = _findings(context)
    counts = {day: (f.rows, f.broken.get(kind, 0)) for day, f in found.items()}
    outcomes = outcomes_on_rows(context, counts, problem)
    for day, outcome in outcomes.items():
        if not outcome.passed:
            text = f"{outcome.message[:-1]}, for example of customers {found[day].examples[kind]}."
            outcomes[day] = CheckOutcome(False, outcome.metrics, text)
    return outcomes


def _findings(context: CheckContext) -> dict[date, _Finding]:
    """All four checks speak of one comparison, made once."""
    if "rows" not in context.memo:
        context.memo["rows"] = _compare(context)
    found: dict[date, _Finding] = context.memo["rows"]
    return found


def _compare(context: CheckContext) -> dict[date, _Finding]:
    counted = _count(context)
    found = {day: _Finding(rows) for day, (rows, _) in counted.items()}
    if any(others for _, others in counted.values()):
        _look_closely(context, found)
    return found


def _count(context: CheckContext) -> dict[date, tuple[int, int]]:
    """By day: rows, and rows that do not carry the history of their customer."""
    histories = {
        day: [str(file) for file in files]
        for day, files in context.files(CUSTOMER_HISTORY, context.days).items()
    }
    groups: list[tuple[int, date, str, int]] = []
    for day, files in context.files(TRAINING_INPUT, context.days).items():
        for file in files:
            for group in range(pq.read_metadata(file).num_row_groups):
                groups.append((len(groups), day, str(file), group))
    if not groups:
        return {}
    length = context.settings.history_length

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return count_other_rows(batches, histories, length)

    frame = context.spark.createDataFrame(groups, GROUPS_DDL)
    spread = context.partitioning.spread(frame, F.col("number"), of=len(groups))
    counted = (
        spread.mapInArrow(count, COUNTED_DDL).groupBy("dt").agg(F.sum("rows"), F.sum("others"))
    )
    return {day: (rows, others) for day, rows, others in counted.collect()}


def _look_closely(context: CheckContext, found: dict[date, _Finding]) -> None:
    """Say of each row in which way it differs, and add it up in ``found``."""
    limit = context.settings.history_length
    n = num_actions()
    rows = context.frame(TRAINING_INPUT.name).withColumn("dt", F.to_date("dt"))
    history = context.frame(CUSTOMER_HISTORY.name).select(
        "dt",
        "customer_id",
        F.col("action_items").alias("true_items"),
        F.col("action_types").cast("array<int>").alias("true_types"),
    )
    apart = rows.select(
        "dt",
        "customer_id",
        has_wrong_length(TRAINING_INPUT, limit).alias("length"),
        has_wrong_padding(TRAINING_INPUT, limit).alias("holes"),
        F.slice("action_items", F.lit(1), n).alias("items"),
        F.slice("action_types", F.lit(1), n).alias("types"),
    )
    is_same = (F.col("items") == F.col("true_items")) & (F.col("types") == F.col("true_types"))
    has_same_actions = _bag("items", "types") == _bag("true_items", "true_types")
    kind = (
        F.when(F.col("length"), LENGTH)
        .when(F.coalesce(F.col("holes"), F.lit(True)), HOLES)
        .when(F.coalesce(is_same, F.lit(False)), "right")
        .when(F.coalesce(has_same_actions, F.lit(False)), MISORDERED)
        .otherwise(WRONG)
    )
    kinds = (
        apart.join(history, on=["dt", "customer_id"], how="left")
        .select("dt", "customer_id", kind.alias("kind"))
        .groupBy("dt", "kind")
        .agg(F.count(F.lit(1)).alias("rows"), examples_of(F.lit(True)).alias("examples"))
        .collect()
    )
    for row in kinds:
        finding = found[row["dt"]]
        finding.broken[row["kind"]] = row["rows"]
        finding.examples[row["kind"]] = listed(row["examples"])


def _bag(items: str, types: str) -> Column:
    pairs = F.arrays_zip(items, types).cast("array<struct<item_id:int,action_type:int>>")
    return F.sort_array(pairs)
