"""The event stream, the catalogue and the users of a shop: delivered, published, and their ids.

As delivered, ids are text or integers (``is_id``), and what a value may be stands with its column.
As published, ids are integers; ``item_ids`` and ``customer_ids`` say which text each stands for.
"""

from dataclasses import replace
from typing import Final

from training_assets.schemas.types import Column, Table

PURCHASE_WORD: Final = "purchase"
RETURN_WORD: Final = "return"
INTERACTION_TYPES: Final = {
    "click": 1,
    "add_to_cart": 2,
    PURCHASE_WORD: 3,
    "view": 4,
    "like": 5,
    RETURN_WORD: 6,
}
# Where they are negative, a purchase was taken back.
WORTH_COLUMNS: Final = ("price", "quantity", "amount")
UNKNOWN: Final = "unknown"
RE_DELIVERED_ID: Final = "interaction_id stands already in a row of the day"
RE_DELIVERED_ROW: Final = (
    "is equal to another row of the day, and equal rows are declared to be one"
)

_ID_LENGTH: Final = 255
_DT: Final = Column("dt", "date", "Day under which the row was filed (UTC); it decides.")
_INGESTED: Final = Column(
    "ingested_at", "timestamp", "When it arrived, UTC; null where the source does not say.", True
)

RAW_INTERACTIONS: Final = Table(
    name="interactions",
    description="Everything that customers did, as one stream of events.",
    grain="one interaction of a customer with an item",
    columns=(
        _DT,
        Column(
            "user_id",
            "string",
            "Who acted.",
            is_required=True,
            aliases=("customer_id",),
            max_length=_ID_LENGTH,
            is_id=True,
        ),
        Column(
            "item_id",
            "string",
            "Item acted on.",
            is_required=True,
            aliases=("product_id",),
            max_length=_ID_LENGTH,
            is_id=True,
        ),
        Column(
            "interaction_type",
            "string",
            "view, click, add_to_cart, purchase or like.",
            is_required=True,
            allowed=("view", "click", "add_to_cart", "purchase", "like"),
            is_key=True,
        ),
        Column("timestamp", "timestamp", "When, UTC, microseconds.", is_required=True),
        Column(
            "interaction_id",
            "string",
            "Identifier of the event; a second row with it is a re-delivery.",
            is_optional=True,
            max_length=_ID_LENGTH,
            is_id=True,
        ),
        Column(
            "session_id",
            "string",
            "Identifier of the visit.",
            is_optional=True,
            max_length=_ID_LENGTH,
            max_null_share=0.05,
            is_id=True,
        ),
        Column("rating", "double", "Stars, 1 to 5.", is_optional=True, minimum=1, maximum=5),
        Column("price", "decimal(18,4)", "Price of one.", is_optional=True, minimum=0),
        Column("quantity", "double", "How many.", is_optional=True, above=0),
        Column("amount", "decimal(18,4)", "Total of the line.", is_optional=True, minimum=0),
        Column(
            "device_type",
            "string",
            "Device, in lower case.",
            is_optional=True,
            max_length=_ID_LENGTH,
            max_null_share=0.2,
            is_key=True,
            fill=UNKNOWN,
        ),
        Column(
            "page_context",
            "string",
            "Page or place on it, in lower case.",
            is_optional=True,
            max_length=_ID_LENGTH,
            max_null_share=0.2,
            is_key=True,
            fill=UNKNOWN,
        ),
        _INGESTED,
    ),
)

RAW_ITEMS: Final = Table(
    name="items",
    description="The catalogue, as a snapshot of a day.",
    grain="one item of the catalogue",
    key=("item_id",),
    columns=(
        _DT,
        Column(
            "item_id",
            "string",
            "The item.",
            is_required=True,
            aliases=("product_id",),
            max_length=_ID_LENGTH,
            is_id=True,
        ),
        Column(
            "title",
            "string",
            "Its name, as it was written.",
            is_required=True,
            aliases=("name",),
            max_length=500,
        ),
        Column(
            "category",
            "string",
            "Category, in lower case.",
            is_optional=True,
            max_length=_ID_LENGTH,
            is_key=True,
            fill=UNKNOWN,
        ),
        Column(
            "subcategory",
            "string",
            "Within the category, in lower case.",
            is_optional=True,
            max_length=_ID_LENGTH,
            is_key=True,
        ),
        Column(
            "brand",
            "string",
            "Brand.",
            is_optional=True,
            max_length=_ID_LENGTH,
            fill=UNKNOWN,
        ),
        Column("price", "decimal(18,4)", "Price of one.", is_optional=True, minimum=0),
        Column("description", "string", "Free text.", is_optional=True, max_length=10_000),
        Column("attributes", "string", "Further ones, as JSON.", is_optional=True, is_json=True),
        Column(
            "avg_rating", "double", "Mean stars, 0 to 5.", is_optional=True, minimum=0, maximum=5
        ),
        Column("num_reviews", "long", "Reviews.", is_optional=True, minimum=0),
        Column("created_at", "timestamp", "Since when it is sold, UTC.", is_optional=True),
        Column("is_active", "boolean", "Whether it is on sale; true if not said.", True),
        _INGESTED,
    ),
)

RAW_USERS: Final = Table(
    name="users",
    description="The users, as a snapshot of a day.",
    grain="one user",
    key=("user_id",),
    columns=(
        _DT,
        Column(
            "user_id",
            "string",
            "The user.",
            is_required=True,
            aliases=("customer_id",),
            max_length=_ID_LENGTH,
            is_id=True,
        ),
        Column("age_group", "string", "Age, as a range.", True, max_length=_ID_LENGTH, is_key=True),
        Column("gender", "string", "Gender.", True, max_length=_ID_LENGTH, is_key=True),
        Column("location", "string", "Place or country.", True, max_length=_ID_LENGTH),
        Column("join_date", "date", "Day of the registration.", True),
        Column("customer_segment", "string", "Segment.", True, max_length=_ID_LENGTH, is_key=True),
        Column("preferences", "string", "Further ones, as JSON.", True, is_json=True),
        _INGESTED,
    ),
)

SHOP_TABLES: Final = {t.name: t for t in (RAW_INTERACTIONS, RAW_ITEMS, RAW_USERS)}

_CUSTOMER: Final = Column("customer_id", "long", "The customer; of text ids, see customer_ids.")
_ITEM: Final = Column("item_id", "int", "The item, 1..2147483647; of text ids, see item_ids.")


def _as_published(table: Table, *names: str) -> tuple[Column, ...]:
    """Columns as they are delivered, without what only rows of deliveries must keep to."""
    columns = {column.name: column for column in table.columns}
    return tuple(
        Column(name, columns[name].type, columns[name].description, is_optional=True)
        for name in names
    )


def re_delivered(table: Table) -> Table:
    """The source under which rows that were delivered again stand beside the rejected ones."""
    return replace(table, name=f"{table.name}.re_delivered")


INTERACTIONS: Final = Table(
    name="interactions",
    description="The event stream, cleaned.",
    grain="one valid interaction of the day, each delivered once",
    columns=(
        _DT,
        replace(_CUSTOMER, description="Who acted; of text ids, see customer_ids."),
        _ITEM,
        Column("interaction_type", "string", "view, click, add_to_cart, purchase, like or return."),
        Column("occurred_at", "timestamp", "Event time, UTC, microseconds."),
        *_as_published(
            RAW_INTERACTIONS,
            "interaction_id",
            "session_id",
            "rating",
            "price",
            "quantity",
            "amount",
        ),
        Column("device_type", "string", "Device, in lower case; unknown where not said."),
        Column("page_context", "string", "Page, in lower case; unknown where not said."),
        Column("is_bot", "boolean", "Whether the customer acted like a machine on the day."),
        _INGESTED,
    ),
)

ITEMS: Final = Table(
    name="items",
    description="The catalogue as of the day, inactive items included.",
    grain="one item known by the day",
    key=("item_id",),
    columns=(
        _DT,
        _ITEM,
        *_as_published(
            RAW_ITEMS,
            "title",
            "category",
            "subcategory",
            "brand",
            "price",
            "description",
            "attributes",
            "avg_rating",
            "num_reviews",
            "created_at",
        ),
        Column("is_active", "boolean", "On sale; false where a full snapshot lacks the item."),
        Column("is_listed", "boolean", "Whether the newest full snapshot, or a change, has it."),
    ),
)

USERS: Final = Table(
    name="users",
    description="The users as of the day, former ones included.",
    grain="one user known by the day",
    key=("customer_id",),
    columns=(
        _DT,
        _CUSTOMER,
        *_as_published(
            RAW_USERS,
            "age_group",
            "gender",
            "location",
            "join_date",
            "customer_segment",
            "preferences",
        ),
        Column("is_active", "boolean", "False where a full snapshot lacks the user."),
        Column("is_listed", "boolean", "Whether the newest full snapshot, or a change, has it."),
    ),
)


def _ids(name: str, of: Column, entity: str) -> Table:
    return Table(
        name=name,
        description=f"Which text id each {of.name} stands for; rows are only ever added.",
        grain=f"one text id of {entity}",
        key=("id",),
        columns=(
            Column("dt", "date", "Day whose data first had the text; the partition."),
            Column("id", of.type, f"The {of.name} in all published tables."),
            Column("text", "string", "The id as it is delivered."),
            Column("first_seen", "date", "Day whose data first had the text."),
        ),
    )


ITEM_IDS: Final = _ids("item_ids", _ITEM, "an item")
CUSTOMER_IDS: Final = _ids("customer_ids", _CUSTOMER, "a customer")
