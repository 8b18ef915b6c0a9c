"""Older versions of tables: what they are, going back to one, and letting go of what is too old."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from deltalake.exceptions import CommitFailedError

from training_assets.errors import DayNotPublishedError, PublishError
from training_assets.lake.publish import COMMIT_KEY, add_action, commit_actions, remove_action
from training_assets.lake.snapshot import (
    MANIFESTS,
    QUARANTINE,
    DataFile,
    day_of_folder,
    open_delta,
    open_snapshot,
)
from training_assets.lake.store import Store

_KEPT: Final = re.compile(
    rf"(?:{MANIFESTS}|{QUARANTINE})/(?P<day>dt=\d{{4}}-\d\d-\d\d)/(?P<run>\w+)[./]"
)
_MAX_TRIES: Final = 20


@dataclass(frozen=True)
class Version:
    """One commit: when, by which run, and which days it published."""

    number: int
    at: datetime
    operation: str
    run: str
    days: tuple[date, ...]


@dataclass(frozen=True)
class Removed:
    """What a vacuum removed, or would remove."""

    files: int
    bytes: int


def list_versions(store: Store, table: str, limit: int | None = None) -> list[Version]:
    """Commits of a table, newest first; those of the last 30 days, as long as the log keeps them."""
    found = open_delta(store, table)
    return [_version(entry) for entry in found.history(limit)] if found else []


def _version(entry: Mapping[str, Any]) -> Version:
    try:
        info = json.loads(entry.get(COMMIT_KEY, "{}"))
    except (TypeError, ValueError):
        info = {}
    return Version(
        number=int(entry["version"]),
        at=datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
        operation=str(info.get("operation") or entry.get("operation", "")).lower(),
        run=str(info.get("run", "")),
        days=tuple(date.fromisoformat(day) for day in info.get("days", ())),
    )


def restore(
    store: Store,
    table: str,
    version: int | datetime,
    commit_info: Mapping[str, Any],
    days: Collection[date] | None = None,
) -> list[date]:
    """Publish days again as they were in an older version; returns those that changed.

    ``days`` limits it to some; a day that the older version has not is taken back. Raises
    ``DayNotPublishedError`` where the version, or a file of it, is gone.
    """
    old = open_snapshot(store, table, version)
    for _ in range(_MAX_TRIES):
        delta = open_delta(store, table)
        now = open_snapshot(store, table)
        both = {*old.files, *now.files} if days is None else set(days)
        changed = sorted(d for d in both if old.files.get(d) != now.files.get(d))
        if not changed or delta is None:
            return []
        missing = [f.name for d in changed for f in old.files.get(d, ()) if not store.stat(f.name)]
        if missing:
            raise DayNotPublishedError(
                f"{table}: {len(missing)} files of version {version} are gone, among them "
                f"{missing[0]}; expected them to be kept. A vacuum removed them; build the days "
                "anew instead."
            )
        back = [add_action(f, None) for d in changed for f in old.files.get(d, ())]
        away = [remove_action(f) for d in changed for f in now.files.get(d, ())]
        info = {**commit_info, "operation": "restore", "days": [str(d) for d in changed]}
        error = commit_actions(delta, [*back, *away], info)
        if error is None:
            return changed
        if not isinstance(error, CommitFailedError):
            raise error
    raise PublishError(
        f"{table}: version {version} could not be restored, because other runs published "
        f"{_MAX_TRIES} times meanwhile; each day stands as it was. Run again."
    )


def vacuum(store: Store, table: str, *, keep: timedelta, dry_run: bool) -> Removed:
    """Remove files that no version younger than ``keep`` needs, and what killed runs left.

    A file that was written within ``keep`` is never removed: a run may be about to publish it.
    """
    delta = open_delta(store, table)
    if delta is None:
        return Removed(0, 0)
    sizes = {entry.path: entry for entry in store.list()}
    hours = int(keep.total_seconds() // 3600)
    names = delta.vacuum(hours, dry_run=dry_run, enforce_retention_duration=False, full=True)
    cutoff_ns = int((datetime.now(UTC) - keep).timestamp() * 1_000_000_000)
    gone = set(names) & sizes.keys()
    left = {
        (parts[0], DataFile(path, 0, 0).run)
        for path in sizes
        if path not in gone and day_of_folder((parts := path.split("/"))[0])
    }
    beside = [
        path
        for path, entry in sizes.items()
        if (found := _KEPT.match(path))
        and (found["day"], found["run"]) not in left
        and entry.modified_ns < cutoff_ns
    ]
    if not dry_run:
        store.delete(beside)
    removed = [*gone, *beside]
    return Removed(len(removed), sum(sizes[path].size for path in removed))
