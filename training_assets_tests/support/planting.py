"""Days of a table published from literal rows: whole lakes by the reference, and planted faults.

All of it goes the way of a real run: sealed files under their hash, a manifest, one commit. Only
what is in the files is ours to choose.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.lake import DataFile, Lake, NewDay, content_of, new_run, publish, restore
from training_assets.lake import quarantine_path as path_of_rejects
from training_assets.list_format import SealedParquet, file_hash, seal
from training_assets.schemas import QUARANTINE, TABLES, Table

Rejects = Mapping[str, int]


def sealed(table: pa.Table, **options: Any) -> bytes:
    """A whole sealed file of the rows."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", **options)
    return seal(sink.getvalue())


def write_day(
    lake: Lake, table: Table, day: date, parts: Sequence[pa.Table], run: str, **options: Any
) -> NewDay:
    """The files of a day, each with the rows of a part; not published yet."""
    store, files, bounds = lake.table_store(table.name), [], []
    for number, part in enumerate(parts):
        content = sealed(part, **options)
        name = f"dt={day}/part-{number:05d}-{file_hash(content)}-{run}.parquet"
        store.put(name, content)
        files.append(DataFile(name, len(content), len(part)))
        bounds.append(_bounds(part))
    manifest = {"inputs": run, "content": content_of(files), "rows": sum(len(p) for p in parts)}
    return NewDay(tuple(files), tuple(bounds), manifest)


def publish_day(
    lake: Lake,
    table: Table,
    day: date,
    *parts: pa.Table,
    manifest: Mapping[str, Any] | None = None,
    rejects: Rejects | None = None,
    **options: Any,
) -> None:
    """A day of files with these rows, one file a part; ``rejects`` are rows set aside by source."""
    run = new_run()
    new = write_day(lake, table, day, parts, run, **options)
    new = NewDay(new.files, new.bounds, {**new.manifest, **(manifest or {})})
    for source, rows in (rejects or {}).items():
        put_rejects(lake, table, day, run, source, rows)
    before = lake.snapshot(table.name)
    outcomes = publish(lake.table_store(table.name), table, {day: new}, before, {"run": run})
    assert outcomes == {day: "published"}
    lake.refresh()


def put_rejects(lake: Lake, table: Table, day: date, run: str, source: str, rows: int) -> None:
    """That many rows of one raw table in the quarantine of a run."""
    row = {"reason": "item_id is null", "source_file": "a.parquet", "content": "{}"}
    content = sealed(pa.Table.from_pylist([row] * rows, QUARANTINE.arrow_schema))
    name = f"part-00000-{file_hash(content)}-{run}.pq"
    path = f"{path_of_rejects(day, run)}/source={source}/{name}"
    lake.table_store(table.name).put(path, content)


def rows_of(lake: Lake, table: str, day: date) -> pa.Table:
    """What is published, without the day."""
    return read_rows(lake.snapshot(table).uris(day))


def read_rows(paths: Iterable[str]) -> pa.Table:
    return pa.concat_tables(SealedParquet(path).read() for path in paths)


def replant(lake: Lake, table: str, day: date, rows: pa.Table) -> None:
    """Publish other rows in a day's place, as if they had been built from the same inputs."""
    snapshot, store = lake.snapshot(table), lake.table_store(table)
    old, run = snapshot.quarantine_path(day), new_run()
    new = write_day(lake, TABLES[table], day, [rows], run)
    for entry in store.list(old):
        store.put(entry.path.replace(old, path_of_rejects(day, run)), store.read(entry.path))
    manifest = {**snapshot.manifest(day), "content": new.manifest["content"]}
    new = NewDay(new.files, new.bounds, manifest)
    # As by hand: the inputs stay, so that no other check than the one of the rows speaks.
    publish(store, TABLES[table], {day: new}, snapshot, {"run": run})
    lake.refresh()


def unpublish(lake: Lake, table: str, day: date) -> None:
    """Take a day back: the first version of a table has no days."""
    assert restore(lake.table_store(table), table, 0, {"run": new_run()}, [day]) == [day]
    lake.refresh()


def paths_of(lake: Lake, table: str, day: date) -> list[Path]:
    """Paths of the published files of a local lake, for damage in place."""
    return [Path(uri) for uri in lake.snapshot(table).uris(day)]


def table_of(table: Table, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=table.arrow_schema)


def _bounds(rows: pa.Table) -> tuple[int, int] | None:
    if "customer_id" not in rows.column_names:
        return None
    found = pc.min_max(rows["customer_id"]).as_py()
    return None if found["min"] is None else (found["min"], found["max"])
