"""items: the catalogue as of each day that has a delivery."""

from typing import Final

from training_assets.provenance import BuiltFrom
from training_assets.schemas import ITEMS, RAW_ITEMS
from training_assets.tables.snapshots import snapshot_spec

BUILT_FROM: Final = BuiltFrom(ITEMS, (RAW_ITEMS,), days="delivered", accumulates=True)

SPEC: Final = snapshot_spec(BUILT_FROM, "item", "The catalogue", "an item")
