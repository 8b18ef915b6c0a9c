"""A look at the columns of a raw file before a job starts: are they there, can they be read."""

from collections.abc import Iterable
from datetime import date
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from training_assets.errors import SchemaError
from training_assets.schemas import Column, Table
from training_assets.sources.columns import IGNORED_COLUMNS, READ_ERRORS, Task, printable
from training_assets.sources.opening import open_parquet
from training_assets.sources.parquet import is_readable
from training_assets.sources.rows import unreadable
from training_assets.sources.text import json_parser, read_header, read_lines

_ROWS_PER_TASK: Final = 2_000_000
_MAX_NAMES: Final = 20
_MAX_SHOWN: Final = 200


def parts_of(file: Task, table: Table) -> list[Task]:
    """The parts of a whole file, after a look at its columns.

    Raises ``SchemaError`` for a wrong or missing one, ``RawDataError`` where it cannot be read.
    """
    try:
        if file.format != "parquet":
            _check_text_columns(file, table)
            return [file]
        with open_parquet(file.uri) as opened:
            _check_columns(file, table, opened.schema_arrow)
            sizes = [opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups)]
    except READ_ERRORS as error:
        raise unreadable(file.name, file.format, error) from error
    parts, start, size = [], 0, 0
    for number, count in enumerate(sizes):
        if size and size + count > _ROWS_PER_TASK:
            parts.append(file._replace(start=start, stop=number))
            start, size = number, 0
        size += count
    return [*parts, file._replace(start=start, stop=len(sizes))]


def _needed(table: Table, day: date | None) -> list[Column]:
    """Columns that a file must have; the folder stands in for the day column."""
    return [
        c
        for c in table.columns
        if not c.is_optional and not (c.name == table.day_column and day is not None)
    ]


def _check_columns(file: Task, table: Table, schema: pa.Schema) -> None:
    found = {field.name: field.type for field in schema}
    _check_names(file, table, schema.names)
    for column in table.columns:
        if column.name not in found or column.name in IGNORED_COLUMNS:
            continue
        if not is_readable(found[column.name], column.type):
            raise SchemaError(
                f"{table.name}.{column.name}: found {_shown([found[column.name]])} in {file.name}; "
                f"expected {column.type}. Deliver the column with that type."
            )


def _check_names(file: Task, table: Table, found: list[str]) -> None:
    for column in _needed(table, file.day):
        if column.name not in found:
            raise SchemaError(
                f"{table.name}.{column.name}: the column is missing in {file.name}; expected "
                f"{column.type}, found only {_shown(sorted(found)) or 'no columns'}. "
                "Deliver it under that name."
            )
    for column in table.columns:
        if found.count(column.name) > 1:
            raise SchemaError(
                f"{table.name}.{column.name}: the column stands {found.count(column.name)} times "
                f"in {file.name}; expected it once. Remove or rename the others."
            )


def _shown(parts: Iterable[Any]) -> str:
    """Names or types out of a file, fit for a message whatever they are."""
    texts = (printable(str(part)) for part in islice(parts, _MAX_NAMES))
    return ", ".join(f"{t[:_MAX_SHOWN]}…" if len(t) > _MAX_SHOWN else t for t in texts)


def _check_text_columns(file: Task, table: Table) -> None:
    lines = read_lines(file.uri)
    if file.format == "csv":
        if header := read_header(lines):
            _check_names(file, table, header)
        return
    parse = json_parser()
    needed = {column.name for column in _needed(table, file.day)}
    found: set[str] | None = None
    for line in lines:
        try:
            row = parse(line.decode())
        except ValueError:
            continue
        if isinstance(row, dict):
            found = row.keys() | (found or set())
            if needed <= found:
                return
    # A writer may leave out what is null: only a name that no row has is missing.
    if found is not None:
        _check_names(file, table, sorted(found))
