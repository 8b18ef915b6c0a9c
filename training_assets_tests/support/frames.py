"""Small frames of the raw tables from literal rows, typed as ``schemas`` says."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from training_assets import build_training_input
from training_assets.schemas import RAW_TABLES, Table

DAY = date(2024, 5, 10)
_ITEMS = "array<struct<item_id:int,is_order:boolean>>"
_WIDE = {
    "int": pa.int64(),
    _ITEMS: pa.list_(pa.struct([("item_id", pa.int64()), ("is_order", pa.bool_())])),
}


def before(days: int) -> date:
    """The day that many days before DAY."""
    return DAY - timedelta(days=days)


def at(day: date, clock: str = "12:00") -> datetime:
    return datetime.fromisoformat(f"{day.isoformat()}T{clock}").replace(tzinfo=UTC)


def click(customer: int | None, item: int | None, day: date | None, when: Any = None) -> dict:
    return {"dt": day, "customer_id": customer, "item_id": item, "click_time": when}


def cart(customer: int | None, item: int | None, day: date | None, when: Any = None) -> dict:
    row = {"dt": day, "customer_id": customer, "config_id": item, "simple_id": 1}
    return {**row, "occurred_at": when}


def order(customer: int | None, item: int | None, day: date | None, when: Any = None) -> dict:
    row = {"order_date": day, "customer_id": customer, "config_id": item, "simple_id": 1}
    return {**row, "occurred_at": when}


def ranking(
    customer: int | None, items: Any, day: date | None = DAY, name: str | None = "r"
) -> dict:
    """``items``: item ids (not ordered), (id, label) pairs, or None for a null struct."""

    def item(value: Any) -> dict | None:
        if value is None:
            return None
        item_id, label = value if isinstance(value, tuple) else (value, False)
        return {"item_id": item_id, "is_order": label}

    listed = None if items is None else [item(value) for value in items]
    return {"dt": day, "ranking_id": name, "customer_id": customer, "impressions": listed}


def arrow_schema(table: Table) -> pa.Schema:
    """Item ids are wide, so that values beyond int32 can be written down."""
    return pa.schema([(c.name, _WIDE.get(c.type, c.arrow)) for c in table.columns])


def frame(spark: SparkSession, table: str, rows: Iterable[dict]) -> DataFrame:
    """Rows as a frame, typed by ``arrow_schema``."""
    schema = arrow_schema(RAW_TABLES[table])
    listed = list(rows)
    if not listed:
        return spark.createDataFrame([], from_arrow_schema(schema))
    return spark.createDataFrame(pa.Table.from_pylist(listed, schema))


def training_rows(spark: SparkSession, rankings: list[dict], *actions: dict, **knobs: Any) -> list:
    """``build_training_input`` on literal rows, as sorted tuples in column order."""
    clicks = [a for a in actions if "click_time" in a]
    orders = [a for a in actions if "order_date" in a]
    carts = [a for a in actions if "config_id" in a and "order_date" not in a]
    result = build_training_input(
        frame(spark, "impressions", rankings),
        frame(spark, "clicks", clicks),
        frame(spark, "add_to_carts", carts),
        frame(spark, "previous_orders", orders),
        **knobs,
    )
    return sorted((tuple(row) for row in result.collect()), key=repr)
