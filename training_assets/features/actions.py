"""Actions as features see them: typed, priced, and told apart by purchase, return and session."""

from collections.abc import Sequence
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training_assets.features.inputs import (
    as_day,
    as_id,
    as_micros,
    as_money,
    column_or_null,
    require_columns,
)
from training_assets.features.measures import KIND_CODES, RETURN_CODE
from training_assets.features.neighbours import after, before, is_first

_MICROS_PER_DAY: Final = 86_400_000_000
_SESSION_GAP_MICROS: Final = 30 * 60 * 1_000_000
_MAX_ITEM_ID: Final = 2**31 - 1
_ORDER: Final = KIND_CODES["order"]
_UNITS: Final = 1_000_000_000
_COLUMNS: Final = ("dt", "customer_id", "item_id", "action_type")


def read_actions(actions: DataFrame, items: DataFrame | None, *, where: str) -> DataFrame:
    """One row per valid action, in the columns that measures speak of.

    day (since 1970-01-01), customer_id, item_id, kind, at_micros (null without a time of its own),
    sort_micros (the day's midnight then), session_id, rating, rating_units (billionths), quantity,
    unit_price, worth (negative for a return), is_return, is_purchase, times (always 1).

    An order of nothing, or for less than nothing, is a return, and so is an action of type return:
    it is an action of kind order and no purchase, and its worth is below zero.

    Left out are actions without day, customer or item, with an item id outside 1..2^31-1, of
    another kind than the five, and of bots, where a column ``is_bot`` marks them.

    Raises ``SchemaError`` for a missing column.
    """
    require_columns(actions, "actions", _COLUMNS, where)
    is_timed = F.coalesce(column_or_null(actions, "has_time", "boolean"), F.lit(True))
    typed = actions.where(
        ~F.coalesce(column_or_null(actions, "is_bot", "boolean"), F.lit(False))
    ).select(
        as_day(actions, "dt").alias("day"),
        as_id(actions, "customer_id").alias("customer_id"),
        as_id(actions, "item_id").alias("item_id"),
        _kind(actions).alias("kind"),
        F.when(is_timed, as_micros(actions, "occurred_at")).alias("at_micros"),
        column_or_null(actions, "session_id", "string").alias("session_id"),
        column_or_null(actions, "rating", "decimal(18,9)").alias("rating"),
        as_money(actions, "price").alias("price"),
        as_money(actions, "quantity").alias("quantity"),
        as_money(actions, "amount").alias("amount"),
    )
    kinds = [*(code for code in KIND_CODES.values() if code), RETURN_CODE]
    is_item = F.col("item_id").isNotNull()
    if not _is_text(typed, "item_id"):
        is_item = F.col("item_id").between(1, _MAX_ITEM_ID)
    valid = typed.where(
        F.col("day").isNotNull()
        & F.col("customer_id").isNotNull()
        & is_item
        & F.col("kind").isin(kinds)
    )
    orders = F.when(F.col("kind") == RETURN_CODE, F.lit(_ORDER)).otherwise(F.col("kind"))
    marked = valid.withColumn("is_return", F.col("kind") == RETURN_CODE).withColumn("kind", orders)
    return _with_worth(_with_catalogue_price(marked, items))


def _kind(actions: DataFrame) -> Column:
    """The code of the kind, also where it is delivered by name."""
    if not _is_text(actions, "action_type"):
        return F.col("action_type").cast("int")
    name = F.lower(F.trim("action_type"))
    kind = name.try_cast("int")
    for word, code in (*KIND_CODES.items(), ("purchase", _ORDER), ("return", RETURN_CODE)):
        kind = F.when(name == word, F.lit(code)).otherwise(kind)
    return kind


def with_sessions(
    actions: DataFrame,
    *,
    owner: Sequence[str] = ("customer_id", "day", "session_id"),
    order: Sequence[str] = ("at_micros",),
) -> DataFrame:
    """Adds is_session_start (1, else 0) and session_micros (since the action before, in it).

    A session is an ``owner``: customer, day and, last, session id. Without an id, a pause of more
    than 30 minutes begins one. ``order`` begins with the time; an action without one belongs to no
    session. Sums over a customer's actions of a day give its sessions and their length.
    """
    at, session_id = F.col(order[0]), F.col(owner[-1])
    pause = at - before(order[0], owner, order)
    goes_on = session_id.isNotNull() | (F.col("_pause") <= _SESSION_GAP_MICROS)
    is_inside = F.coalesce(F.col("_pause").isNotNull() & goes_on, F.lit(False))
    return (
        actions.withColumn("_pause", pause)
        .withColumn("is_session_start", (at.isNotNull() & ~is_inside).cast("int"))
        .withColumn("session_micros", F.when(is_inside, F.col("_pause")).otherwise(F.lit(0)))
        .drop("_pause")
    )


def _with_catalogue_price(actions: DataFrame, items: DataFrame | None) -> DataFrame:
    """Adds ``unit_price``: the own price, else the catalogue's as of the action's day."""
    own = actions.withColumn("unit_price", F.col("price"))
    if items is None or "price" not in items.columns:
        return own
    # Apart, so that only orders that need it meet the catalogue.
    needs = F.coalesce((F.col("kind") == _ORDER) & F.col("price").isNull(), F.lit(False))
    prices = _price_ranges(items)
    is_current = (
        (F.col("item_id") == F.col("_item"))
        & (F.col("day") >= F.col("_from"))
        & (F.col("_until").isNull() | (F.col("day") < F.col("_until")))
    )
    looked_up = (
        actions.where(needs)
        .join(prices, on=is_current, how="left")
        .withColumn("unit_price", F.col("_price"))
        .drop("_item", "_from", "_until", "_price")
    )
    return own.where(~needs).unionByName(looked_up)


def _price_ranges(items: DataFrame) -> DataFrame:
    """(_item, _from, _until, _price): each item's price by days, ``_until`` not included."""
    snapshots = (
        items.select(
            as_id(items, "item_id").alias("_item"),
            as_day(items, "dt").alias("_from"),
            as_money(items, "price").alias("_price"),
        )
        .where(F.col("_item").isNotNull() & F.col("_from").isNotNull())
        .groupBy("_item", "_from")
        .agg(F.max("_price").alias("_price"))
    )
    in_order = ["_item"], ["_from"]
    is_new = is_first(*in_order) | ~F.col("_price").eqNullSafe(before("_price", *in_order))
    return (
        snapshots.withColumn("_is_new", is_new)
        .where(F.col("_is_new"))
        .withColumn("_until", after("_from", *in_order))
        .drop("_is_new")
    )


def _with_worth(actions: DataFrame) -> DataFrame:
    """Adds is_return, is_purchase, worth, rating_units and sort_micros; drops price and amount."""
    is_order = F.col("kind") == _ORDER
    is_negative = (F.col("quantity") <= 0) | (F.col("price") < 0) | (F.col("amount") < 0)
    is_return = F.col("is_return") | (is_order & F.coalesce(is_negative, F.lit(False)))
    quantity = F.coalesce(F.col("quantity"), F.lit(1).cast("decimal(18,4)"))
    line = (F.col("unit_price") * quantity).cast("decimal(18,4)")
    value = F.coalesce(F.col("amount"), line)
    return (
        actions.withColumn("is_return", is_return)
        .withColumn("is_purchase", is_order & ~F.col("is_return"))
        .withColumn("worth", F.when(F.col("is_return"), -F.abs(value)).otherwise(value))
        .withColumn("times", F.lit(1).cast("long"))
        .withColumn("rating_units", (F.col("rating") * F.lit(_UNITS)).cast("long"))
        .withColumn("sort_micros", F.coalesce(F.col("at_micros"), _midnight_micros(F.col("day"))))
        .drop("price", "amount")
    )


def _is_text(frame: DataFrame, name: str) -> bool:
    return dict(frame.dtypes)[name] == "string"


def _midnight_micros(day: Column) -> Column:
    return day.cast("long") * F.lit(_MICROS_PER_DAY)
