"""Lakes of training_assets 0.1, where a day was a folder: taken over in place, nothing is copied.

<table>/dt=D/part-00000.parquet                  stays, and is committed
<table>/dt=D/_day.json                       ──> <table>/_manifests/dt=D/migrated.json
<table>/dt=D/_quarantine/source=clicks/…     ──> <table>/_quarantine/dt=D/migrated/source=clicks/…
"""

import json
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
from deltalake.exceptions import CommitFailedError

from training_assets.errors import LakeFormatError
from training_assets.lake.publish import add_action, commit_actions, create_table
from training_assets.lake.snapshot import (
    DAY_PREFIX,
    MIGRATED,
    DataFile,
    day_of_folder,
    manifest_path,
    open_snapshot,
    quarantine_path,
)
from training_assets.lake.store import LocalStore
from training_assets.schemas import Table

OLD_MANIFEST: Final = "_day.json"
_OLD_FOLDERS: Final = ("_staging", "_locks", "_retired", "_compacted")


def migrate(root: Path, tables: Sequence[Table]) -> dict[str, int]:
    """Commit the days of an old lake; by table how many. A second time finds nothing to do.

    Raises ``LakeFormatError`` for a day whose files do not hold the rows that its manifest says.
    """
    counts = {table.name: _migrate_table(root / table.name, table) for table in tables}
    for name in _OLD_FOLDERS:
        shutil.rmtree(root / name, ignore_errors=True)
    return counts


def _migrate_table(folder: Path, table: Table) -> int:
    days = _old_days(folder)
    if not days:
        return 0
    store = LocalStore(folder)
    files = {day: _files(folder, day) for day in days}
    for day in days:
        _require_all_rows(folder, table, day, files[day])
        old = folder / f"{DAY_PREFIX}{day}"
        store.put(manifest_path(day, MIGRATED), (old / OLD_MANIFEST).read_bytes())
        if (old / "_quarantine").is_dir():
            target = folder / quarantine_path(day, MIGRATED)
            shutil.copytree(old / "_quarantine", target, dirs_exist_ok=True)
    delta = create_table(store, table)
    new = [
        day for day in days if day not in open_snapshot(store, table.name, delta.version()).files
    ]
    actions = [add_action(file, None) for day in new for file in files[day]]
    info = {"operation": "migrate", "run": MIGRATED, "days": [str(day) for day in new]}
    if actions and (error := commit_actions(delta, actions, info)):
        if isinstance(error, CommitFailedError):
            raise LakeFormatError(
                f"{table.name}: another process changed the table while it was taken over; "
                "expected to be alone. Run `training-assets migrate` again."
            ) from error
        raise error
    for day in days:
        old = folder / f"{DAY_PREFIX}{day}"
        shutil.rmtree(old / "_quarantine", ignore_errors=True)
        (old / OLD_MANIFEST).unlink()
    return len(new)


def _old_days(folder: Path) -> list[date]:
    entries = folder.iterdir() if folder.is_dir() else ()
    found = [day_of_folder(entry.name) for entry in entries if (entry / OLD_MANIFEST).exists()]
    return sorted(day for day in found if day is not None)


def _files(folder: Path, day: date) -> list[DataFile]:
    names = (folder / f"{DAY_PREFIX}{day}").iterdir()
    paths = sorted(p for p in names if p.suffix == ".parquet" and not p.name.startswith(("_", ".")))
    return [
        DataFile(f"{p.parent.name}/{p.name}", p.stat().st_size, pq.read_metadata(p).num_rows)
        for p in paths
    ]


def _require_all_rows(folder: Path, table: Table, day: date, files: Sequence[DataFile]) -> None:
    manifest = json.loads((folder / f"{DAY_PREFIX}{day}" / OLD_MANIFEST).read_text())
    rows = sum(file.rows for file in files)
    if not files or rows != manifest.get("rows"):
        raise LakeFormatError(
            f"{table.name}: day {day} holds {rows} rows in {len(files)} files; expected the "
            f"{manifest.get('rows')} rows of its manifest. Remove the day's folder and run again, "
            "then build the day."
        )
