"""Publish days: one commit makes all days of a table visible at once, whole, on every store.

    write files, each under a name of its own ──> manifests ──> commit ──> read back

A commit is a compare-and-swap on the table's version. Where another run was faster, each day is
looked at again: one that is still as it was when this run began is committed with the next try; one
that the other run built from the same inputs is left alone; any other was overtaken and is to be
built again. What a killed run leaves has no name in the log, and goes with the next vacuum.
"""

import json
import random
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, Final

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from training_assets.errors import (
    DayNotPublishedError,
    PublishError,
    StoreError,
    TrainingAssetsError,
)
from training_assets.lake.base import THREADS, Store, first_line
from training_assets.lake.files import DataFile, content_of, manifest_path, profile_path
from training_assets.lake.log import (
    add_action,
    add_columns,
    commit,
    create_table,
    open_delta,
    remove_action,
)
from training_assets.lake.snapshot import Snapshot, snapshot_of
from training_assets.schemas import Table

PUBLISHED: Final = "published"
UNCHANGED: Final = "unchanged"
OTHERS: Final = "others"
OVERTAKEN: Final = "overtaken"

_MAX_TRIES: Final = 100
_MAX_STUCK: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class NewDay:
    """What a run would publish as a day of a table.

    ``bounds`` are the smallest and largest customer id of each file, None of an empty one;
    ``manifest`` holds at least ``inputs``, the hash of what the day was built from; ``profile``
    what stands in its columns, where that was counted.
    """

    files: tuple[DataFile, ...]
    bounds: tuple[tuple[int, int] | None, ...]
    manifest: Mapping[str, Any]
    profile: Mapping[str, Any] | None = None

    @property
    def run(self) -> str:
        return self.files[0].run

    @property
    def inputs(self) -> Any:
        return self.manifest["inputs"]


def publish(
    store: Store,
    table: Table,
    days: Mapping[date, NewDay],
    before: Snapshot,
    commit_info: Mapping[str, Any],
    step: Callable[[str], None] = lambda name: None,
) -> dict[date, str]:
    """Make the days the published ones; says of each what became of it.

    ``before`` is the version that the run has seen when it began. ``step`` is told the name of each
    step before it is taken. Raises ``PublishError``; every day then stands as it was, or is
    published whole.
    """
    outcomes = dict.fromkeys(_unchanged(before, days), UNCHANGED)
    todo = {day: new for day, new in days.items() if day not in outcomes}
    try:
        step("discard")
        _discard(store, outcomes, days, before)
        if not todo:
            return outcomes
        step("sync")
        store.sync(file.name for new in todo.values() for file in new.files)
        step("manifests")
        profiles = {
            profile_path(day, new.run): (json.dumps(new.profile) + "\n").encode()
            for day, new in todo.items()
            if new.profile is not None
        }
        manifests = {manifest_path(d, new.run): _json(new.manifest) for d, new in todo.items()}
        store.put_all(manifests | profiles)
        return outcomes | _commit_days(store, table, todo, before, commit_info, step)
    except (StoreError, DayNotPublishedError, DeltaError, OSError) as error:
        # Without its cause, which may show what a store was asked in full.
        raise PublishError(
            f"{table.name}: {_span(todo or days)} could not be published ({first_line(error)}); "
            "each day stands as it was, or is published whole. Check the store, its space and "
            f"permissions ({store.url}), then run again."
        ) from None


def _unchanged(before: Snapshot, days: Mapping[date, NewDay]) -> list[date]:
    """Days that are published with these very bytes, built from these very inputs."""
    same = [
        day
        for day, new in days.items()
        if day in before.files and _content(before, day) == content_of(new.files)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        inputs = list(pool.map(partial(_inputs, before), same))
    return [day for day, found in zip(same, inputs, strict=True) if found == days[day].inputs]


def _content(snapshot: Snapshot, day: date) -> str | None:
    try:
        return snapshot.content(day)
    except TrainingAssetsError:
        return None


def _inputs(snapshot: Snapshot, day: date) -> Any:
    """None where the manifest cannot be read: then the day counts as built from others."""
    try:
        return snapshot.manifest(day).get("inputs")
    except TrainingAssetsError:
        return None


def _commit_days(
    store: Store,
    table: Table,
    days: Mapping[date, NewDay],
    before: Snapshot,
    commit_info: Mapping[str, Any],
    step: Callable[[str], None],
) -> dict[date, str]:
    outcomes: dict[date, str] = {}
    pause, version, n_stuck = _FIRST_PAUSE_SECONDS, -1, 0
    error: Exception | None = None
    for n_tried in range(_MAX_TRIES):
        step("open" if not n_tried else "read back")
        # What was committed is looked for where it was: the newest may be another run's by now.
        committed = None if not n_tried or error else version + 1
        delta = open_delta(store, table.name, committed) or create_table(store, table)
        if not n_tried:
            delta = add_columns(store, delta, table)
        now = snapshot_of(store, table.name, delta)
        found = {day: _settled(now, before, day, days[day]) for day in days.keys() - outcomes}
        outcomes |= {day: outcome for day, outcome in found.items() if outcome}
        if not n_tried:
            # Later, a try whose answer was lost may have made these files those of a version.
            _discard(store, outcomes, days, now)
        rest = {day: new for day, new in days.items() if day not in outcomes}
        if not rest:
            return outcomes
        # A conflict at a version that stays the newest is none with another run.
        n_stuck = n_stuck + 1 if now.version == version else 0
        version = now.version
        if error and (not isinstance(error, CommitFailedError) or n_stuck == _MAX_STUCK):
            raise error
        step("commit")
        error = _try_commit(store, delta, rest, now, commit_info)
        if error:
            time.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    raise PublishError(
        f"{table.name}: {_span(days)} could not be published, because other runs published "
        f"{_MAX_TRIES} times meanwhile; each day stands as it was. Run again."
    )


def _settled(now: Snapshot, before: Snapshot, day: date, new: NewDay) -> str | None:
    """What has become of a day by now; None while it is to be committed."""
    files = now.files.get(day, ())
    if files == tuple(sorted(new.files)):
        return PUBLISHED
    if both := set(files) & set(new.files):
        raise PublishError(
            f"{now.table}: day {day} at version {now.version} holds {len(both)} files of this run "
            f"among {len(files)}; expected the files of one run. Restore an older version, then "
            "build the day again."
        )
    if files == before.files.get(day, ()):
        return None
    is_same = _inputs(now, day) == new.inputs
    return OTHERS if is_same else OVERTAKEN


def _try_commit(
    store: Store,
    delta: DeltaTable,
    days: Mapping[date, NewDay],
    now: Snapshot,
    commit_info: Mapping[str, Any],
) -> Exception | None:
    added = [
        add_action(file, bounds)
        for new in days.values()
        for file, bounds in zip(new.files, new.bounds, strict=True)
    ]
    removed = [remove_action(file) for day in days for file in now.files.get(day, ())]
    info = {"operation": "publish", **commit_info, "days": [str(day) for day in sorted(days)]}
    return commit(store, delta, [*added, *removed], info)


def _discard(
    store: Store, lost: Iterable[date], days: Mapping[date, NewDay], published: Snapshot
) -> None:
    """Remove files that no version names; never one that is published."""
    names = [
        file.name
        for day in lost
        for file in days[day].files
        if file not in published.files.get(day, ())
    ]
    store.delete(names)


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(dict(value), indent=1, sort_keys=True) + "\n").encode()


def _span(days: Iterable[date]) -> str:
    found = sorted(days)
    return f"day {found[0]}" if len(found) == 1 else f"days {found[0]} to {found[-1]}"
