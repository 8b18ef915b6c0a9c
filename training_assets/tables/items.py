"""items: the catalogue as of each day that has a delivery."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from training_assets import checks
from training_assets.provenance import BuiltFrom
from training_assets.schemas import ITEMS, RAW_ITEMS
from training_assets.settings import Settings
from training_assets.tables.build import Build, NewFiles
from training_assets.tables.snapshots import build_snapshots
from training_assets.tables.spec import TableSpec

_FILLS: Final = {c.name: c.fill for c in RAW_ITEMS.columns if c.fill is not None}


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """The state of each day that has a delivery."""
    return build_snapshots(build, BUILT_FROM, days, "item", _FILLS)


def _describe(settings: Settings) -> str:
    return (
        "The catalogue as of the day, with whatever was known before: an item that a full "
        "snapshot lacks is inactive from that day on. A day without a delivery has none of its "
        "own; the newest one before it holds."
    )


BUILT_FROM: Final = BuiltFrom(ITEMS, (RAW_ITEMS,), days="delivered", accumulates=True)

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        ITEMS,
        schema=checks.check_schema,
        row_counts=checks.check_snapshot_counts,
        snapshot_size=checks.check_snapshot_size,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.snapshot_metrics,
    rejects=True,
    group="shop",
)
