"""Leakage and order, found by another way than the one the tables were built.

The build sorts one array per customer and slices it per day. Here every action of
``unified_actions`` is joined to every impression day that it counts for and ranked in a window;
the histories under check are taken apart, and both sides are compared by checksums: one that does
not depend on the order (leakage) and one that does (order_and_ties). Nothing is taken from
``action_days_ago`` on trust: it is part of what is compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from training_assets.checks.evidence import Evidence, Figure, Verdict
from training_assets.checks.structure import has_wrong_length, has_wrong_padding
from training_assets.freshness import window_days
from training_assets.lake import data_files
from training_assets.schemas import CUSTOMER_HISTORY, UNIFIED_ACTIONS

# Sums of a thousand such hashes stay far within 64 bits.
_HASH_RANGE: Final = 2**40
_BUCKETS: Final = 100_000
_EXAMPLES: Final = 3


def check_leakage(evidence: Evidence) -> Mapping[date, Verdict]:
    """Histories that are not the newest eligible actions of their customer and day."""
    findings = _findings(evidence)
    return {day: _leakage_verdict(evidence, day, findings.get(day)) for day in evidence.days}


def check_order_and_ties(evidence: Evidence) -> Mapping[date, Verdict]:
    """Histories with the right actions in another order than the contract's."""
    verdicts = {}
    for day in evidence.days:
        found = _findings(evidence).get(day) or Finding()
        figures = {"histories_checked": found.checked, "misordered": found.misordered}
        text = (
            f"{found.misordered} of {found.checked} histories on {day} hold the right actions in "
            f"the wrong order, for example of customers {found.misordered_examples}."
        )
        verdicts[day] = Verdict(not found.misordered, figures, text if found.misordered else "")
    return verdicts


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


def _leakage_verdict(evidence: Evidence, day: date, finding: Finding | None) -> Verdict:
    found = finding or Finding()
    figures: dict[str, Figure] = {
        "histories": found.total,
        "histories_checked": found.checked,
        "wrong_histories": found.wrong,
        "actions_not_before_day": found.not_before,
        "histories_beyond_lookback": found.too_old,
        "lookback_days": evidence.settings.lookback_days or "unlimited",
    }
    text = (
        f"{found.wrong} of {found.checked} histories on {day} are not the newest eligible actions "
        f"of their customer ({found.not_before} actions not before the day, {found.too_old} "
        f"histories beyond the look-back), for example of customers {found.wrong_examples}."
    )
    return Verdict(not found.wrong, figures, text if found.wrong else "")


def _findings(evidence: Evidence) -> dict[date, Finding]:
    """Both checks speak of one comparison, made once."""
    if "history" not in evidence.memo:
        evidence.memo["history"] = _compare_histories(evidence)
    found: dict[date, Finding] = evidence.memo["history"]
    return found


def _is_sound(evidence: Evidence) -> Column:
    """Histories that other checks have not found broken already."""
    limit = evidence.settings.history_length
    return ~F.when(has_wrong_length(CUSTOMER_HISTORY, limit), True).otherwise(
        has_wrong_padding(CUSTOMER_HISTORY, limit)
    )


def _compare_histories(evidence: Evidence) -> dict[date, Finding]:
    totals = {day: _num_rows(evidence, day) for day in evidence.days}
    if not any(totals.values()):
        return {}
    sample = evidence.frame(CUSTOMER_HISTORY.name).where(_is_sound(evidence))
    sample = sample.where(_is_sampled(totals, evidence.settings.check_customers))
    keys = ["dt", "customer_id"]
    # A customer who has two rows is the matter of row_counts: here both must be right.
    customers = sample.groupBy(*keys).agg(F.count(F.lit(1)).alias("copies"))
    actual = _actual_checksums(sample)
    expected = _expected_checksums(evidence, customers.select(*keys))
    compared = customers.join(actual, on=keys, how="left").join(expected, on=keys, how="left")
    same_bag = _equal("bag") & _equal("num")
    lookback = evidence.settings.lookback_days
    rows = (
        compared.withColumn("wrong", ~same_bag)
        .withColumn("misordered", same_bag & ~_equal("sequence"))
        .groupBy("dt")
        .agg(
            F.sum("copies").alias("checked"),
            F.count_if("wrong").alias("wrong"),
            F.count_if("misordered").alias("misordered"),
            F.sum(F.coalesce("not_before", F.lit(0))).alias("not_before"),
            F.count_if(
                F.lit(lookback is not None) & (F.col("oldest") > F.lit(lookback or 0))
            ).alias("too_old"),
            examples_of(F.col("wrong")).alias("wrong_examples"),
            examples_of(F.col("misordered")).alias("misordered_examples"),
        )
        .collect()
    )
    return {row["dt"]: _finding(row, totals[row["dt"]]) for row in rows}


def _is_sampled(totals: Mapping[date, int], limit: int) -> Column:
    """All customers of a day up to the limit; above, a share of them, others on another day."""
    chosen = F.when(F.lit(False), F.lit(False))
    bucket = F.pmod(F.xxhash64(F.unix_date("dt"), "customer_id"), F.lit(_BUCKETS))
    for day, total in totals.items():
        if total > limit:
            share = max(1, round(limit / total * _BUCKETS))
            chosen = chosen.when(F.col("dt") == F.lit(day), bucket < share)
    return chosen.otherwise(F.lit(True))


def _num_rows(evidence: Evidence, day: date) -> int:
    return sum(pq.read_metadata(file).num_rows for file in data_files(evidence.folder(day)))


def _actual_checksums(sample: DataFrame) -> DataFrame:
    # The cast names the fields: engines differ in what arrays_zip calls them.
    action = F.arrays_zip("action_items", "action_types", "action_days_ago").cast(
        "array<struct<item_id:bigint,action_type:bigint,days_ago:bigint>>"
    )
    exploded = sample.select("dt", "customer_id", F.posexplode(action).alias("position", "action"))
    flat = exploded.select(
        "dt",
        "customer_id",
        F.col("position").cast("long").alias("position"),
        F.col("action.item_id").alias("item_id"),
        F.col("action.action_type").alias("action_type"),
        F.col("action.days_ago").alias("days_ago"),
    )
    return flat.groupBy("dt", "customer_id").agg(
        *_checksums(""),
        F.count_if(F.coalesce(F.col("days_ago") < 1, F.lit(True))).alias("not_before"),
        F.max("days_ago").alias("oldest"),
    )


def _expected_checksums(evidence: Evidence, keys: DataFrame) -> DataFrame:
    settings = evidence.settings
    published = evidence.lake.days(UNIFIED_ACTIONS.name)
    window = {d for day in evidence.days for d in window_days(settings, published, day)}
    actions = evidence.read(UNIFIED_ACTIONS, window).withColumnRenamed("dt", "action_day")
    days_ago = F.datediff("dt", "action_day")
    counts = days_ago > 0
    if settings.lookback_days is not None:
        counts = counts & (days_ago <= settings.lookback_days)
    newest_first = Window.partitionBy("dt", "customer_id").orderBy(
        F.col("occurred_at").desc(),
        F.col("item_id").asc(),
        F.col("action_type").asc(),
        F.col("action_day").desc(),
    )
    ranked = (
        keys.join(actions, on="customer_id", how="inner")
        .where(counts)
        .withColumn("position", F.row_number().over(newest_first) - 1)
        .where(F.col("position") < settings.history_length)
        .select(
            "dt",
            "customer_id",
            F.col("position").cast("long").alias("position"),
            F.col("item_id").cast("long").alias("item_id"),
            F.col("action_type").cast("long").alias("action_type"),
            F.least(days_ago, F.lit(2**15 - 1)).cast("long").alias("days_ago"),
        )
    )
    return ranked.groupBy("dt", "customer_id").agg(*_checksums("expected_"))


def _checksums(prefix: str) -> list[Column]:
    action = ["item_id", "action_type", "days_ago"]
    return [
        F.count(F.lit(1)).alias(f"{prefix}num"),
        F.sum(F.pmod(F.xxhash64(*action), F.lit(_HASH_RANGE))).alias(f"{prefix}bag"),
        F.sum(F.pmod(F.xxhash64("position", *action), F.lit(_HASH_RANGE))).alias(
            f"{prefix}sequence"
        ),
    ]


def _equal(checksum: str) -> Column:
    expected = F.coalesce(f"expected_{checksum}", F.lit(0)) * F.col("copies")
    return F.coalesce(checksum, F.lit(0)) == expected


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
