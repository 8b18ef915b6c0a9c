"""Each table once: columns, types, units, key and grain.

Everything else that speaks of columns is derived from here: what is read and written, the schema
check, the column documentation in the UI, the frames in the tests and the dtypes of the loader.
Nothing in this module needs an engine or Dagster.
"""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

# Raised whenever tables are written in another way; recorded with each published day.
SCHEMA_VERSION: Final = 1

CLICK: Final = 1
ADD_TO_CART: Final = 2
ORDER: Final = 3
ACTION_TYPES: Final = {CLICK: "click", ADD_TO_CART: "add_to_cart", ORDER: "order"}

PADDING: Final = 0
MIN_ITEM_ID: Final = 1
MAX_ITEM_ID: Final = 2**31 - 1

_ARROW_TYPES: Final = {
    "long": pa.int64(),
    "int": pa.int32(),
    "smallint": pa.int16(),
    "tinyint": pa.int8(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "array<int>": pa.list_(pa.int32()),
    "array<smallint>": pa.list_(pa.int16()),
    "array<tinyint>": pa.list_(pa.int8()),
    "array<struct<item_id:int,is_order:boolean>>": pa.list_(
        pa.struct([("item_id", pa.int32()), ("is_order", pa.bool_())])
    ),
}


@dataclass(frozen=True)
class Column:
    """One column: its Spark type and what it means.

    ``is_optional`` columns may be absent from raw data; they then read as null.
    """

    name: str
    type: str
    description: str
    is_optional: bool = False

    @property
    def arrow(self) -> pa.DataType:
        return _ARROW_TYPES[self.type]


@dataclass(frozen=True)
class Table:
    """A day-partitioned table; ``dt`` is the partition and stands in the path, not in the files."""

    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    day_column: str = "dt"

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def stored_columns(self) -> tuple[Column, ...]:
        """The columns inside the files: all but the partition column."""
        return tuple(column for column in self.columns if column.name != self.day_column)

    @property
    def ddl(self) -> str:
        """Spark DDL of all columns, the partition column included."""
        return ", ".join(f"`{column.name}` {column.type}" for column in self.columns)

    @property
    def arrow_schema(self) -> pa.Schema:
        """Arrow schema of what lies in the files."""
        return pa.schema([(column.name, column.arrow) for column in self.stored_columns])


_DT = Column("dt", "date", "Partition day (UTC).")

IMPRESSIONS: Final = Table(
    name="impressions",
    grain="one ranking shown to one customer on one day",
    columns=(
        Column("dt", "date", "Day on which the ranking was shown (UTC)."),
        Column("ranking_id", "string", "Identifier of the ranking."),
        Column("customer_id", "long", "Who saw it."),
        Column(
            "impressions",
            "array<struct<item_id:int,is_order:boolean>>",
            "Items of the ranking in display order; is_order says whether the item was ordered.",
        ),
    ),
)

CLICKS: Final = Table(
    name="clicks",
    grain="one click",
    columns=(
        Column("dt", "date", "Day under which the click was filed; it decides, not click_time."),
        Column("customer_id", "long", "Who clicked."),
        Column("item_id", "int", "Clicked item."),
        Column("click_time", "timestamp", "When, UTC, microseconds.", is_optional=True),
    ),
)

ADD_TO_CARTS: Final = Table(
    name="add_to_carts",
    grain="one add-to-cart",
    columns=(
        Column("dt", "date", "Day under which the event was filed; it decides, not occurred_at."),
        Column("customer_id", "long", "Whose cart."),
        Column("config_id", "int", "Added item; the same identifier as item_id."),
        Column("simple_id", "int", "Size variant; ignored.", is_optional=True),
        Column("occurred_at", "timestamp", "When, UTC, microseconds.", is_optional=True),
    ),
)

PREVIOUS_ORDERS: Final = Table(
    name="previous_orders",
    grain="one order line",
    day_column="order_date",
    columns=(
        Column("order_date", "date", "Day of the order; it decides, not occurred_at."),
        Column("customer_id", "long", "Who ordered."),
        Column("config_id", "int", "Ordered item; the same identifier as item_id."),
        Column("simple_id", "int", "Size variant; ignored.", is_optional=True),
        Column("occurred_at", "timestamp", "When, UTC; may be null or absent.", is_optional=True),
    ),
)

UNIFIED_ACTIONS: Final = Table(
    name="unified_actions",
    grain="one valid action of the day",
    columns=(
        _DT,
        Column("customer_id", "long", "Who acted."),
        Column("item_id", "int", f"Item acted on, {MIN_ITEM_ID}..{MAX_ITEM_ID}."),
        Column("action_type", "tinyint", "1 click, 2 add_to_cart, 3 order."),
        Column(
            "occurred_at",
            "timestamp",
            "Event time, UTC, microseconds; the day at 00:00:00 where the source gave none.",
        ),
    ),
)

CUSTOMER_HISTORY: Final = Table(
    name="customer_history",
    grain="one customer with an impression on the day",
    key=("customer_id",),
    columns=(
        _DT,
        Column("customer_id", "long", "Whose history."),
        Column("action_items", "array<int>", "Item ids, newest first, 0..history_length of them."),
        Column("action_types", "array<tinyint>", "Action codes, parallel to action_items."),
        Column(
            "action_days_ago",
            "array<smallint>",
            "dt minus the day of the action, in days, so at least 1; parallel to action_items.",
        ),
    ),
)

TRAINING_INPUT: Final = Table(
    name="training_input",
    grain="one impression item",
    columns=(
        Column("dt", "string", "Day on which the item was shown, YYYY-MM-DD."),
        Column("customer_id", "long", "Who saw it."),
        Column("ranking_id", "string", "Ranking in which it was shown."),
        Column("impression_item_id", "long", "Item shown."),
        Column("is_order", "int", "Label: 1 if it was ordered, else 0."),
        Column(
            "action_items",
            "array<int>",
            "Item ids, newest first, zeros on the right; exactly history_length long.",
        ),
        Column(
            "action_types",
            "array<int>",
            "Action codes, parallel to action_items; exactly history_length long.",
        ),
    ),
)

QUARANTINE: Final = Table(
    name="quarantine",
    grain="one raw row, or one item of a raw impressions row, that no table could take",
    columns=(
        _DT,
        Column("reason", "string", "Which rule the row broke."),
        Column("source_file", "string", "Raw file, relative to the lake."),
        Column("content", "string", "The row as it was, as JSON, or the raw line."),
    ),
)

RAW_TABLES: Final = {t.name: t for t in (IMPRESSIONS, CLICKS, ADD_TO_CARTS, PREVIOUS_ORDERS)}
TABLES: Final = {t.name: t for t in (UNIFIED_ACTIONS, CUSTOMER_HISTORY, TRAINING_INPUT)}

ACTION_SOURCES: Final = (CLICKS, ADD_TO_CARTS, PREVIOUS_ORDERS)
# The raw tables whose faults are set aside when a day of the table is built.
QUARANTINED_BY: Final = {
    UNIFIED_ACTIONS.name: ACTION_SOURCES,
    CUSTOMER_HISTORY.name: (),
    TRAINING_INPUT.name: (IMPRESSIONS,),
}
