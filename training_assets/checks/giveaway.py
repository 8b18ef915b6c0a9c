"""Whether a column of the samples gives the label away, by itself or by being null.

The AUC of a column is how likely a positive has a larger value than a negative, ties counting half;
0.5 says nothing of the label, 0 and 1 say all. A null counts as smaller than every value.
"""

import math
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext, CheckOutcome, Metric, Severity
from training_assets.checks.structure import facts_of
from training_assets.schemas import SAMPLE_NAMES

Array = npt.NDArray[Any]

_ROWS: Final = 20_000
# With fewer of a label a verdict would be chance.
_LEAST: Final = 30
_WARN_AUC: Final = 0.9
# A negative has the context of its positive, and its customer: these are null for both or neither.
_SHARED: Final = ("occurred_at", "session_", "time_of_day", "day_of_week", "user_")
_OF_PAIRS: Final = ("user_item_affinity",)
_MAX_SHARED_NULLS: Final = 0.6
_MAX_NULLS: Final = 0.95
_SHOWN: Final = 5


def check_giveaway(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Columns that being null tells positives from negatives fail; an AUC above 0.9 warns."""
    names = [c.name for c in context.table.columns if c.name not in SAMPLE_NAMES]
    rows = max((sum(f.rows for f in fs) for fs in facts_of(context).values()), default=0)
    part = max(1, math.ceil(rows / _ROWS))
    frame = context.columns(context.table, context.days, ["customer_id", "label", *names])
    if part > 1:
        frame = frame.where(F.pmod(F.xxhash64("customer_id"), F.lit(part)) == 0)
    table: pa.Table = frame.toArrow()
    return {
        day: _judged(table.filter(pc.equal(table["dt"], day)), names, day) for day in context.days
    }


def _judged(rows: pa.Table, names: list[str], day: date) -> CheckOutcome:
    label = np.asarray(rows["label"].fill_null(0.0)) == 1.0
    positives, negatives = int(label.sum()), int((~label).sum())
    metrics: dict[str, Metric] = {"rows": len(label), "judged_columns": 0}
    if min(positives, negatives) < _LEAST:
        return CheckOutcome(True, metrics)
    by_null: list[str] = []
    by_value: list[str] = []
    best = ("", 0.5)
    for name in names:
        values, is_null = ranks(rows[name])
        metrics["judged_columns"] = int(metrics["judged_columns"]) + 1
        of_null = _apart(auc(is_null.astype(np.int64), label))
        is_shared = name.startswith(_SHARED) and name not in _OF_PAIRS
        limit = _MAX_SHARED_NULLS if is_shared else _MAX_NULLS
        if of_null > limit:
            by_null.append(f"{name} ({of_null:.3f})")
        of_value = _apart(auc(values, label))
        if name == "seen_before":
            metrics["auc_seen_before"] = round(of_value, 6)
        if of_value > _WARN_AUC:
            by_value.append(f"{name} ({of_value:.3f})")
        best = max(best, (name, of_value), key=lambda found: found[1])
    metrics |= {"highest_auc": round(best[1], 6), "highest_auc_column": best[0]}
    return _outcome(day, by_null, by_value, metrics)


def _outcome(
    day: date, by_null: list[str], by_value: list[str], metrics: dict[str, Metric]
) -> CheckOutcome:
    problems = []
    if by_null:
        shown = ", ".join(by_null[:_SHOWN])
        problems.append(f"being null gives the label away in {shown}")
    if by_value:
        shown = ", ".join(by_value[:_SHOWN])
        problems.append(f"the AUC of one column alone is above {_WARN_AUC} for {shown}")
    text = f"Samples of {day}: {'; '.join(problems)}." if problems else ""
    severity: Severity = "error" if by_null else "warn"
    return CheckOutcome(not problems, metrics, text, severity)


def ranks(column: pa.ChunkedArray) -> tuple[Array, Array]:
    """Values as integers in their order, null first; and which are null."""
    array = column.combine_chunks()
    is_null = np.asarray(array.is_null())
    if pa.types.is_floating(array.type):
        is_null = is_null | np.asarray(pc.fill_null(pc.is_nan(array), True))
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    values = pc.rank(array, sort_keys="ascending", tiebreaker="dense")
    found = np.asarray(values).astype(np.int64)
    found[is_null] = 0
    return found, is_null


def auc(values: Array, label: Array) -> float:
    """Of integers that are not negative; 0.5 where there is one label only."""
    counts = np.stack(
        [
            np.bincount(values[of], minlength=int(values.max(initial=0)) + 1)
            for of in (~label, label)
        ]
    )
    negatives, positives = counts
    below = np.cumsum(negatives) - negatives
    pairs = float(negatives.sum()) * float(positives.sum())
    if not pairs:
        return 0.5
    return float((positives * (below + negatives / 2)).sum()) / pairs


def _apart(value: float) -> float:
    """Which way round does not matter: 0.1 tells as much as 0.9."""
    return max(value, 1 - value)
