"""The tables that are built, the quarantine, and what their values may be."""

from typing import Final

from training_assets.schemas.types import Column, Table

# Raised whenever tables are written in another way; recorded with each published day.
SCHEMA_VERSION: Final = 2
# Since 1 only actions have further columns; what a model is given is written as before.
READABLE_VERSIONS: Final = (1, SCHEMA_VERSION)

CLICK: Final = 1
ADD_TO_CART: Final = 2
ORDER: Final = 3
VIEW: Final = 4
LIKE: Final = 5
# A purchase that was taken back: in no history, pair or sample; it lowers what was spent.
RETURN: Final = 6
ACTION_TYPES: Final = {
    CLICK: "click",
    ADD_TO_CART: "add_to_cart",
    ORDER: "order",
    VIEW: "view",
    LIKE: "like",
}
STORED_TYPES: Final = {**ACTION_TYPES, RETURN: "return"}

PADDING: Final = 0
MIN_ITEM_ID: Final = 1
MAX_ITEM_ID: Final = 2**31 - 1

_DT = Column("dt", "date", "Partition day (UTC).")

UNIFIED_ACTIONS: Final = Table(
    name="unified_actions",
    grain="one valid action of the day",
    columns=(
        _DT,
        Column("customer_id", "long", "Who acted."),
        Column("item_id", "int", f"Item acted on, {MIN_ITEM_ID}..{MAX_ITEM_ID}."),
        Column(
            "action_type",
            "tinyint",
            "1 click, 2 add_to_cart, 3 order, 4 view, 5 like, 6 return (of an order; no action).",
        ),
        Column(
            "occurred_at",
            "timestamp",
            "Event time, UTC, microseconds; the day at 00:00:00 where the source gave none.",
        ),
        Column("has_time", "boolean", "Whether the source gave an event time."),
        Column("is_bot", "boolean", "Whether the customer acted like a machine on the day."),
        Column("session_id", "string", "Identifier of the visit, if known.", is_optional=True),
        Column(
            "rating", "double", "Stars, 1 to 5, if given.", is_optional=True, minimum=1, maximum=5
        ),
        Column("price", "decimal(18,4)", "Price of one, if known.", is_optional=True),
        Column("quantity", "double", "How many, if known.", is_optional=True),
        Column("amount", "decimal(18,4)", "Total of the line, if known.", is_optional=True),
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
