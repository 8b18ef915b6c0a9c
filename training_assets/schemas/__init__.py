"""Each table once: columns, types, units, key and grain.

Everything else that speaks of columns is derived from here: what is read and written, the schema
check, the column documentation in the UI, the frames in the tests and the dtypes of the loader.

Imports nothing of ours, no engine and no Dagster. Begin with ``published.py``.
"""

from training_assets.schemas.published import (
    ACTION_TYPES,
    ADD_TO_CART,
    CLICK,
    CUSTOMER_HISTORY,
    MAX_ITEM_ID,
    MIN_ITEM_ID,
    ORDER,
    PADDING,
    QUARANTINE,
    QUARANTINED_BY,
    SCHEMA_VERSION,
    TABLES,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
)
from training_assets.schemas.raw import (
    ACTION_SOURCES,
    ADD_TO_CARTS,
    CLICKS,
    IMPRESSIONS,
    PREVIOUS_ORDERS,
    RAW_TABLES,
)
from training_assets.schemas.types import (
    Column,
    Table,
)

__all__ = [
    "ACTION_SOURCES",
    "ACTION_TYPES",
    "ADD_TO_CART",
    "ADD_TO_CARTS",
    "CLICK",
    "CLICKS",
    "CUSTOMER_HISTORY",
    "IMPRESSIONS",
    "MAX_ITEM_ID",
    "MIN_ITEM_ID",
    "ORDER",
    "PADDING",
    "PREVIOUS_ORDERS",
    "QUARANTINE",
    "QUARANTINED_BY",
    "RAW_TABLES",
    "SCHEMA_VERSION",
    "TABLES",
    "TRAINING_INPUT",
    "UNIFIED_ACTIONS",
    "Column",
    "Table",
]
