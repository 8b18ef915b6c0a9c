"""Each table once: columns, types, units, key and grain.

Everything else that speaks of columns is derived from here: what is read and written, the schema
check, the column documentation in the UI, the frames in the tests and the dtypes of the loader.

Imports nothing of ours, no engine and no Dagster. Begin with ``published.py``.
"""

from training_assets.schemas.features import ITEMS_SHOWN
from training_assets.schemas.published import (
    ACTION_TYPES,
    ADD_TO_CART,
    CLICK,
    CUSTOMER_HISTORY,
    LIKE,
    MAX_ITEM_ID,
    MIN_ITEM_ID,
    ORDER,
    PADDING,
    QUARANTINE,
    READABLE_VERSIONS,
    RETURN,
    SCHEMA_VERSION,
    STORED_TYPES,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    VIEW,
)
from training_assets.schemas.raw import (
    ACTION_SOURCES,
    ADD_TO_CARTS,
    CLICKS,
    IMPRESSIONS,
    PREVIOUS_ORDERS,
    RAW_TABLES,
)
from training_assets.schemas.samples import SAMPLE_NAMES, TRAINING_SAMPLES
from training_assets.schemas.shop import (
    CUSTOMER_IDS,
    INTERACTION_TYPES,
    INTERACTIONS,
    ITEM_IDS,
    ITEMS,
    PURCHASE_WORD,
    RAW_INTERACTIONS,
    RAW_ITEMS,
    RAW_USERS,
    RE_DELIVERED_ID,
    RE_DELIVERED_ROW,
    RETURN_WORD,
    SHOP_TABLES,
    UNKNOWN,
    USERS,
    WORTH_COLUMNS,
    re_delivered,
)
from training_assets.schemas.types import (
    Column,
    Table,
)

# All that can be delivered, by the name of its folder.
DELIVERED_TABLES = {**RAW_TABLES, **SHOP_TABLES}

__all__ = [
    "ACTION_SOURCES",
    "ACTION_TYPES",
    "ADD_TO_CART",
    "ADD_TO_CARTS",
    "CLICK",
    "CLICKS",
    "CUSTOMER_HISTORY",
    "CUSTOMER_IDS",
    "DELIVERED_TABLES",
    "IMPRESSIONS",
    "INTERACTIONS",
    "INTERACTION_TYPES",
    "ITEMS",
    "ITEMS_SHOWN",
    "ITEM_IDS",
    "LIKE",
    "MAX_ITEM_ID",
    "MIN_ITEM_ID",
    "ORDER",
    "PADDING",
    "PREVIOUS_ORDERS",
    "PURCHASE_WORD",
    "QUARANTINE",
    "RAW_INTERACTIONS",
    "RAW_ITEMS",
    "RAW_TABLES",
    "RAW_USERS",
    "READABLE_VERSIONS",
    "RETURN",
    "RETURN_WORD",
    "RE_DELIVERED_ID",
    "RE_DELIVERED_ROW",
    "SAMPLE_NAMES",
    "SCHEMA_VERSION",
    "SHOP_TABLES",
    "STORED_TYPES",
    "TRAINING_INPUT",
    "TRAINING_SAMPLES",
    "UNIFIED_ACTIONS",
    "UNKNOWN",
    "USERS",
    "VIEW",
    "WORTH_COLUMNS",
    "Column",
    "Table",
    "re_delivered",
]
