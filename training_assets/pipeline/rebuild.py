"""Builds exactly the published days that are out of date, table by table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from training_assets.errors import TrainingAssetsError
from training_assets.lake import Lake
from training_assets.provenance import Provenance, contiguous, find_outdated
from training_assets.schemas import TABLES, Table
from training_assets.settings import Settings

Build = Callable[[list[date], tuple[Table, ...]], bool]


@dataclass
class Rebuilt:
    """What became of the out-of-date days of one table; ``failed`` stand as they were."""

    table: str
    days: list[date] = field(default_factory=list)
    changed: list[date] = field(default_factory=list)
    changed_bytes: int = 0
    failed: dict[date, str] = field(default_factory=dict)


def rebuild_outdated(lake: Lake, settings: Settings, build: Build) -> list[Rebuilt]:
    """Build exactly the out-of-date days, table by table; ``build`` takes consecutive days.

    Each table is looked at when those before it are done: only then is it known what they changed.
    """
    done = []
    for table in TABLES.values():
        found = find_outdated(Provenance(lake, settings))
        result = Rebuilt(table.name)
        for late in found.of(table):
            if late.obstacle:
                result.failed[late.day] = late.obstacle
        days = found.buildable(table)
        before = {day: _content(lake, table, day) for day in days}
        for group in contiguous(days):
            build(group, (table,))
        after = Provenance(lake, settings)
        for day in days:
            if not after.is_current(table, day):
                result.failed[day] = "it was not published; see above, or the run in the UI"
                continue
            result.days.append(day)
            if (content := _content(lake, table, day)) != before[day]:
                result.changed.append(day)
                result.changed_bytes += content[1]
        done.append(result)
    return done


def _content(lake: Lake, table: Table, day: date) -> tuple[str, int]:
    """Hash and bytes of the published day; none of either where there is none."""
    try:
        manifest = Provenance(lake, Settings()).manifest(table, day)
    except TrainingAssetsError:
        return "", 0
    return str(manifest.get("content")), int(manifest.get("bytes", 0))
