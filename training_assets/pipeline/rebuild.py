"""Builds exactly the published days that are out of date, table by table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from training_assets.errors import TrainingAssetsError
from training_assets.lake import Lake, contiguous
from training_assets.provenance import Provenance, find_outdated
from training_assets.settings import Settings
from training_assets.tables import BUILT_FROM, SPECS, TableSpec

BuildDays = Callable[[list[date], tuple[TableSpec, ...]], bool]


@dataclass
class Rebuilt:
    """What became of the out-of-date days of one table; ``failed`` stand as they were."""

    table: str
    days: list[date] = field(default_factory=list)
    changed: list[date] = field(default_factory=list)
    changed_bytes: int = 0
    failed: dict[date, str] = field(default_factory=dict)


def rebuild_outdated(lake: Lake, settings: Settings, build: BuildDays) -> list[Rebuilt]:
    """Build exactly the out-of-date days, table by table; ``build`` takes consecutive days.

    Each table is looked at when those before it are done: only then is it known what they changed.
    """
    done = []
    for spec in SPECS.values():
        before = Provenance(Lake(lake.store), settings)
        found = find_outdated(before, BUILT_FROM)
        result = Rebuilt(spec.name)
        for late in found.of(spec.built_from):
            if late.obstacle:
                result.failed[late.day] = late.obstacle
        days = found.buildable(spec.built_from)
        for group in contiguous(days):
            build(group, (spec,))
        after = before.again()
        for day in days:
            if not after.is_current(spec.built_from, day):
                result.failed[day] = "it was not published; see above, or the run in the UI"
                continue
            result.days.append(day)
            if _content(after, spec, day) != _content(before, spec, day):
                result.changed.append(day)
                result.changed_bytes += int(after.manifest(spec.table, day).get("bytes", 0))
        done.append(result)
    return done


def _content(provenance: Provenance, spec: TableSpec, day: date) -> str:
    """Hash of the published day; none where there is none."""
    try:
        return provenance.content(spec.table, day)
    except TrainingAssetsError:
        return ""
