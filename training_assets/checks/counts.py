"""How many rows there are, against how many there must be: nothing is lost, nothing is added."""

from collections.abc import Mapping
from datetime import date
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext, CheckOutcome, Metric
from training_assets.checks.structure import facts_of
from training_assets.schemas import (
    ACTION_SOURCES,
    ACTION_TYPES,
    ADD_TO_CART,
    ADD_TO_CARTS,
    CLICK,
    CLICKS,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    INTERACTION_TYPES,
    INTERACTIONS,
    ORDER,
    PREVIOUS_ORDERS,
    RAW_INTERACTIONS,
    TRAINING_INPUT,
)
from training_assets.sources import SOURCE_OF, kinds_taken, source_days

# The type of the actions of each raw table.
TYPE_OF: Final = {CLICKS.name: CLICK, ADD_TO_CARTS.name: ADD_TO_CART, PREVIOUS_ORDERS.name: ORDER}


def check_action_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Raw rows of each source = valid + quarantined."""
    raw = {source.name: context.raw(source).count_rows() for source in ACTION_SOURCES}
    outcomes = {}
    stream = _from_stream(context)
    for day, valid in counts_by_type(context).items():
        metrics: dict[str, Metric] = {}
        problems = []
        for code, rows in stream[day].items():
            metrics[f"interactions_{ACTION_TYPES[code]}"] = rows
            if valid[code] != rows:
                problems.append(
                    f"interactions: {rows} {ACTION_TYPES[code]} in, {valid[code]} valid"
                )
        for source in ACTION_SOURCES:
            if TYPE_OF[source.name] in stream[day] and not raw[source.name][day]:
                continue
            name, rows = source.name, raw[source.name][day]
            good, bad = valid[TYPE_OF[name]], context.rejected_rows(source, day)
            metrics |= {f"{name}_in": rows, f"{name}_valid": good, f"{name}_quarantined": bad}
            if rows != good + bad:
                problems.append(f"{name}: {rows} in, {good} valid + {bad} quarantined")
        told = {*TYPE_OF.values(), *stream[day]}
        metrics["unknown_type"] = unknown = valid[None] + sum(
            count for code, count in valid.items() if code is not None and code not in told
        )
        if unknown:
            problems.append(f"{unknown} of a type other than {', '.join(map(str, ACTION_TYPES))}")
        text = f"Rows were lost or added on {day}: {'; '.join(problems)}." if problems else ""
        outcomes[day] = CheckOutcome(not problems, metrics, text)
    return outcomes


def _from_stream(context: CheckContext) -> dict[date, dict[int, int]]:
    """By day and code, how many actions of the event stream the day must have."""
    begins = source_days(context.lake, RAW_INTERACTIONS).first
    found: dict[date, dict[int, int]] = {day: {} for day in context.days}
    if begins is None:
        return found
    firsts = {code: source_days(context.lake, table).first for code, table in SOURCE_OF.items()}
    mode = context.settings.interaction_kinds
    for day in context.days:
        found[day] = dict.fromkeys(kinds_taken(mode, day, begins, firsts), 0)
    rows = context.columns(INTERACTIONS, context.days, ["interaction_type"])
    for row in rows.groupBy("dt", "interaction_type").count().collect():
        code = INTERACTION_TYPES[row["interaction_type"]]
        if code in found[row["dt"]]:
            found[row["dt"]][code] = row["count"]
    return found


def counts_by_type(context: CheckContext) -> dict[date, dict[int | None, int]]:
    """Actions of each day by type, None for types that are not known."""
    codes = [*sorted(ACTION_TYPES), None]
    return {
        day: {code: sum(f.by_type[n] for f in facts) for n, code in enumerate(codes)}
        for day, facts in facts_of(context).items()
    }


def check_customer_counts(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Each customer with an impression has one history, and nobody else has any."""
    keys = ["dt", "customer_id"]
    expected = context.raw(IMPRESSIONS).read_valid(context.spark).select(*keys).distinct()
    actual = context.columns(CUSTOMER_HISTORY, context.days, keys[1:])
    return compare_counts(context, expected, actual, "histories", "customers with impressions")


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
    actual = context.columns(TRAINING_INPUT, context.days, expected.columns[1:])
    return compare_counts(context, expected, actual, "training rows", "impression items")


def compare_counts(
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
