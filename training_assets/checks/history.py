"""Leakage and order, found by another way than the one the tables were built.

The build reads compacted actions by ranges of customers. Here ``unified_actions`` is read as it was
published, and each history is held against the newest of its customer's actions whose day counts:
the same (right), the same in another order (order_and_ties) or other ones (leakage). Nothing is
taken from ``action_days_ago`` on trust: it is part of what is compared.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from training_assets.checks.comparisons import (
    BOTH_DDL,
    COMPARED_DDL,
    FILES_DDL,
    LISTS,
    compare_histories,
    pack_histories,
    read_actions,
)
from training_assets.checks.context import CheckContext, CheckOutcome, Metric
from training_assets.checks.structure import has_wrong_length, has_wrong_padding
from training_assets.kernels.timelines import Ints
from training_assets.lake import data_files
from training_assets.provenance import window_days
from training_assets.schemas import CUSTOMER_HISTORY, UNIFIED_ACTIONS

_BUCKETS: Final = 100_000
# Workers hold all actions of the customers whose histories they compare.
_HISTORIES_AT_ONCE: Final = 16_000
_EXAMPLES: Final = 3
_MIN_TASKS: Final = 2
_MAX_TASKS: Final = 128
_BYTES_PER_TASK: Final = 2**24


def check_leakage(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Histories that are not the newest eligible actions of their customer and day."""
    findings = _findings(context)
    return {day: _leakage_outcome(context, day, findings.get(day)) for day in context.days}


def check_order_and_ties(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Histories with the right actions in another order than the contract's."""
    outcomes = {}
    for day in context.days:
        found = _findings(context).get(day) or Finding()
        metrics = {"histories_checked": found.checked, "misordered": found.misordered}
        text = (
            f"{found.misordered} of {found.checked} histories on {day} hold the right actions in "
            f"the wrong order, for example of customers {found.misordered_examples}."
        )
        outcomes[day] = CheckOutcome(
            not found.misordered, metrics, text if found.misordered else ""
        )
    return outcomes


@dataclass(frozen=True)
class Finding:
    """Of one day: how many histories were compared, and how many differ, and how."""

    checked: int = 0
    total: int = 0
    wrong: int = 0
    misordered: int = 0
    not_before: int = 0
    too_old: int = 0
    wrong_examples: str = ""
    misordered_examples: str = ""


def _leakage_outcome(context: CheckContext, day: date, finding: Finding | None) -> CheckOutcome:
    found = finding or Finding()
    metrics: dict[str, Metric] = {
        "histories": found.total,
        "histories_checked": found.checked,
        "wrong_histories": found.wrong,
        "actions_not_before_day": found.not_before,
        "histories_beyond_lookback": found.too_old,
        "lookback_days": context.settings.lookback_days or "unlimited",
    }
    text = (
        f"{found.wrong} of {found.checked} histories on {day} are not the newest eligible actions "
        f"of their customer ({found.not_before} actions not before the day, {found.too_old} "
        f"histories beyond the look-back), for example of customers {found.wrong_examples}."
    )
    return CheckOutcome(not found.wrong, metrics, text if found.wrong else "")


def _findings(context: CheckContext) -> dict[date, Finding]:
    """Both checks speak of one comparison, made once."""
    if "history" not in context.memo:
        context.memo["history"] = _compare_histories(context)
    found: dict[date, Finding] = context.memo["history"]
    return found


def _is_sound(context: CheckContext) -> Column:
    """Histories that other checks have not found broken already."""
    limit = context.settings.history_length
    return ~F.when(has_wrong_length(CUSTOMER_HISTORY, limit), True).otherwise(
        has_wrong_padding(CUSTOMER_HISTORY, limit)
    )


def _compare_histories(context: CheckContext) -> dict[date, Finding]:
    totals = {day: _num_rows(context, day) for day in context.days}
    found: dict[date, Finding] = {}
    some: dict[date, int] = {}
    for day, total in totals.items():
        at_once = sum(_num_sampled(context, n) for n in [*some.values(), total])
        if some and at_once > _HISTORIES_AT_ONCE:
            found |= _compare_days(context, some)
            some = {}
        some[day] = total
    return found | _compare_days(context, some)


def _compare_days(context: CheckContext, totals: Mapping[date, int]) -> dict[date, Finding]:
    if not any(totals.values()):
        return {}
    limit = context.settings.check_customers
    stored = context.read(CUSTOMER_HISTORY, totals).where(F.col("customer_id").isNotNull())
    stored = stored.where(_is_sampled(totals, limit))
    sound = stored.where(_is_sound(context)).select("customer_id", "dt", *LISTS)
    customers = [row[0] for row in stored.select("customer_id").distinct().collect()]
    actions = _actions_of(context, totals, np.array(customers, np.int64))
    both = sound.mapInArrow(pack_histories, BOTH_DDL).unionByName(actions)
    length, lookback = context.settings.history_length, context.settings.lookback_days

    def compare(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return compare_histories(batches, length, lookback)

    rows = (
        both.repartition("customer_id")
        .mapInArrow(compare, COMPARED_DDL)
        .groupBy("dt")
        .agg(
            F.count(F.lit(1)).alias("checked"),
            F.count_if("wrong").alias("wrong"),
            F.count_if("misordered").alias("misordered"),
            F.sum("not_before").alias("not_before"),
            F.count_if("too_old").alias("too_old"),
            examples_of(F.col("wrong")).alias("wrong_examples"),
            examples_of(F.col("misordered")).alias("misordered_examples"),
        )
        .collect()
    )
    return {row["dt"]: _finding(row, totals[row["dt"]]) for row in rows}


def _num_sampled(context: CheckContext, total: int) -> int:
    return min(total, context.settings.check_customers)


def _is_sampled(totals: Mapping[date, int], limit: int) -> Column:
    """All customers of a day up to the limit; above, a share of them, others on another day."""
    chosen = F.when(F.lit(False), F.lit(False))
    bucket = F.pmod(F.xxhash64(F.unix_date("dt"), "customer_id"), F.lit(_BUCKETS))
    for day, total in totals.items():
        if total > limit:
            share = max(1, round(limit / total * _BUCKETS))
            chosen = chosen.when(F.col("dt") == F.lit(day), bucket < share)
    return chosen.otherwise(F.lit(True))


def _num_rows(context: CheckContext, day: date) -> int:
    return sum(pq.read_metadata(file).num_rows for file in data_files(context.folder(day)))


def _actions_of(context: CheckContext, days: Iterable[date], customers: Ints) -> DataFrame:
    """All actions of the customers that a history of the days may hold."""
    published = context.lake.days(UNIFIED_ACTIONS.name)
    window = {d for day in days for d in window_days(context.settings, published, day)}
    found = context.files(UNIFIED_ACTIONS, window)
    files = [(day, file, file.stat().st_size) for day in found for file in found[day]]
    if not files:
        return context.spark.createDataFrame([], BOTH_DDL)
    # Tasks of about as many bytes each.
    ends = np.cumsum([size for _, _, size in files])
    num_tasks = int(min(_MIN_TASKS + ends[-1] // _BYTES_PER_TASK, _MAX_TASKS))
    rows = [
        (int((end - 1) * num_tasks // ends[-1]), day, str(file))
        for (day, file, _), end in zip(files, ends, strict=True)
    ]

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return read_actions(batches, customers)

    frame = context.spark.createDataFrame(rows, FILES_DDL)
    return context.partitioning.spread(frame, F.col("number"), of=num_tasks).mapInArrow(
        read, BOTH_DDL
    )


def examples_of(found: Column) -> Column:
    """Up to three of the customers for whom the condition holds, the smallest ids."""
    differing = F.when(found, F.col("customer_id"))
    return F.slice(F.sort_array(F.collect_set(differing)), 1, _EXAMPLES)


def _finding(row: Row, total: int) -> Finding:
    return Finding(
        checked=row["checked"],
        total=total,
        wrong=row["wrong"],
        misordered=row["misordered"],
        not_before=row["not_before"],
        too_old=row["too_old"],
        wrong_examples=listed(row["wrong_examples"]),
        misordered_examples=listed(row["misordered_examples"]),
    )


def listed(customers: Sequence[int]) -> str:
    return ", ".join(str(customer) for customer in customers)
