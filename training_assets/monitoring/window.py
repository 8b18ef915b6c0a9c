"""Features that grow by themselves while a lake is younger than its look-back.

A history, and what is counted over a window, becomes longer each day until the window is full. Such
features are judged only once the window of the days before was nearly as long as that of now.
"""

from datetime import date, timedelta
from typing import Final

from training_assets.lake import Lake
from training_assets.monitoring.profile import Profile
from training_assets.provenance import BuiltFrom
from training_assets.settings import Settings

_NEARLY: Final = 0.9


def grows(lake: Lake, settings: Settings, built: BuiltFrom, day: date, base_days: int) -> bool:
    """Whether the window of the middle of the days before was much shorter than that of the day."""
    reads = _look_back(built)
    if reads is None or not (days := lake.days(reads.table.name)):
        return False
    middle = day - timedelta(days=base_days // 2)
    first = days[0]
    limit = settings.lookback_days
    windows = [(of - first).days for of in (middle, day)]
    before, now = (window if limit is None else min(window, limit) for window in windows)
    return before < _NEARLY * now


def window_features(built: BuiltFrom, profile: Profile) -> frozenset[str]:
    """Those of a table that looks back: all; of one that takes them over: the columns of both."""
    if any(upstream.looks_back for upstream in built.upstream):
        return frozenset(profile.features)
    theirs = {
        column.name
        for upstream in built.upstream
        if _look_back(upstream.of)
        for column in upstream.of.table.stored_columns
    }
    return frozenset(name for name in profile.features if name.partition(".")[0] in theirs)


def _look_back(built: BuiltFrom) -> BuiltFrom | None:
    """The table whose earlier days this one reads, or one that it is built from does."""
    for upstream in built.upstream:
        if upstream.looks_back:
            return upstream.of
    found = (_look_back(upstream.of) for upstream in built.upstream)
    return next((of for of in found if of), None)
