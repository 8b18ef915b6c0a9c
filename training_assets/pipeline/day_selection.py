"""Which days a command is about, and which of them are to be built."""

from datetime import date, datetime, timedelta
from typing import Final

from training_assets.errors import SettingsError
from training_assets.lake import Lake, day_range
from training_assets.provenance import Provenance, raw_action_days, window_days
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings
from training_assets.sources import raw_days

_DEFAULT_DAYS: Final = 14


def span(first: date, last: date) -> list[date]:
    """All days of a range as it was asked for; raises ``SettingsError`` for one that is none."""
    if last < first:
        raise SettingsError(
            f"--start-date: {first} is after --end-date {last}; expected it not to be. Swap them."
        )
    return day_range(first, last)


def requested_days(lake: Lake, start: datetime | None, end: datetime | None) -> list[date]:
    """From ``start`` to ``end``; by default the last 14 days up to the last raw impressions."""
    shown = raw_days(lake.root, IMPRESSIONS)
    if not shown and not (start and end):
        raise SettingsError(
            f"run: {lake.root / 'raw' / 'impressions'} has no days; expected one folder dt=… a "
            "day. Deliver impressions, or name --start-date and --end-date."
        )
    last = end.date() if end else shown[-1]
    default = last - timedelta(days=_DEFAULT_DAYS - 1)
    first = start.date() if start else max(default, min(shown[0], last) if shown else default)
    return span(first, last)


def look_back_days(lake: Lake, settings: Settings, days: list[date]) -> list[date]:
    """Days before the requested ones whose actions count for them and that have raw data."""
    return window_days(settings, raw_action_days(lake, settings), days[0])


def stale_days(provenance: Provenance, days: list[date], is_history_stale: bool) -> list[date]:
    """Those of the days that a run must build, or may have to for what it builds before them."""
    if is_history_stale:
        return days
    actions = provenance.outdated(UNIFIED_ACTIONS, days)
    if actions:
        # Later histories read these days; whether they differ is known only after the build.
        return [day for day in days if day >= actions[0]]
    tables: tuple[Table, ...] = (CUSTOMER_HISTORY, TRAINING_INPUT)
    stale = {day for table in tables for day in provenance.outdated(table, days)}
    return sorted(stale)
