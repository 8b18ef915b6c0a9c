"""Does what a plan says: tables first, so that a day never outlives what it is judged by."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from training_assets.lake import Lake, LocalStore, forget, new_run
from training_assets.lake.files import DAY_PREFIX
from training_assets.pipeline import vacuum_lake
from training_assets.retention.plan import READ_LOGS, Plan, Step
from training_assets.schemas import DELIVERED_TABLES
from training_assets.settings import Settings
from training_assets.sources.archive import archive_day, archive_of
from training_assets.sources.layout import prefixes


@dataclass(frozen=True)
class Done:
    """A step that was taken, and the bytes that it freed."""

    step: Step
    freed: int


def apply_plan(
    lake: Lake,
    settings: Settings,
    plan: Plan,
    progress: Callable[[str], None] = lambda message: None,
) -> Iterator[Done]:
    """Each step as it is done; one that is interrupted is done by the next call, from a new plan.

    Ends with a vacuum, which frees what replaced versions still held.
    """
    run = new_run()
    for step in plan.steps:
        progress(f"{step.action}: {step.name}, {len(step.days)} days")
        yield Done(step, _take(lake, step, run))
    vacuum_lake(Lake(lake.store), settings)
    lake.refresh()


def _take(lake: Lake, step: Step, run: str) -> int:
    if step.action == "delete days":
        return forget(lake.table_store(step.name), step.name, step.days, {"run": run}).bytes
    if step.action == "delete logs":
        return _delete(lake, [f"{READ_LOGS}/{DAY_PREFIX}{day}" for day in step.days])
    names = {day: _folders(step.name, day) for day in step.days}
    raw = lake.raw
    if step.action == "archive raw":
        assert isinstance(raw, LocalStore)
        return sum(archive_day(raw, step.name, day, found) for day, found in names.items())
    freed = _delete(lake, [f"raw/{step.name}/{name}" for found in names.values() for name in found])
    if isinstance(raw, LocalStore):
        archive = archive_of(raw, step.name)
        for day, found in names.items():
            entries = archive.list(f"{DAY_PREFIX}{day}")
            freed += sum(entry.size for entry in entries)
            shutil.rmtree(archive.root / f"{DAY_PREFIX}{day}", ignore_errors=True)
            for name in found:
                shutil.rmtree(raw.root / step.name / name, ignore_errors=True)
    return freed


def _folders(table: str, day: date) -> tuple[str, ...]:
    found = prefixes(DELIVERED_TABLES[table]) if table in DELIVERED_TABLES else (DAY_PREFIX,)
    return tuple(f"{prefix}{day}" for prefix in found)


def _delete(lake: Lake, folders: list[str]) -> int:
    entries = [entry for folder in folders for entry in lake.store.list(folder)]
    lake.store.delete(entry.path for entry in entries)
    return sum(entry.size for entry in entries)
