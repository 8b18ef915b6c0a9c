"""The tables that come in, as the platform reads them."""

from typing import Final

from training_assets.schemas.published import ADD_TO_CART, CLICK, ORDER
from training_assets.schemas.types import Column, Table

IMPRESSIONS: Final = Table(
    name="impressions",
    description="Rankings as they were shown: which items, to whom, and which were ordered.",
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
    description="Clicks on items.",
    action_type=CLICK,
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
    description="Items that were put into a cart.",
    action_type=ADD_TO_CART,
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
    description="Order lines, from the warehouse.",
    action_type=ORDER,
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

RAW_TABLES: Final = {t.name: t for t in (IMPRESSIONS, CLICKS, ADD_TO_CARTS, PREVIOUS_ORDERS)}
ACTION_SOURCES: Final = (CLICKS, ADD_TO_CARTS, PREVIOUS_ORDERS)
