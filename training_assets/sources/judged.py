"""Any file of a table, judged row by row: the valid rows, and what is wrong with the others.

    for part in judge("events.csv", RAW_INTERACTIONS, "csv"):
        part.rows, part.numbers, part.faults

It is the platform's own reader, so that what is accepted here is what is read from a lake. A file
is read in blocks, so that its size does not matter; of each row every column that is wrong is told.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from os import PathLike, fspath
from typing import IO, Any, Final, Literal, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.errors import RawDataError, SchemaError
from training_assets.schemas import Column, Table
from training_assets.sources.cleaning import clean_texts, is_cleaned
from training_assets.sources.columns import (
    IGNORED_COLUMNS,
    ITEMS,
    OUTSIDE,
    READ_ERRORS,
    WIDE,
    Chunk,
    first_fault,
    lists_of,
)
from training_assets.sources.header import missing_column, rows_per_item, wrong_type
from training_assets.sources.names import find_columns
from training_assets.sources.parquet import chunk_of, type_at
from training_assets.sources.reading import Dialect, Reading
from training_assets.sources.rows import (
    faults_of_items,
    has_item_ids,
    is_no_item,
    must_be,
    unreadable,
    valid_items,
)
from training_assets.sources.text import (
    HEAD_BYTES,
    chunk_of_objects,
    chunks_of,
    head_of,
    json_rows_of,
    with_layout,
)
from training_assets.sources.text_ids import Entity, TextIds, as_texts, item_texts
from training_assets.sources.typed import is_readable

Format = Literal["csv", "jsonl", "json", "parquet"]
Code = Literal[
    "required",
    "not_an_integer",
    "not_a_number",
    "not_a_timestamp",
    "not_allowed",
    "out_of_range",
    "too_long",
    "duplicate_id",
    "wrong_number_of_cells",
    "not_utf8",
    "not_json",
    "not_an_object",
    "unknown_column",
]

_CODES: Final[tuple[tuple[str, Code], ...]] = (
    ("is null", "required"),
    ("is not an integer", "not_an_integer"),
    ("is not a number", "not_a_number"),
    ("is not a date", "not_a_timestamp"),
    ("is not a timestamp", "not_a_timestamp"),
    ("is a time and not a day", "not_a_timestamp"),
    ("is ambiguous in its time zone", "not_a_timestamp"),
    ("is not UTF-8", "not_utf8"),
    ("is not a JSON object", "not_an_object"),
    ("is not an object", "not_an_object"),
    ("is not JSON", "not_json"),
    ("row is not CSV", "wrong_number_of_cells"),
    ("another number of cells", "wrong_number_of_cells"),
    ("outside ", "out_of_range"),
    ("more than 4 digits", "out_of_range"),
    ("too long", "too_long"),
    ("is longer than", "too_long"),
)
_BATCH_ROWS: Final = 65_536


class Fault(NamedTuple):
    """What is wrong with a row: ``row`` and ``line`` are from 1 on, ``line`` is None of Parquet.

    ``column`` is empty where the whole row is at fault. ``value`` is what was delivered.
    """

    row: int
    line: int | None
    column: str
    code: Code
    message: str
    value: Any


class Judged(NamedTuple):
    """A part of a file: ``rows`` are valid, with all columns of the table; ``numbers`` are theirs.

    ``lines`` are the lines on which the valid rows begin, empty of Parquet. ``others`` are rows of
    which only some columns are at fault, null there, and ``other_numbers`` theirs.
    """

    rows: pa.Table
    numbers: np.ndarray
    faults: list[Fault]
    lines: np.ndarray
    others: pa.Table
    other_numbers: np.ndarray


def code_of(reason: str) -> Code:
    """The code of a reason as rows are quarantined with."""
    return next((code for part, code in _CODES if part in reason), "not_allowed")


def judge(
    file: IO[bytes] | str | PathLike[str],
    table: Table,
    format: Format,
    *,
    dialect: Dialect | None = None,
    columns: Mapping[str, str] | None = None,
    text_ids: Iterable[Entity] = (),
    time_zone: str = "",
    threads: int = 1,
    ignored: Callable[[Sequence[str]], None] = lambda names: None,
) -> Iterator[Judged]:
    """Read a whole file of a table, unpacked, in blocks; ``columns`` are names that differ.

    ``threads`` read blocks of text, in their order. ``ignored`` is told of the columns
    that the table has not, as far as the first bytes of the file show them. The day column need not
    be in it. Raises ``SchemaError`` where a column is missing or of another kind, ``RawDataError``
    where the file cannot be read at all. ``text_ids`` are entities of which tables of actions have
    texts: they are given as they were delivered, without blanks around them. ``time_zone`` is that
    of times that name none, UTC where it is empty.

    Of rankings each item is judged by itself: those that are wrong are faults, the others are the
    ranking, and one without any gives no row. Those of one row per item are judged as such rows.
    """
    table = as_texts(table, TextIds(tuple(text_ids)))
    paths = {name: tuple(other.split(".")) for name, other in (columns or {}).items()}
    reading = Reading(paths=paths, zone=time_zone, dialect=dialect or Dialect())
    text = partial(_text, threads=threads)
    where = fspath(file) if isinstance(file, str | PathLike) else "the file"
    with ExitStack() as stack:
        if isinstance(file, str | PathLike):
            opened = cast(IO[bytes], stack.enter_context(open(file, "rb")))
        else:
            opened = file
        read = _parquet if format == "parquet" else text
        try:
            row = 1
            for of, chunk in read(opened, table, reading, format, where, ignored):
                yield _judged(_trimmed(chunk, of), of, row)
                row += len(chunk.faults)
        except (SchemaError, RawDataError):
            raise
        except READ_ERRORS as error:
            raise unreadable(where, format, error) from error


def judge_of_objects(
    table: Table, names: Sequence[str], *, time_zone: str = ""
) -> Callable[[Sequence[dict[str, Any] | bytes]], Judged]:
    """What judges rows in memory as those of a file of lines; ``names`` are those of all keys.

    A row is an object as JSON has it, or the text of what may be one. Raises ``SchemaError`` as
    ``judge`` does.
    """
    reading = Reading(zone=time_zone, dialect=Dialect())
    where = "the file"
    of = rows_per_item(table, reading, names, None, where) or table
    found = find_columns(of, names, reading, None, where=where)
    reading = reading.with_file(paths=found.paths)
    columns = _that_matter(of, found.paths)

    def judged(rows: Sequence[dict[str, Any] | bytes]) -> Judged:
        try:
            return _judged(_trimmed(chunk_of_objects(rows, of, columns, reading), of), of, 1)
        except READ_ERRORS as error:
            raise unreadable(where, "jsonl", error) from error

    return judged


def _parquet(
    file: IO[bytes],
    table: Table,
    reading: Reading,
    format_: str,
    where: str,
    ignored: Callable[[Sequence[str]], None],
) -> Iterator[tuple[Table, Chunk]]:
    opened = pq.ParquetFile(file, coerce_int96_timestamp_unit="us", page_checksum_verification=True)
    schema = opened.schema_arrow
    table = rows_per_item(table, reading, schema.names, schema, where) or table
    found = find_columns(table, schema.names, reading, schema, where=where)
    _require(table, found.paths, schema.names, where)
    ignored(_unused(schema.names, found.paths, table))
    reading = reading.with_file(paths={**reading.paths, **found.paths})
    for column in table.columns:
        type_ = type_at(schema, found.paths.get(column.name, ("",)))
        if type_ is not None and not is_readable(type_, reading.kind(column)):
            raise SchemaError(wrong_type(table, column, where, found.paths[column.name], type_))
    left = opened.metadata.num_rows
    for batch in opened.iter_batches(
        _BATCH_ROWS, columns=sorted({".".join(path) for path in found.paths.values()})
    ):
        left -= len(batch)
        yield table, chunk_of(batch, table, dict(found.paths), reading)
    if left:
        raise pa.ArrowInvalid(f"{left} rows of its footer are not in its pages")


def _text(
    file: IO[bytes],
    table: Table,
    reading: Reading,
    format_: str,
    where: str,
    ignored: Callable[[Sequence[str]], None],
    threads: int,
) -> Iterator[tuple[Table, Chunk]]:
    is_csv = format_ == "csv"
    data = _read(file, HEAD_BYTES)
    head = head_of(data, len(data) < HEAD_BYTES)
    reading = with_layout(reading, head, is_csv)
    names = list(reading.header)
    if not is_csv:
        keys: dict[str, Any] = {}
        for row in json_rows_of(head, reading):
            keys.update(row)
        names = list(keys)
    table = rows_per_item(table, reading, names, None, where) or table
    found = find_columns(table, names, reading, None, where=where)
    if is_csv and names:
        _require(table, found.paths, names, where)
    ignored(_unused(names, found.paths, table))
    columns = table.column_names
    if not is_csv and head.is_whole:
        # All names are known: only of what must be there it matters that it is not.
        columns = _that_matter(table, found.paths)
    reading = reading.with_file(paths={**reading.paths, **found.paths})
    skipped = data[: reading.body]
    rest = cast(IO[bytes], _Joined(data[reading.body :], file))
    line = 1 + skipped.count(b"\n")
    for chunk in chunks_of(rest, table, columns, reading, is_csv, {}, line=line, threads=threads):
        yield table, chunk


def _that_matter(table: Table, paths: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [c.name for c in table.columns if c.name in paths or must_be(c)]


def _read(file: IO[bytes], size: int) -> bytes:
    parts, left = [], size
    while left and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


class _Joined:
    """What has been read of a stream, and then the rest of it."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int) -> bytes:
        if self._head:
            part, self._head = self._head[:size], self._head[size:]
            return part
        return self._rest.read(size)


def _unused(names: Sequence[str], paths: Mapping[str, tuple[str, ...]], table: Table) -> list[str]:
    """Names of columns of which nothing is read."""
    used = {table.day_column} | {part for path in paths.values() for part in path}
    return [name for name in dict.fromkeys(names) if name not in used]


def _require(
    table: Table, paths: Mapping[str, tuple[str, ...]], names: Sequence[str], where: str
) -> None:
    """Raises ``SchemaError`` where a column is missing that no row is judged by.

    A file that has some of the columns that each row must fill is of this table: its rows are told
    what they lack, as those of JSON are.
    """
    needed = [c for c in table.columns if not c.is_optional and c.name != table.day_column]
    missing = [column for column in needed if column.name not in paths]
    if missing and (missing == needed or not all(must_be(column) for column in missing)):
        raise SchemaError(missing_column(table, missing[0], where, names))


# --- the rules ------------------------------------------------------------------------------------


def _trimmed(chunk: Chunk, table: Table) -> Chunk:
    """Ids that are texts as the reader of a lake takes them."""
    ids = tuple(c for c in table.columns if c.is_id and c.type == "string")
    if is_cleaned(table) or not ids:
        return chunk
    return chunk._replace(columns=clean_texts(replace(table, columns=ids), chunk.columns))


def _judged(chunk: Chunk, table: Table, row: int) -> Judged:
    size = len(chunk.faults)
    of_columns = dict(chunk.of_columns)
    of_rows = of_columns.get("")
    for column in table.columns:
        if column.name in IGNORED_COLUMNS:
            continue
        values = chunk.columns.get(column.name)
        if values is None and must_be(column) and column.name != table.day_column:
            values = pa.nulls(size, WIDE[column.type])
        if values is None:
            continue
        faults = of_columns.get(column.name, pa.nulls(size, pa.string()))
        if must_be(column) and values.null_count:
            faults = first_fault(faults, pc.is_null(values), f"{column.name} is null")
        if has_item_ids(column):
            faults = first_fault(faults, is_no_item(values), f"{column.name} {OUTSIDE['int']}")
        if column.is_id and column.max_length and not is_cleaned(table):
            long = pc.greater(pc.utf8_length(values), column.max_length)
            phrase = f"is longer than {column.max_length} characters"
            faults = first_fault(faults, long, f"{column.name} {phrase}")
        if faults.null_count < size:
            of_columns[column.name] = faults
    is_valid = np.ones(size, bool)
    for faults in of_columns.values():
        is_valid &= np.asarray(faults.is_null())
    numbers = np.arange(row, row + size) if chunk.numbers is None else chunk.numbers.rows
    lines = np.empty(0, np.int64) if chunk.numbers is None else chunk.numbers.lines
    of_items: list[Fault] = []
    is_kept = is_valid
    for column in table.columns:
        if column.type == ITEMS and column.name in chunk.columns:
            of_items = _of_items(chunk, np.flatnonzero(is_valid), column.name, numbers)
            has_any = valid_items(chunk.columns[column.name], _items_type(column))[1]
            is_kept = is_valid & np.asarray(has_any)
    rows = _typed(chunk.columns, table, is_kept)
    kept = lines[is_kept] if len(lines) else lines
    if is_valid.all():
        return Judged(rows, numbers[is_kept], of_items, kept, rows.slice(0, 0), numbers[:0])
    is_other = ~is_valid
    if of_rows is not None:
        is_other &= np.asarray(of_rows.is_null())
    others = _typed(_without_faults(chunk.columns, of_columns), table, is_other)
    faults = [*_faults(chunk, of_columns, of_rows, numbers), *of_items]
    faults.sort(key=lambda fault: fault.row)
    return Judged(rows, numbers[is_kept], faults, kept, others, numbers[is_other])


def _row_and_line(chunk: Chunk, numbers: np.ndarray, place: int) -> tuple[int, int | None]:
    line = None if chunk.numbers is None else int(chunk.numbers.lines[place])
    return int(numbers[place]), line


def _of_items(chunk: Chunk, rankings: np.ndarray, name: str, numbers: np.ndarray) -> list[Fault]:
    """What is wrong with single items of rankings; the others of these are taken."""
    return [
        Fault(
            *_row_and_line(chunk, numbers, place),
            name,
            code_of(reason),
            f"{name}[{position}]: {reason}",
            original[name][position],
        )
        for place, position, reason, original in faults_of_items(chunk, rankings, name)
    ]


def _items_type(column: Column) -> pa.DataType:
    """Of the items of rankings, whose ids are texts where the column is marked as one of ids."""
    if not column.is_id:
        return column.arrow
    return pa.list_(pa.struct([("item_id", pa.string()), ("is_order", pa.bool_())]))


def _items(lists: pa.Array, column: Column) -> pa.Array:
    kept, _ = valid_items(lists, _items_type(column))
    if not column.is_id:
        return kept
    items = kept.flatten()
    columns = [item_texts(items), pc.struct_field(items, "is_order")]
    lengths = np.asarray(pc.list_value_length(kept))
    return lists_of(lengths, pa.StructArray.from_arrays(columns, fields=list(items.type)))


def _without_faults(
    columns: Mapping[str, pa.Array], of_columns: Mapping[str, pa.Array]
) -> dict[str, pa.Array]:
    return {
        name: pc.if_else(pc.is_null(of_columns[name]), values, pa.scalar(None, values.type))
        if name in of_columns
        else values
        for name, values in columns.items()
    }


def _typed(known: Mapping[str, pa.Array], table: Table, is_wanted: np.ndarray) -> pa.Table:
    mask = pa.array(is_wanted)
    count = mask.true_count
    columns = {}
    for column in table.columns:
        values = known.get(column.name)
        if values is None:
            columns[column.name] = pa.nulls(count, column.arrow)
            continue
        if count < len(mask):
            values = values.filter(mask)
        if column.type == ITEMS:
            values = _items(values, column)
        elif values.type != column.arrow:
            values = values.cast(column.arrow, safe=column.name not in IGNORED_COLUMNS)
        columns[column.name] = values
    return pa.table(columns)


def _faults(
    chunk: Chunk,
    of_columns: Mapping[str, pa.Array],
    of_rows: pa.Array | None,
    numbers: np.ndarray,
) -> list[Fault]:
    found: list[tuple[int, str, str]] = []
    whole = np.zeros(len(numbers), bool) if of_rows is None else np.asarray(of_rows.is_valid())
    for name, faults in of_columns.items():
        hits: list[int] = np.flatnonzero(np.asarray(faults.is_valid())).tolist()
        reasons = faults.take(pa.array(hits, pa.int64())).to_pylist()
        # A row that cannot be read lacks each column, which is not said again.
        found += [
            (place, name, reason)
            for place, reason in zip(hits, reasons, strict=True)
            if not name or not whole[place]
        ]
    if not found:
        return []
    found.sort()
    places = sorted({place for place, _, _ in found})
    shown = dict(zip(places, chunk.originals(places), strict=True))
    texts = chunk.lines([p for p in places if whole[p]]) if chunk.lines else []
    raw = dict(zip([p for p in places if whole[p]], texts, strict=False))
    return [
        Fault(
            *_row_and_line(chunk, numbers, place),
            name,
            code_of(reason),
            reason,
            shown[place].get(name) if name else raw.get(place),
        )
        for place, name, reason in found
    ]
