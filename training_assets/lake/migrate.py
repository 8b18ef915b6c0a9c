"""Lakes of training_assets 0.1, where a day was a folder: taken over in place, no data is copied.

<table>/dt=D/part-00000.parquet                  stays, and is committed
<table>/dt=D/_day.json                       ──> <table>/_manifests/dt=D/migrated.json
<table>/dt=D/_quarantine/source=clicks/…     ──> <table>/_quarantine/dt=D/migrated/source=clicks/…

One commit makes the table and all its days, so a lake is an old one until then. Killed at any
moment, it goes on where it was when it is called again.
"""

import json
import os
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from training_assets.errors import LakeFormatError
from training_assets.lake.base import first_line
from training_assets.lake.files import (
    DAY_PREFIX,
    MIGRATED,
    DataFile,
    day_of_folder,
    manifest_path,
    quarantine_path,
)
from training_assets.lake.local import LocalStore
from training_assets.lake.log import OLD_MANIFEST, add_action, commit, create_table, open_delta
from training_assets.lake.snapshot import snapshot_of
from training_assets.schemas import Table

_QUARANTINE: Final = "_quarantine"
_RETIRED: Final = "_retired"
_OLD_FOLDERS: Final = ("_staging", "_locks", _RETIRED, "_compacted")


def migrate(root: Path, tables: Sequence[Table]) -> dict[str, int]:
    """Commit the days of an old lake; by table how many. A second time finds nothing to do.

    Raises ``LakeFormatError`` for a day whose files do not hold the rows that its manifest says;
    that table is as it was then.
    """
    for table in tables:
        _put_back_retired(root, table)
    days = {table.name: _old_days(root / table.name) for table in tables}
    counts = {
        table.name: _commit_days(LocalStore(root / table.name), table, days[table.name])
        for table in tables
    }
    if any(days.values()):
        for name in _OLD_FOLDERS:
            shutil.rmtree(root / name, ignore_errors=True)
    for name, found in days.items():
        for day in found:
            _remove_old_manifest(root / name / f"{DAY_PREFIX}{day}")
    return counts


def _put_back_retired(root: Path, table: Table) -> None:
    """Days that a killed run took aside to replace them, and did not replace."""
    retired = root / _RETIRED / table.name
    for folder in sorted(retired.iterdir()) if retired.is_dir() else ():
        if day_of_folder(folder.name) and not (root / table.name / folder.name).exists():
            (root / table.name).mkdir(exist_ok=True)
            os.rename(folder, root / table.name / folder.name)


def _commit_days(store: LocalStore, table: Table, days: Sequence[date]) -> int:
    """Those that are not published yet; how many."""
    if not days:
        return 0
    delta = open_delta(store, table.name, may_be_old=True)
    # After a kill: what lies in their folders may be the files of later runs as well.
    published = snapshot_of(store, table.name, delta).files if delta else {}
    new = [day for day in days if day not in published]
    files = {day: _files(table, store.root, day) for day in new}
    for day in new:
        _copy_what_is_beside(store, day)
    store.sync(file.name for found in files.values() for file in found)
    actions = [add_action(file, None) for day in new for file in files[day]]
    info = {"operation": "migrate", "run": MIGRATED, "days": [str(day) for day in new]}
    error: Exception | None = None
    if delta is None:
        delta = create_table(store, table, actions, info)
    elif new:
        error = commit(store, delta, actions, info)
        delta = open_delta(store, table.name)
    if delta is None or not set(new) <= snapshot_of(store, table.name, delta).files.keys():
        reason = f" ({first_line(error)})" if error else ""
        raise LakeFormatError(
            f"{table.name}: another process changed the table while it was taken over{reason}; "
            "expected to be alone. Run `training-assets migrate` again."
        )
    return len(new)


def _copy_what_is_beside(store: LocalStore, day: date) -> None:
    """Manifest and quarantine, to where they are looked for from now on."""
    old = store.root / f"{DAY_PREFIX}{day}"
    store.put(manifest_path(day, MIGRATED), (old / OLD_MANIFEST).read_bytes())
    for path in sorted((old / _QUARANTINE).rglob("*")):
        if path.is_file():
            name = path.relative_to(old / _QUARANTINE).as_posix()
            store.put(f"{quarantine_path(day, MIGRATED)}/{name}", path.read_bytes())


def _remove_old_manifest(folder: Path) -> None:
    shutil.rmtree(folder / _QUARANTINE, ignore_errors=True)
    (folder / OLD_MANIFEST).unlink()


def _old_days(folder: Path) -> list[date]:
    entries = folder.iterdir() if folder.is_dir() else ()
    found = [day_of_folder(entry.name) for entry in entries if (entry / OLD_MANIFEST).exists()]
    return sorted(day for day in found if day is not None)


def _files(table: Table, folder: Path, day: date) -> list[DataFile]:
    """Of an old day; raises ``LakeFormatError`` unless they hold the rows of its manifest."""
    names = (folder / f"{DAY_PREFIX}{day}").iterdir()
    paths = sorted(p for p in names if p.suffix == ".parquet" and not p.name.startswith(("_", ".")))
    try:
        expected = _manifest(folder, day)["rows"]
        files = [
            DataFile(f"{p.parent.name}/{p.name}", p.stat().st_size, pq.read_metadata(p).num_rows)
            for p in paths
        ]
        rows = sum(file.rows for file in files)
        problem = None if files and rows == expected else f"it holds {rows} rows of {expected}"
    except (ValueError, LookupError, TypeError, OSError) as error:
        problem = str(error)
    if problem:
        raise LakeFormatError(
            f"{table.name}: day {day} is damaged ({problem}); expected files with all rows of its "
            f"{OLD_MANIFEST}. Remove the day's folder and run again, then build the day."
        )
    return files


def _manifest(folder: Path, day: date) -> dict[str, Any]:
    found = json.loads((folder / f"{DAY_PREFIX}{day}" / OLD_MANIFEST).read_text())
    if not isinstance(found, dict):
        raise ValueError(f"{OLD_MANIFEST} holds no object")
    return found
