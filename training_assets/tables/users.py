"""users: the users of the shop as of each day that has a delivery."""

from typing import Final

from training_assets.provenance import BuiltFrom
from training_assets.schemas import RAW_USERS, USERS
from training_assets.tables.snapshots import snapshot_spec

BUILT_FROM: Final = BuiltFrom(USERS, (RAW_USERS,), days="delivered", accumulates=True)

SPEC: Final = snapshot_spec(BUILT_FROM, "customer", "The users of the shop", "a user")
