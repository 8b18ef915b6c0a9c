"""A look at a raw file before a job starts: what it is, and where its columns stand.

file ──first bytes──> format ──header──> columns by their names ──> parts for the workers
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, repeat
from typing import IO, Any, Final, NamedTuple

import pyarrow as pa

from training_assets.errors import SchemaError
from training_assets.schemas import SHOP_TABLES, Column, Table
from training_assets.sources.ahead import in_order
from training_assets.sources.blocks import MAX_ROW_BYTES, splits
from training_assets.sources.columns import IGNORED_COLUMNS, READ_ERRORS, Task, printable
from training_assets.sources.json_rows import MISSING, at_path
from training_assets.sources.layout import folders_of_days
from training_assets.sources.names import Found, find_columns
from training_assets.sources.opening import (
    PACKINGS,
    first_bytes,
    open_bytes,
    open_parquet,
    what_begins,
)
from training_assets.sources.parquet import schema_of, type_at
from training_assets.sources.reading import ITEMS_NAME, Reading, item_rows
from training_assets.sources.rows import must_be, unreadable
from training_assets.sources.text import json_rows, read_head, with_layout
from training_assets.sources.typed import is_readable

_ROWS_PER_TASK: Final = 2_000_000
_BYTES_PER_TASK: Final = 16 << 20
_BYTES_PER_READ: Final = 4 << 20
_BYTES_PER_LINE: Final = 64 << 10
_THREADS: Final = 4
_SAMPLE_ROWS: Final = 1_000
_MAX_NAMES: Final = 20
_MAX_SHOWN: Final = 200
# Columns of files that the service has filed, of uploads and of events.
_OF_SERVICE: Final = ({"_row", "_upload_id"}, {"_topic", "_partition", "_offset"})
# Numbers, days and times.
_VALUE: Final = re.compile(r"[-+\d.,:TZ ]*\d[-+\d.,:TZ ]*")


class Looked(NamedTuple):
    """A file as a look at it shows it; ``names`` are all that it has, ``types`` those of Parquet.

    ``found`` says where the table's columns stand, and ``table`` is as its rows are delivered.
    """

    task: Task
    reading: Reading
    table: Table
    found: Found
    names: Sequence[str]
    types: dict[str, pa.DataType]


def parts_of(file: Task, table: Table) -> list[Task]:
    """The parts of a whole file, after a look at its columns.

    Raises ``SchemaError`` for a wrong or missing one, ``RawDataError`` where it cannot be read.
    """
    try:
        return list(_parts(look_at(file, table)))
    except READ_ERRORS as error:
        raise unreadable(file.name, file.format, error) from error


def first_part(file: Task, table: Table) -> Task:
    """The first of them, without a look at where the others begin; raises as ``parts_of``."""
    try:
        return next(_parts(look_at(file, table)))
    except READ_ERRORS as error:
        raise unreadable(file.name, file.format, error) from error


def look_at(file: Task, table: Table) -> Looked:
    """What a file is and has; raises as ``parts_of``, and what reading a damaged file raises."""
    file, reading = _with_format(file)
    if file.format == "parquet":
        return _look_at_parquet(file, reading, table)
    head = read_head(file.uri, reading.packing)
    reading = with_layout(reading, head, file.format == "csv")
    if file.format == "csv" and reading.rows:
        raise OSError(f"rows = {reading.rows!r} of sources.toml; expected arrays, which CSV lacks")
    if file.format == "csv":
        if reading.header:
            _require_where(file, reading, lambda path: ".".join(path) in reading.header)
        return _looked(file, reading, table, reading.header, bool(reading.header))
    if _has_no_json(head.data):
        raise OSError("no row of it begins like JSON; expected objects")
    return _look_at_json(file, reading, table)


def _with_format(file: Task) -> tuple[Task, Reading]:
    """What the file is by its first bytes, whatever its name says."""
    reading = Reading.of(file.reading)
    begins = what_begins(first_bytes(file.uri))
    if begins == "parquet":
        return file._replace(format="parquet"), reading
    if file.format == "parquet":
        if begins:
            raise OSError(f"it begins like {begins}; expected parquet")
        return file, reading
    is_named_packed = reading.packing or _packing_of(file.name)
    if begins in PACKINGS:
        inner = what_begins(first_bytes(file.uri, begins))
        if inner:
            raise OSError(f"it is {begins} that holds {inner}; expected text")
        return file, reading.with_file(packing=begins)
    if begins:
        raise OSError(f"it begins like {begins}; expected text, or gz, zst or bz2 of text")
    if is_named_packed and first_bytes(file.uri):
        raise OSError(f"its first bytes are not those of {is_named_packed}")
    return file, reading


def _require_where(file: Task, reading: Reading, has: Callable[[tuple[str, ...]], bool]) -> None:
    """Raise where a column that chooses rows is missing, for none, or all, would be chosen."""
    for name in reading.where:
        if not has(tuple(name.split("."))):
            raise SchemaError(
                f"{file.name}: the column {name} is missing; expected it, since where of "
                "sources.toml chooses rows by it. Deliver it, or correct its name there."
            )


def _has_no_json(data: bytes) -> bool:
    """Whether it is text of another kind, of which each line would be set aside."""
    begins = {line.lstrip()[:1] for line in data.splitlines()} - {b""}
    return bool(begins) and not begins & {b"{", b"[", b"]", b"}"}


def _packing_of(name: str) -> str:
    return next((p for p in PACKINGS if name.lower().endswith(f".{p}")), "")


def _look_at_parquet(file: Task, reading: Reading, table: Table) -> Looked:
    with open_parquet(file.uri) as opened:
        if _is_of_service(set(opened.schema_arrow.names), table):
            # It has the table's own columns, whatever the shop's other files look like.
            reading = reading.plain()
            file = file._replace(reading=reading.json())
        schema = schema_of(opened.schema_arrow, reading.rows)
    _require_where(file, reading, lambda path: type_at(schema, path) is not None)
    looked = _looked(file, reading, table, schema.names, True, schema)
    for column in looked.table.columns:
        path = looked.found.paths.get(column.name)
        if path is None or column.name in IGNORED_COLUMNS or column.name in reading.made:
            continue
        type_ = type_at(schema, path)
        if type_ is not None and not is_readable(type_, looked.reading.kind(column)):
            raise SchemaError(wrong_type(table, column, file.name, path, type_))
    types = {field.name: field.type for field in schema}
    return looked._replace(types=types)


def _is_of_service(names: set[str], table: Table) -> bool:
    """Whether the service has filed it; a shop's own export of a topic may have the marks too."""
    required = {column.name for column in table.columns if must_be(column)}
    is_marked = any(marks <= names for marks in _OF_SERVICE)
    return is_marked and table.name in SHOP_TABLES and required <= names


def wrong_type(
    table: Table, column: Column, where: str, path: tuple[str, ...], found: pa.DataType
) -> str:
    """What to say of a column that is of another kind altogether."""
    advice = "Deliver the column with that type."
    if column.type in ("timestamp", "date") and not pa.types.is_nested(found):
        name = ".".join(path)
        advice = (
            "Deliver the column with that type, or, of times that are numbers, write into "
            f'sources.toml: [{table.name}] columns = {{ {column.name} = {{ from = "{name}", '
            'unit = "ms" } }, with the unit that it is in (s, ms, us, ns).'
        )
    return (
        f"{table.name}.{column.name}: found {_shown([found])} in {where}; expected "
        f"{column.type}. {advice}"
    )


def _look_at_json(file: Task, reading: Reading, table: Table) -> Looked:
    """Keys of the first rows, and of more until each column that must be there has been seen.

    A writer may leave out what is null: only a name that no row has is missing.
    """
    keys: dict[str, None] = {}
    rows = json_rows(file, reading)
    nested = {path for path in reading.paths.values() if len(path) > 1}
    seen: set[tuple[str, ...]] = set()
    has_rows = False
    for number, row in enumerate(rows):
        has_rows = True
        keys |= dict.fromkeys(row)
        seen |= {path for path in nested - seen if at_path(row, path) is not MISSING}
        is_enough = number and number % _SAMPLE_ROWS == 0
        if is_enough and _has_all(file, reading, table, list(keys), seen):
            break
    names = [*keys, *(".".join(path) for path in seen)]
    return _looked(file, reading, table, names, has_rows)


def _has_all(
    file: Task, reading: Reading, table: Table, keys: list[str], seen: set[tuple[str, ...]]
) -> bool:
    names = [*keys, *(".".join(path) for path in seen)]
    try:
        _looked(file, reading, table, names, True)
    except SchemaError:
        return False
    return True


def _looked(
    file: Task,
    reading: Reading,
    table: Table,
    names: Sequence[str],
    has_names: bool,
    schema: pa.Schema | None = None,
) -> Looked:
    rows = rows_per_item(table, reading, names, schema, file.name)
    of = rows or table
    found = find_columns(of, names, reading, schema, where=file.name)
    if has_names:
        _require(file, of, found, names)
    reading = reading.with_file(
        paths={**reading.paths, **found.paths}, has_rows_per_item=rows is not None
    )
    return Looked(file, reading, of, found, names, {})


def rows_per_item(
    table: Table, reading: Reading, names: Sequence[str], schema: pa.Schema | None, where: str
) -> Table | None:
    """The table with a row per item, where impressions are delivered like that."""
    if not any(column.name == ITEMS_NAME for column in table.columns):
        return None
    if ITEMS_NAME in find_columns(table, names, reading, schema, where=where).paths:
        return None
    rows = item_rows(table)
    found = find_columns(rows, names, reading, schema, where=where)
    has = {*found.paths, *reading.constants}
    return rows if {"item_id", "is_order"} <= has else None


def _require(file: Task, table: Table, found: Found, names: Sequence[str]) -> None:
    for column in _needed(table, file):
        if column.name not in {*found.paths, *Reading.of(file.reading).constants}:
            declared = ".".join(Reading.of(file.reading).paths.get(column.name, ()))
            raise SchemaError(missing_column(table, column, file.name, names, declared))


def missing_column(
    table: Table, column: Column, where: str, names: Sequence[str], declared: str = ""
) -> str:
    """What to say where a column is not among ``names``; ``declared`` is where it should stand."""
    missing = f"the column {declared}" if declared else "the column"
    advice = (
        "Deliver it under that name, or write into sources.toml where it stands: "
        f'[{table.name}] columns = {{ {column.name} = "…" }}.'
    )
    if column.name == table.day_column and (template := folders_of_days(where)):
        advice = f'Its folders tell the day: write [{table.name}] path = "{template}".'
    if sum(_VALUE.fullmatch(name) is not None for name in names) > len(names) / 2:
        advice = (
            "These look like values: if the first line is a row, write into sources.toml "
            f"[{table.name}.csv] header = false, and name columns by their place, from 1 on: "
            f'[{table.name}] columns = {{ {column.name} = "1" }}.'
        )
    if len(names) == 1 and (found := [d for d in ";\t|" if d in names[0]]):
        delimiter = json.dumps(found[0])
        advice = f"Write into sources.toml: [{table.name}.csv] delimiter = {delimiter}."
    return (
        f"{table.name}.{column.name}: {missing} is missing in {where}; expected {column.type}, "
        f"found only {_shown(sorted(names)) or 'no columns'}. {advice}"
    )


def _needed(table: Table, file: Task) -> list[Column]:
    """Columns that a file must have; the folder stands in for the day column."""
    return [
        c
        for c in table.columns
        if not c.is_optional and not (c.name == table.day_column and file.day is not None)
    ]


def _shown(parts: Iterable[Any]) -> str:
    """Names or types out of a file, fit for a message whatever they are."""
    texts = (printable(str(part)) for part in islice(parts, _MAX_NAMES))
    return ", ".join(f"{t[:_MAX_SHOWN]}…" if len(t) > _MAX_SHOWN else t for t in texts)


# --- parts ----------------------------------------------------------------------------------------


def _parts(looked: Looked) -> Iterator[Task]:
    reading = looked.reading
    whole = looked.task._replace(reading=reading.json())
    if whole.format == "parquet":
        yield from _groups(whole)
        return
    if reading.packing or reading.layout == "document":
        yield whole
        return
    with open_bytes(whole.uri) as file:
        size = file.seek(0, 2)
        if size < 2 * _BYTES_PER_TASK:
            yield whole
            return
        start = reading.body
        for place in _starts(file, whole, reading, size):
            yield whole._replace(start=start, stop=place)
            start = place
        yield whole._replace(start=start)


def _starts(file: IO[bytes], whole: Task, reading: Reading, size: int) -> Iterator[int]:
    """Places at which rows begin, from the second part on: of JSON, and of CSV without a quote,
    behind any line; of CSV with one only where all before it is known."""
    known, places = reading.body, range(reading.body, size, _BYTES_PER_TASK)
    is_csv = whole.format == "csv"
    quoted: Iterator[bool] = repeat(False)
    if is_csv:
        quoted = in_order(partial(_has_quote, whole.uri), places[:-1], _THREADS)
    for place, has_quote in zip(places[1:], quoted, strict=False):
        end, is_quoted = _end_of_line(file, place)
        if has_quote or (is_quoted and is_csv):
            break
        if end is None:
            return
        if known < end < size:
            known = end
            yield known
    else:
        return
    file.seek(known)
    yield from splits(file, reading.dialect.delimiter, known, size, _BYTES_PER_TASK)[1:]


def _end_of_line(file: IO[bytes], place: int) -> tuple[int | None, bool]:
    """Where the line ends in which a place is, and whether a quote stands behind the place.

    None where it is the last, or longer than any row. Arrow's files of buckets cannot read lines.
    """
    file.seek(place)
    end, is_quoted = place, False
    while end - place < MAX_ROW_BYTES and (piece := file.read(_BYTES_PER_LINE)):
        line, newline, _ = piece.partition(b"\n")
        is_quoted |= b'"' in line
        end += len(line)
        if newline:
            return end + 1, is_quoted
    return None, is_quoted


def _has_quote(uri: str, start: int) -> bool:
    """Whether there is one in the bytes of a part."""
    with open_bytes(uri) as file:
        file.seek(start)
        pieces = (file.read(_BYTES_PER_READ) for _ in range(0, _BYTES_PER_TASK, _BYTES_PER_READ))
        return any(b'"' in piece for piece in pieces)


def _groups(whole: Task) -> list[Task]:
    with open_parquet(whole.uri) as opened:
        sizes = [opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups)]
    parts, start, size = [], 0, 0
    for number, count in enumerate(sizes):
        if size and size + count > _ROWS_PER_TASK:
            parts.append(whole._replace(start=start, stop=number))
            start, size = number, 0
        size += count
    return [*parts, whole._replace(start=start, stop=len(sizes))]
