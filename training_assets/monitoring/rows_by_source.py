"""Rows of a day by source: of actions those of each kind, of any other table all."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from training_assets.checks import CheckContext
from training_assets.errors import TrainingAssetsError
from training_assets.lake import Snapshot
from training_assets.monitoring.profile import Profile
from training_assets.monitoring.recorded import profiles_before
from training_assets.schemas import ACTION_SOURCES, ACTION_TYPES

_KIND: Final = "action_type"
_ALL: Final = "table"
_SOURCE_OF: Final = {source.action_type: source.name for source in ACTION_SOURCES}


def source_of(code: int) -> str:
    """The raw table of a kind of action, or the kind in the plural where it has none of its own."""
    return _SOURCE_OF.get(code, f"{ACTION_TYPES[code]}s")


def rows_by_source(profile: Profile) -> dict[str, int]:
    """As the day's profile counts them."""
    if _KIND not in profile.features:
        return {_ALL: profile.rows}
    levels = profile.features[_KIND].levels
    return {source_of(code): levels.get(str(code), 0) for code in ACTION_TYPES}


def recorded_rows(context: CheckContext, days: Sequence[date]) -> dict[date, dict[str, int]]:
    """Of those of the days that are known; by the manifest where a day has no profile."""
    found = {day: rows_by_source(p) for day, p in profiles_before(context, days).items()}
    snapshot = context.lake.snapshot(context.table.name)
    for day in days:
        if day not in found and day in snapshot.files and (figures := _figures(snapshot, day)):
            found[day] = _of_figures(figures)
    return found


def _figures(snapshot: Snapshot, day: date) -> Mapping[str, Any]:
    try:
        figures: Mapping[str, Any] = snapshot.manifest(day).get("figures", {})
    except TrainingAssetsError:
        return {}
    return figures


def _of_figures(figures: Mapping[str, Any]) -> dict[str, int]:
    kinds = {code: figures.get(f"num_{name}s") for code, name in ACTION_TYPES.items()}
    if any(count is not None for count in kinds.values()):
        return {source_of(code): int(count or 0) for code, count in kinds.items()}
    return {_ALL: int(figures.get("rows", 0))}
