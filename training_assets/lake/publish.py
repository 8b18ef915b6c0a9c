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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from training_assets.errors import PublishError, TrainingAssetsError
from training_assets.lake.snapshot import (
    DataFile,
    Snapshot,
    content_of,
    delta_uri,
    first_line,
    manifest_path,
    open_delta,
    open_snapshot,
)
from training_assets.lake.store import LocalStore, Store
from training_assets.schemas import Table

PUBLISHED: Final = "published"
UNCHANGED: Final = "unchanged"
OTHERS: Final = "others"
OVERTAKEN: Final = "overtaken"

COMMIT_KEY: Final = "training_assets"
_LOG: Final = "_delta_log"
_CONFIGURATION: Final = {
    "delta.checkpointInterval": "20",
    "delta.deletedFileRetentionDuration": "interval 7 days",
}
_MAX_TRIES: Final = 100
_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class NewDay:
    """What a run would publish as a day of a table.

    ``bounds`` are the smallest and largest customer id of each file, None of an empty one;
    ``manifest`` holds at least ``inputs``, the hash of what the day was built from.
    """

    files: tuple[DataFile, ...]
    bounds: tuple[tuple[int, int] | None, ...]
    manifest: Mapping[str, Any]

    @property
    def run(self) -> str:
        return self.files[0].run


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
    outcomes = {day: UNCHANGED for day, new in days.items() if _is_same(before, day, new)}
    todo = {day: new for day, new in days.items() if day not in outcomes}
    step("discard")
    _discard(store, (days[day] for day in outcomes))
    if not todo:
        return outcomes
    try:
        step("sync")
        store.sync(file.name for new in todo.values() for file in new.files)
        step("manifests")
        store.put_all({manifest_path(d, new.run): _json(new.manifest) for d, new in todo.items()})
        outcomes |= _commit_days(store, table, todo, before, commit_info, step)
    except TrainingAssetsError:
        raise
    except Exception as error:
        raise PublishError(
            f"{table.name}: {_span(todo)} could not be published ({first_line(error)}); each day "
            "stands as it was, or is published whole. Check space and permissions of "
            f"{store.url}, then run again."
        ) from error
    _discard(store, (todo[day] for day, found in outcomes.items() if found in (OTHERS, OVERTAKEN)))
    return outcomes


def _is_same(before: Snapshot, day: date, new: NewDay) -> bool:
    """Whether the published day has these very bytes and was built from these very inputs."""
    if day not in before.files or before.content(day) != content_of(new.files):
        return False
    return _inputs(before, day) == new.manifest["inputs"]


def _inputs(snapshot: Snapshot, day: date) -> Any:
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
    pause = _FIRST_PAUSE_SECONDS
    for _ in range(_MAX_TRIES):
        step("open")
        delta = open_delta(store, table.name) or create_table(store, table)
        now = open_snapshot(store, table.name, delta.version())
        outcomes |= {day: found for day in days if (found := _settled(now, before, day, days[day]))}
        rest = {day: new for day, new in days.items() if day not in outcomes}
        if not rest:
            return outcomes
        step("commit")
        error = _try_commit(delta, rest, now, commit_info)
        if error is None:
            _sync_log(store, delta.version() + 1)
        elif not isinstance(error, CommitFailedError):
            # The commit may stand although its answer was lost: only the log knows.
            now = open_snapshot(store, table.name)
            if not all(_is_published(now, day, new) for day, new in rest.items()):
                raise error
        else:
            time.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        step("read back")
    raise PublishError(
        f"{table.name}: {_span(days)} could not be published, because other runs published "
        f"{_MAX_TRIES} times meanwhile; each day stands as it was. Run again."
    )


def _settled(now: Snapshot, before: Snapshot, day: date, new: NewDay) -> str | None:
    """What has become of a day by now; None while it is to be committed."""
    if _is_published(now, day, new):
        return PUBLISHED
    if now.files.get(day) == before.files.get(day):
        return None
    is_same = _inputs(now, day) == new.manifest["inputs"]
    return OTHERS if is_same else OVERTAKEN


def _is_published(now: Snapshot, day: date, new: NewDay) -> bool:
    return now.files.get(day) == tuple(sorted(new.files))


def create_table(store: Store, table: Table) -> DeltaTable:
    """An empty table, or the one that another run made at the same moment."""
    store.require_conditions()
    if isinstance(store, LocalStore):
        store.root.mkdir(parents=True, exist_ok=True)
    try:
        made = DeltaTable.create(
            delta_uri(store),
            pa.schema([(column.name, column.arrow) for column in table.columns]),
            partition_by=["dt"],
            configuration=_CONFIGURATION,
        )
    except DeltaError:
        found = open_delta(store, table.name)
        if found is None:
            raise
        return found
    _sync_log(store, 0)
    return made


def _try_commit(
    delta: DeltaTable,
    days: Mapping[date, NewDay],
    now: Snapshot,
    commit_info: Mapping[str, Any],
) -> Exception | None:
    actions: list[AddAction | RemoveAction] = []
    for day, new in days.items():
        actions += [
            add_action(file, bounds) for file, bounds in zip(new.files, new.bounds, strict=True)
        ]
        actions += [remove_action(file) for file in now.files.get(day, ())]
    return commit_actions(delta, actions, {**commit_info, "days": _packed(days)})


def commit_actions(
    delta: DeltaTable,
    actions: Sequence[AddAction | RemoveAction],
    commit_info: Mapping[str, Any],
) -> Exception | None:
    """One try, which fails where the table is not at the version of ``delta`` any more."""
    properties = CommitProperties(
        custom_metadata={COMMIT_KEY: json.dumps(dict(commit_info), sort_keys=True)},
        max_commit_retries=0,
    )
    try:
        delta.create_write_transaction(
            list(actions), "append", delta.schema(), ["dt"], commit_properties=properties
        )
    except (DeltaError, OSError) as error:
        return error
    return None


def add_action(file: DataFile, bounds: tuple[int, int] | None) -> AddAction:
    stats: dict[str, Any] = {"numRecords": file.rows}
    if bounds:
        stats["minValues"], stats["maxValues"] = ({"customer_id": value} for value in bounds)
    return AddAction(
        file.name,
        file.size,
        {"dt": str(file.day)},
        time.time_ns() // 1_000_000,
        True,
        json.dumps(stats),
    )


def remove_action(file: DataFile) -> RemoveAction:
    return RemoveAction(
        file.name, True, time.time_ns() // 1_000_000, file.size, {"dt": str(file.day)}
    )


def _sync_log(store: Store, version: int) -> None:
    """Delta's library does not: after a power failure half a log file would close the table."""
    if isinstance(store, LocalStore):
        path = f"{_LOG}/{version:020d}.json"
        if store.stat(path):
            store.sync([path])


def _discard(store: Store, days: Iterable[NewDay]) -> None:
    store.delete(file.name for new in days for file in new.files)


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(dict(value), indent=1, sort_keys=True) + "\n").encode()


def _packed(days: Iterable[date]) -> list[str]:
    return [str(day) for day in sorted(days)]


def _span(days: Iterable[date]) -> str:
    found = sorted(days)
    return f"day {found[0]}" if len(found) == 1 else f"days {found[0]} to {found[-1]}"
