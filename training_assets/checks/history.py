"""Leakage and order, found by another way than the one the tables were built.

The build reads compacted actions by ranges of customers. Here ``unified_actions`` is read as it was
published, and each history is held against the newest of its customer's actions whose day counts:
the same (right), the same in another order (order_and_ties) or other ones (leakage). Nothing is
taken from ``action_days_ago`` on trust: it is part of what is compared. Nothing is shared with the
build either: not the look-back, not the reading of files.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from training_assets.checks.compare_histories import COMPARED_DDL, compare_histories
from training_assets.checks.context import CheckContext, CheckOutcome, Metric
from training_assets.checks.files import Ints
from training_assets.checks.history_actions import Wanted, actions_of
from training_assets.checks.history_rows import (
    BOTH_DDL,
    BUCKETS,
    CUSTOMERS_DDL,
    sampled_customers,
    sampled_histories,
)
from training_assets.checks.structure import facts_of
from training_assets.schemas import CUSTOMER_HISTORY, UNIFIED_ACTIONS

# Workers hold all actions of the customers whose histories they compare.
_HISTORIES_AT_ONCE: Final = 16_000
_EXAMPLES: Final = 3

Batches = Iterator[pa.RecordBatch]


def check_history_leakage(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Histories that are not the newest eligible actions of their customer and day."""
    findings = _findings(context)
    return {day: _leakage_outcome(context, day, findings.get(day)) for day in context.days}


def check_history_order(context: CheckContext) -> Mapping[date, CheckOutcome]:
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


def _compare_histories(context: CheckContext) -> dict[date, Finding]:
    totals = {day: sum(f.rows for f in facts) for day, facts in facts_of(context).items()}
    limit = context.settings.check_customers
    found: dict[date, Finding] = {}
    some: dict[date, int] = {}
    for day, total in totals.items():
        at_once = sum(min(n, limit) for n in [*some.values(), total])
        if some and at_once > _HISTORIES_AT_ONCE:
            found |= _compare_days(context, some)
            some = {}
        some[day] = total
    return found | _compare_days(context, some)


def _compare_days(context: CheckContext, totals: Mapping[date, int]) -> dict[date, Finding]:
    if not any(totals.values()):
        return {}
    length, lookback = context.settings.history_length, context.settings.lookback_days
    shares = _shares(totals, context.settings.check_customers)

    def choose(batches: Batches) -> Batches:
        return sampled_customers(batches, shares)

    def take(batches: Batches) -> Batches:
        return sampled_histories(batches, shares, length)

    def compare(batches: Batches) -> Batches:
        return compare_histories(batches, length, lookback)

    chosen = context.on_files(CUSTOMER_HISTORY, totals, choose, CUSTOMERS_DDL).collect()
    actions = _actions_of(context, totals, np.array(sorted({row[0] for row in chosen}), np.int64))
    histories = context.on_files(CUSTOMER_HISTORY, totals, take, BOTH_DDL)
    rows = (
        histories.unionByName(actions)
        .repartition("customer_id")
        .mapInArrow(compare, COMPARED_DDL)
        .groupBy("dt")
        .agg(
            F.count(F.lit(1)).alias("checked"),
            F.count_if("wrong").alias("wrong"),
            F.count_if("misordered").alias("misordered"),
            F.sum("not_before").alias("not_before"),
            F.count_if("too_old").alias("too_old"),
            _examples_of(F.col("wrong")).alias("wrong_examples"),
            _examples_of(F.col("misordered")).alias("misordered_examples"),
        )
        .collect()
    )
    return {row["dt"]: _finding(row, totals[row["dt"]]) for row in rows}


def _shares(totals: Mapping[date, int], limit: int) -> dict[date, int]:
    """All customers of a day up to the limit; above, a share of them, others on another day."""
    return {
        day: max(1, round(limit / total * BUCKETS)) if total > limit else BUCKETS
        for day, total in totals.items()
    }


def _actions_of(context: CheckContext, days: Collection[date], customers: Ints) -> DataFrame:
    """The actions of the customers that a history of the days may hold."""
    published = context.lake.days(UNIFIED_ACTIONS.name)
    lookback, types = context.settings.lookback_days, context.settings.action_types
    needed = [d for d in published if any(_counts_for(d, day, lookback) for day in days)]
    wanted = Wanted(
        customers,
        types,
        context.settings.bots == "keep",
        context.settings.history_length,
        frozenset(d for d in needed if all(_counts_for(d, day, lookback) for day in days)),
    )

    def read(batches: Batches) -> Batches:
        return actions_of(batches, wanted)

    # A worker can leave out actions of which it has seen enough newer ones.
    return context.on_files(UNIFIED_ACTIONS, needed, read, BOTH_DDL, takes_turns=True)


def _counts_for(action_day: date, day: date, lookback_days: int | None) -> bool:
    """Strictly before, and no older than the look-back: of 20 days, 1 to 20 days ago."""
    age = day - action_day
    is_recent = lookback_days is None or age <= timedelta(days=lookback_days)
    return age > timedelta(0) and is_recent


def _examples_of(found: Column) -> Column:
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
        wrong_examples=_listed(row["wrong_examples"]),
        misordered_examples=_listed(row["misordered_examples"]),
    )


def _listed(customers: Sequence[int]) -> str:
    return ", ".join(str(customer) for customer in customers)
