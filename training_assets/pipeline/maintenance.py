"""Letting go of what no version needs any more: replaced files, and what killed runs left."""

from datetime import timedelta

from training_assets.lake import Lake, Removed, vacuum
from training_assets.settings import Settings
from training_assets.tables import SPECS
from training_assets.tables.action_blocks import BLOCKS, vacuum_blocks
from training_assets.tables.build import RUNS, vacuum_runs
from training_assets.tables.feature_state import STATE, vacuum_state


def vacuum_lake(lake: Lake, settings: Settings, *, dry_run: bool = False) -> dict[str, Removed]:
    """By table: files and bytes that went, or would go; versions of the last days stay readable."""
    keep = timedelta(days=settings.keep_versions_days)
    removed = {
        name: vacuum(lake.table_store(name), name, keep=keep, dry_run=dry_run) for name in SPECS
    }
    removed[BLOCKS] = Removed(*vacuum_blocks(Lake(lake.store), keep=keep, dry_run=dry_run))
    removed[STATE] = Removed(*vacuum_state(Lake(lake.store), keep=keep, dry_run=dry_run))
    # A run that builds a large day needs them until it ends.
    removed[RUNS] = Removed(
        *vacuum_runs(Lake(lake.store), keep=max(keep, timedelta(days=1)), dry_run=dry_run)
    )
    return removed
