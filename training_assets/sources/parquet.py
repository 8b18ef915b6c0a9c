"""Raw Parquet files as chunks; see ``columns.py``. No row is looked at by itself."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from training_assets.schemas import Table
from training_assets.sources.columns import (
    BATCH_ROWS,
    Chunk,
    Task,
    Values,
    no_faults,
    widen_all,
)
from training_assets.sources.opening import open_parquet
from training_assets.sources.reading import Reading, as_named
from training_assets.sources.typed import decoded, flatten, is_list, is_readable, shown, widen
from training_assets.sources.values import parse_texts

_Path = tuple[str, ...]


def row_groups(file: pq.ParquetFile, task: Task) -> range:
    """The task's row groups; raises ``ArrowInvalid`` where the file has fewer by now."""
    stop = task.stop if task.stop >= 0 else file.num_row_groups
    if stop > file.num_row_groups:
        raise pa.ArrowInvalid("it has fewer row groups than when it was listed")
    return range(task.start, stop)


def parquet_chunks(task: Task, table: Table, names: Sequence[str]) -> Iterator[Chunk]:
    """Chunks with those of the columns ``names`` that the file has."""
    reading = Reading.of(task.reading)
    with open_parquet(task.uri) as file:
        schema = schema_of(file.schema_arrow, reading.rows)
        paths = {n: p for n in names if (p := _path_in(schema, reading.path(n))) is not None}
        filters = {
            path: texts
            for n, texts in reading.where.items()
            if (path := _path_in(schema, tuple(n.split(".")))) is not None
        }
        groups = list(row_groups(file, task))
        missing = sum(file.metadata.row_group(n).num_rows for n in groups)
        columns = sorted(
            {path[0] if reading.rows else ".".join(path) for path in [*paths.values(), *filters]}
            | ({reading.rows} if reading.rows else set())
        )
        # To hand a column to another thread takes as long as to decode a short one.
        is_long = missing > BATCH_ROWS
        for read in file.iter_batches(BATCH_ROWS, groups, columns, use_threads=is_long):
            missing -= len(read)
            batch = elements_of(read, reading.rows) if reading.rows else read
            own = batch.filter(_is_own(batch, filters)) if filters else batch
            if len(own) or not filters:
                yield chunk_of(own, table, paths, reading)
        if missing:
            # At a page of a kind that it does not know, Arrow ends without a word.
            raise pa.ArrowInvalid(f"{missing} rows of its footer are not in its pages")


def schema_of(schema: pa.Schema, rows: str) -> pa.Schema:
    """The columns of a file whose array ``rows`` gives a row for each of its elements.

    Raises ``ArrowInvalid`` where that is no array.
    """
    if not rows:
        return schema
    place = schema.get_field_index(rows)
    if place < 0 or not is_list(schema.field(place).type):
        found = schema.field(place).type if place >= 0 else "no such column"
        raise pa.ArrowInvalid(f"rows = {rows!r} of sources.toml is {found}; expected an array")
    return schema.set(place, pa.field(rows, schema.field(place).type.value_type))


def elements_of(batch: pa.RecordBatch, rows: str) -> pa.RecordBatch:
    """A row for each element of the arrays, which stands in the array's place then."""
    lengths, elements = flatten(batch.column(rows))
    owners = pa.array(np.repeat(np.arange(len(batch)), lengths))
    columns = [
        elements if name == rows else batch.column(name).take(owners) for name in batch.schema.names
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _path_in(schema: pa.Schema, path: _Path) -> _Path | None:
    return path if type_at(schema, path) is not None else None


def type_at(schema: pa.Schema, path: _Path) -> pa.DataType | None:
    """The type of a column, or of a field within structs; None where there is no such."""
    if path[0] not in schema.names:
        return None
    found = schema.field(schema.get_all_field_indices(path[0])[0]).type
    for name in path[1:]:
        if not pt.is_struct(found) or found.get_field_index(name) < 0:
            return None
        found = found.field(found.get_field_index(name)).type
    return found


def _at(batch: pa.RecordBatch, path: _Path) -> pa.Array:
    values = batch.column(path[0])
    for name in path[1:]:
        values = pc.struct_field(values, name)
    return values


def _is_own(batch: pa.RecordBatch, filters: dict[_Path, tuple[str, ...]]) -> pa.Array:
    found = pa.array(np.ones(len(batch), bool))
    for path, texts in filters.items():
        is_named = pc.is_in(as_named(_as_texts(_at(batch, path))), pa.array(texts, pa.string()))
        found = pc.and_(found, is_named)
    return found


def _as_texts(values: pa.Array) -> pa.Array:
    """How values are named in a declaration."""
    values = decoded(values)
    if pt.is_floating(values.type):
        whole = pc.equal(values, pc.floor(values))
        values = pc.if_else(whole, values, pa.scalar(None, values.type))
        values = values.cast(pa.int64(), safe=False)
    return values.cast(pa.string())


def chunk_of(
    batch: pa.RecordBatch, table: Table, paths: dict[str, _Path], reading: Reading
) -> Chunk:
    """A batch with the columns that stand at ``paths``."""
    kinds = {column.name: reading.kind(column) for column in table.columns}

    def originals(indices: Sequence[int]) -> list[dict[str, Any]]:
        rows = batch.take(pa.array(list(indices), pa.int64()))
        found = {
            name: shown(values, kinds[name])
            for name, path in paths.items()
            if is_readable((values := _at(rows, path)).type, kinds[name])
        }
        return [{name: found[name][n] for name in found} for n in range(len(rows))]

    def widen_column(name: str) -> Values:
        values = _at(batch, paths[name])
        if name in reading.made:
            return parse_texts(reading.made_of(name, _as_texts(values)), kinds[name])
        return widen(values, kinds[name])

    columns, faults, of_columns = widen_all(table, list(paths), widen_column, no_faults(len(batch)))
    return Chunk(columns, faults, of_columns, originals)
