"""Delta's log of a table, as this project uses the library: few calls, and none of its retries.

A commit is a compare-and-swap on the table's version: the log's next file is created, never
overwritten. The library's own retries would commit twice after a lost reply, and double the rows of
a day that two runs publish for the first time. Nor does it sync on a local disk: that is done here,
and what a power failure cut short at the end of the log is removed.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from training_assets.errors import DayNotPublishedError, LakeFormatError, StoreError
from training_assets.lake.base import Store, first_line, store_error
from training_assets.lake.files import DataFile
from training_assets.lake.local import LocalStore
from training_assets.lake.repair import remove_cut_files
from training_assets.schemas import Table

COMMIT_KEY: Final = "training_assets"
CHECKPOINT_EVERY: Final = 20
LOG: Final = "_delta_log"

_CONFIGURATION: Final = {
    "delta.checkpointInterval": str(CHECKPOINT_EVERY),
    "delta.deletedFileRetentionDuration": "interval 7 days",
}
# Checkpoints are made by ``make_checkpoint``: older logs may go only once one is on the disk.
NO_HOOKS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
# The library decodes these twice, takes them for a separator, or refuses them.
_UNUSABLE: Final = re.compile(r"%[0-9a-fA-F]{2}|[\\\x00-\x1f\x7f\ud800-\udfff]")
# The library asks a store again that refuses, but not for the rest of an answer that broke off.
_PAUSES_SECONDS: Final = (0.1, 0.3, 0.0)
OLD_MANIFEST: Final = "_day.json"


def open_delta(
    store: Store, table: str, version: int | datetime | None = None, *, may_be_old: bool = False
) -> DeltaTable | None:
    """Delta's own table, the newest or an older version; None where there is no table yet.

    ``may_be_old``: days of a lake before version 2 are no table yet. Raises as
    ``snapshot.open_snapshot`` does.
    """
    uri = delta_uri(store)
    for pause in _PAUSES_SECONDS:
        try:
            return _open(uri, version)
        except TableNotFoundError:
            if not may_be_old:
                _require_no_old_days(store, table)
            if version is not None:
                raise _no_version(store, table, version) from None
            return None
        except (DeltaError, OSError, ValueError, OverflowError) as caught:
            error = caught
        if isinstance(store, LocalStore):
            if not remove_cut_files(store.root / LOG):
                break
        else:
            time.sleep(pause)
    if version is not None:
        raise _no_version(store, table, version, error)
    raise StoreError(
        f"{table}: the log under {store.url} cannot be read ({first_line(error)}); expected a "
        "Delta table. Check endpoint, bucket and credentials; put a damaged log back from a copy, "
        "or move the table away and build it anew."
    )


def _open(uri: str, version: int | datetime | None) -> DeltaTable:
    if not isinstance(version, datetime):
        return DeltaTable(uri, version)
    # By what the commits say: the library goes by the times of the log's files, which are whole
    # seconds in an object store, and others after a copy.
    at_ms = (version if version.tzinfo else version.replace(tzinfo=UTC)).timestamp() * 1000
    found = DeltaTable(uri)
    numbers = [entry["version"] for entry in found.history() if entry["timestamp"] <= at_ms]
    if not numbers:
        raise ValueError("no commit is as old")
    found.load_as_version(max(numbers))
    return found


def _no_version(
    store: Store, table: str, version: int | datetime, error: Exception | None = None
) -> DayNotPublishedError:
    reason = f" ({first_line(error)})" if error else ""
    return DayNotPublishedError(
        f"{table}: version {version} cannot be read under {store.url}{reason}; expected one of "
        "those that `training-assets versions` lists. Older ones went with a vacuum."
    )


def delta_uri(store: Store) -> str:
    """How Delta's library is told where a table lies; raises ``LakeFormatError`` if it cannot."""
    if not isinstance(store, LocalStore):
        return store.url
    if found := _UNUSABLE.search(store.url):
        raise LakeFormatError(
            f"{store.url!r}: the path holds {found.group()!r}, which the Delta library reads as "
            "another character; expected a path without it. Move the lake, or rename the folder."
        )
    return store.root.as_uri()


def create_table(
    store: Store,
    table: Table,
    actions: Sequence[AddAction] = (),
    info: Mapping[str, Any] | None = None,
) -> DeltaTable:
    """A table with these files, or the one that another run made at the same moment.

    Raises ``StoreError``, also for a store that could lose commits.
    """
    store.require_conditions()
    if isinstance(store, LocalStore):
        store.root.mkdir(parents=True, exist_ok=True)
    error: Exception | None = None
    try:
        create_table_with_add_actions(
            delta_uri(store),
            Schema.from_arrow(pa.schema([(column.name, column.arrow) for column in table.columns])),
            list(actions),
            "error",
            ["dt"],
            configuration=_CONFIGURATION,
            commit_properties=_properties(info or {"operation": "create table"}),
        )
    except (DeltaError, OSError) as caught:
        error = caught
    _sync_log(store, [_log_file(0)])
    made = open_delta(store, table.name)
    if made is None:
        raise store_error(store.url, error or RuntimeError("the new log is not there")) from None
    return made


def add_columns(store: Store, delta: DeltaTable, table: Table) -> DeltaTable:
    """The table with the columns that it lacks, which read as null in all files so far.

    A table keeps the columns that it was made with; those that its schema gets later are a commit
    of their own. Where another run makes the same one at the same moment, theirs stands. Raises
    ``StoreError`` where neither does.
    """
    known = {field.name for field in delta.schema().fields}
    new = [column for column in table.columns if column.name not in known]
    if not new:
        return delta
    error: Exception | None = None
    fields = Schema.from_arrow(pa.schema([(column.name, column.arrow) for column in new])).fields
    version = delta.version() + 1
    try:
        delta.alter.add_columns(
            list(fields),
            commit_properties=_properties(
                {"operation": "add columns", "columns": [column.name for column in new]}
            ),
            post_commithook_properties=NO_HOOKS,
        )
    except (DeltaError, OSError) as caught:
        error = caught
    _sync_log(store, [_log_file(version)])
    found = open_delta(store, table.name)
    if found is None or {c.name for c in new} - {field.name for field in found.schema().fields}:
        raise store_error(store.url, error or RuntimeError("the columns are not there")) from None
    return found


def commit(
    store: Store,
    delta: DeltaTable,
    actions: Sequence[AddAction | RemoveAction],
    info: Mapping[str, Any],
) -> Exception | None:
    """One try, on top of the version of ``delta``; why it failed, if it did.

    A store can take a commit and its answer be lost, which then looks like any failure: only the
    log tells what stands.
    """
    version = delta.version() + 1
    error: Exception | None = None
    try:
        delta.create_write_transaction(
            list(actions),
            "append",
            delta.schema(),
            ["dt"],
            commit_properties=_properties(info),
            post_commithook_properties=NO_HOOKS,
        )
    except (DeltaError, OSError) as caught:
        error = caught
    _sync_log(store, [_log_file(version)])
    if error is None and version % CHECKPOINT_EVERY == 0:
        make_checkpoint(store, version)
    return error


def make_checkpoint(store: Store, version: int) -> None:
    """Have the log read from here on; earlier commits go once they are older than 30 days."""
    # The commit stands without it, and the next one is made 20 versions later.
    with suppress(DeltaError, OSError, StoreError):
        delta = DeltaTable(delta_uri(store), version)
        delta.create_checkpoint()
        _sync_log(store, [f"{LOG}/{version:020d}.checkpoint.parquet", f"{LOG}/_last_checkpoint"])
        delta.cleanup_metadata()


def add_action(file: DataFile, bounds: tuple[int, int] | None) -> AddAction:
    """``bounds``: smallest and largest customer id, by which readers skip files."""
    stats: dict[str, Any] = {"numRecords": file.rows}
    if bounds:
        stats["minValues"], stats["maxValues"] = ({"customer_id": value} for value in bounds)
    values = {"dt": str(file.day)}
    return AddAction(file.name, file.size, values, _now_ms(), True, json.dumps(stats))


def remove_action(file: DataFile) -> RemoveAction:
    return RemoveAction(file.name, True, _now_ms(), file.size, {"dt": str(file.day)})


def _require_no_old_days(store: Store, table: str) -> None:
    """Raises ``LakeFormatError`` where there are days of a lake before version 2."""
    if not isinstance(store, LocalStore):
        return
    # Not by glob: a folder's name may hold what glob takes for a pattern.
    folders = store.root.iterdir() if store.root.is_dir() else ()
    if any((folder / OLD_MANIFEST).exists() for folder in folders):
        raise LakeFormatError(
            f"{table}: {store.url} was written by training_assets 0.1; expected a Delta table. "
            "Run `training-assets migrate` once: it takes the files as they lie, without copying."
        )


def _sync_log(store: Store, paths: Sequence[str]) -> None:
    if isinstance(store, LocalStore):
        store.sync(path for path in paths if store.stat(path))


def _properties(info: Mapping[str, Any]) -> CommitProperties:
    return CommitProperties(
        custom_metadata={COMMIT_KEY: json.dumps(dict(info), sort_keys=True)}, max_commit_retries=0
    )


def _log_file(version: int) -> str:
    return f"{LOG}/{version:020d}.json"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
