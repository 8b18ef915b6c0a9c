"""A feature table as the lake holds it: its columns, and what tells them from those of before."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from training_assets.features.feature import Feature, FeatureTable
from training_assets.schemas import Column, Table

# Raised whenever a feature is declared otherwise; data/schemas/v{N}.json keeps each version.
FEATURES_VERSION: Final = 1
_KEY_TYPES: Final = {"dt": "date", "customer_id": "long", "item_id": "long"}

_DT: Final = Column("dt", "date", "The day as of which the row is: it knows the days before.")
_KEYS: Final = {
    "customer_id": Column("customer_id", "long", "The customer."),
    "item_id": Column("item_id", "int", "The item."),
}


def published_table(
    declared: FeatureTable, further: Sequence[Column] = (), key: Sequence[str] | None = None
) -> Table:
    """dt, key, ``further`` columns, all features; rows are sorted by ``key``."""
    features = (
        Column(
            feature.name,
            feature.type,
            feature.description,
            is_optional=feature.empty is None,
            minimum=feature.low,
            maximum=feature.high,
        )
        for feature in declared.features
    )
    return Table(
        name=declared.name,
        grain=declared.grain,
        key=declared.key if key is None else tuple(key),
        columns=(_DT, *(_KEYS[name] for name in declared.key), *further, *features),
    )


def declared_hash(declared: FeatureTable) -> str:
    """Of how all features are declared, a shop's own among them; built days are held against it."""
    text = json.dumps([FEATURES_VERSION, schema_of({declared.name: declared})], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def schema_of(tables: Mapping[str, FeatureTable]) -> dict[str, Any]:
    """All tables with their columns in order, as JSON has them."""
    return {
        "version": FEATURES_VERSION,
        "tables": {
            table.name: {
                "grain": table.grain,
                "key": ["dt", *table.key],
                "columns": [
                    *({"name": name, "type": _KEY_TYPES[name]} for name in ("dt", *table.key)),
                    *(_column(feature) for feature in table.features),
                ],
            }
            for table in tables.values()
        },
    }


def _column(feature: Feature) -> dict[str, Any]:
    return {
        "name": feature.name,
        "type": feature.type,
        "description": feature.description,
        "aggregation": str(feature.measure),
        "from": list(feature.kinds),
        "window": list(feature.windows) or ("look-back" if feature.has_lookback else None),
        "empty": feature.empty,
        "low": feature.low,
        "high": feature.high,
    }
