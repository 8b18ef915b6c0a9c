"""users: the users of the shop as of each day that has a delivery."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from training_assets import checks
from training_assets.provenance import BuiltFrom
from training_assets.schemas import RAW_USERS, USERS
from training_assets.settings import Settings
from training_assets.tables.build import Build, NewFiles
from training_assets.tables.snapshots import build_snapshots
from training_assets.tables.spec import TableSpec

_FILLS: Final = {c.name: c.fill for c in RAW_USERS.columns if c.fill is not None}


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """The state of each day that has a delivery."""
    return build_snapshots(build, BUILT_FROM, days, "customer", _FILLS)


def _describe(settings: Settings) -> str:
    return (
        "The users of the shop as of the day, with whatever was known before: a user that a full "
        "snapshot lacks is inactive from that day on. A day without a delivery has none of its "
        "own; the newest one before it holds."
    )


BUILT_FROM: Final = BuiltFrom(USERS, (RAW_USERS,), days="delivered", accumulates=True)

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        USERS,
        schema=checks.check_schema,
        row_counts=checks.check_snapshot_counts,
        snapshot_size=checks.check_snapshot_size,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.snapshot_metrics,
    rejects=True,
    group="shop",
)
