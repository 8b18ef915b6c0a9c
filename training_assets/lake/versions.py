"""Older versions of tables: what they are, going back to one, and letting go of what is too old."""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from training_assets.errors import (
    DayNotPublishedError,
    PublishError,
    SettingsError,
    StoreError,
)
from training_assets.lake.base import Store, first_line, store_error
from training_assets.lake.files import belongs_to
from training_assets.lake.log import (
    COMMIT_KEY,
    NO_HOOKS,
    add_action,
    commit,
    make_checkpoint,
    open_delta,
    remove_action,
)
from training_assets.lake.snapshot import Snapshot, open_snapshot, snapshot_of

_MAX_TRIES: Final = 20
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Version:
    """One commit: when, by which run, and which days it published."""

    number: int
    at: datetime
    operation: str
    run: str
    days: tuple[date, ...]


class Removed(NamedTuple):
    """What a vacuum removed, or would remove."""

    files: int
    bytes: int


def list_versions(store: Store, table: str, limit: int | None = None) -> list[Version]:
    """Commits of a table, newest first, of the last 30 days: so long the log keeps them."""
    found = open_delta(store, table)
    try:
        return [_version(entry) for entry in found.history(limit)] if found else []
    except (DeltaError, OSError) as error:
        raise store_error(store.url, error) from None


def _version(entry: Mapping[str, Any]) -> Version:
    try:
        info = dict(json.loads(entry.get(COMMIT_KEY, "{}")))
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
    ``DayNotPublishedError`` where the version, or a file of it, is gone, and ``PublishError`` where
    the store fails; each day then stands as it was, or all are restored.
    """
    old = open_snapshot(store, table, version)
    restored: set[date] = set()
    error: Exception | None = None
    for _ in range(_MAX_TRIES):
        delta = open_delta(store, table)
        if delta is None:
            break
        now = snapshot_of(store, table, delta)
        both = {*old.files, *now.files} if days is None else set(days)
        changed = sorted(d for d in both if old.files.get(d) != now.files.get(d))
        if not changed:
            _require_files(store, old, restored)
            return sorted(restored)
        if error and not isinstance(error, CommitFailedError):
            break
        restored.update(changed)
        info = {**commit_info, "operation": "restore", "days": [str(d) for d in changed]}
        error = _put_back(store, delta, old, now, changed, info)
        if error is None:
            # Not looked at again: another run may have published the days anew by now.
            _require_files(store, old, restored)
            return sorted(restored)
    reason = first_line(error) if error else "its log is gone"
    raise PublishError(
        f"{table}: version {version} could not be restored ({reason}); each day stands as it was. "
        "Run again."
    )


def _put_back(
    store: Store,
    delta: DeltaTable,
    old: Snapshot,
    now: Snapshot,
    days: Collection[date],
    info: Mapping[str, Any],
) -> Exception | None:
    added = [file for day in days for file in old.files.get(day, ())]
    removed = [file for day in days for file in now.files.get(day, ())]
    _require_files(store, old, days)
    # No file may be added and removed in one commit.
    back = [add_action(file, None) for file in added if file not in removed]
    away = [remove_action(file) for file in removed if file not in added]
    return commit(store, delta, [*back, *away], info)


def _require_files(store: Store, old: Snapshot, days: Iterable[date]) -> None:
    """Also after the commit: a vacuum may have been at work meanwhile."""
    files = [file.name for day in days for file in old.files.get(day, ())]
    missing = [name for name in files if not store.stat(name)]
    if missing:
        raise DayNotPublishedError(
            f"{old.table}: {len(missing)} files of version {old.version} are gone, among them "
            f"{missing[0]}; expected them to be kept. A vacuum removed them; build the days anew "
            "instead."
        )


def vacuum(store: Store, table: str, *, keep: timedelta, dry_run: bool) -> Removed:
    """Remove files that no version younger than ``keep`` needs, and what killed runs left.

    A file that was written within ``keep``, in whole hours, is never removed: a run may be about to
    publish it. Raises ``StoreError``; what is left then goes the next time.
    """
    if keep < timedelta(0):
        raise SettingsError(f"vacuum: keep is {keep}; expected 0 hours or more. Raise it.")
    delta = open_delta(store, table)
    if delta is None:
        return Removed(0, 0)
    _require_no_links(store, table)
    hours = math.ceil(keep / _HOUR)
    oldest_ns = int((datetime.now(UTC) - hours * _HOUR).timestamp() * 1_000_000_000)
    # Listed before Delta decides, so that what is published meanwhile is not looked at.
    listed = {entry.path: entry for entry in store.list()}
    unfinished = {entry.path: entry for entry in store.unfinished()}
    try:
        names = delta.vacuum(
            hours,
            dry_run=dry_run,
            enforce_retention_duration=False,
            full=True,
            post_commithook_properties=NO_HOOKS,
        )
    except (DeltaError, OSError) as error:
        raise store_error(store.url, error) from None
    gone = set(names) & (listed.keys() | unfinished.keys())
    aside = {*_without_data(listed, gone), *unfinished} - gone
    entries = listed | unfinished
    old = [path for path in aside if entries[path].modified_ns < oldest_ns]
    if not dry_run:
        store.delete(old)
        _make_newest_checkpoint(store, table)
    removed = [entries[path] for path in (*gone, *old)]
    return Removed(len(removed), sum(entry.size for entry in removed))


def _require_no_links(store: Store, table: str) -> None:
    """Delta's library follows links, and would remove what lies behind them."""
    if links := store.links():
        raise StoreError(
            f"vacuum: {table}: {links[0]} is a link; expected folders only, since what lies behind "
            "a link would be removed. Replace it by the folder itself."
        )


def _make_newest_checkpoint(store: Store, table: str) -> None:
    """A vacuum commits too, and it may be those versions at which a checkpoint is due."""
    newest = open_delta(store, table)
    if newest is not None:
        make_checkpoint(store, newest.version())


def _without_data(paths: Iterable[str], gone: Collection[str]) -> list[str]:
    """Manifests and quarantine of runs of which no data file of the day is left."""
    days = {path: found for path in paths if (found := belongs_to(path))}
    kept = {found for path, found in days.items() if path.startswith("dt=") and path not in gone}
    return [path for path, found in days.items() if found not in kept]
