"""Raw JSON lines and CSV as chunks; see ``columns.py``.

A row is a line, so that one broken quote cannot swallow the rows that follow it. Lines of CSV that
together are one row with line breaks within quotes are faults, each of them: one that looks like a
row may be what somebody wrote into a comment. Text is UTF-8; a byte order mark at its start, blank
lines and ``\\r\\n`` are of no account.
"""

import codecs
import csv
import json
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, Final

import numpy as np
import pyarrow as pa

from training_assets.schemas import Table
from training_assets.sources.columns import (
    BATCH_ROWS,
    ITEMS,
    Chunk,
    Task,
    Values,
    check_integer,
    items_of,
    lists_of,
    no_faults,
    parse_texts,
    read_each,
    read_other,
    widen_all,
)
from training_assets.sources.opening import open_bytes

_Row = dict[str, Any]
_JSON_BLANKS: Final = " \t\r\n"
# UTF-32, little-endian, begins like UTF-16.
_OTHER_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
# What stands within quotes; cells and then one that has no end, on a line; the end of such a cell,
# or not, on a later line.
# A line can be read in one way only, so nothing else is found by giving back what was matched. The
# groups may do that all the same: Python before 3.11.5 matches possessive groups wrongly.
_QUOTED: Final = rb'[^"]*+(?:""[^"]*+)*'
_OPENS: Final = re.compile(rb'(?:(?:"%b"|(?!")[^,]*+),)*"%b\Z' % (_QUOTED, _QUOTED))
_CLOSES: Final = re.compile(rb'%b"(?:,|\Z)' % _QUOTED)
_STAYS_OPEN: Final = re.compile(rb"%b\Z" % _QUOTED)
_MAX_LINE_BREAKS: Final = 10_000


def read_lines(uri: str) -> Iterator[bytes]:
    """The lines that are not blank, without their ends."""
    with open_bytes(uri) as file:
        first = file.readline()
        if first.startswith(_OTHER_MARKS):
            raise UnicodeError("it begins like UTF-16 or UTF-32; expected UTF-8")
        for line in chain([first.removeprefix(codecs.BOM_UTF8)], file):
            bare = line.rstrip(b"\r\n")
            if bare and not bare.isspace():
                yield bare


def read_header(lines: Iterator[bytes]) -> list[str]:
    """The column names of CSV; none where there is no line."""
    text = next(lines, b"").decode(errors="backslashreplace")
    try:
        return [name.strip() for name in next(csv.reader([text], strict=True), [])]
    except csv.Error:
        return [text]


def text_chunks(task: Task, table: Table, names: Sequence[str]) -> Iterator[Chunk]:
    """Chunks with the columns ``names``; of CSV, with those of them that it has."""
    lines = read_lines(task.uri)
    is_csv = task.format == "csv"
    parse = _json_rows()
    if is_csv:
        header = read_header(lines)
        names = [name for name in names if name in header]
        parse = partial(_parse_csv, header=header)
        # Python refuses cells, and so rankings, of more than 131,072 characters.
        csv.field_size_limit(sys.maxsize)
    # A row that does not speak of its day has that of the folder; one that says null has none.
    absent = {table.day_column: task.day.isoformat()} if task.day else {}
    while part := list(islice(lines, BATCH_ROWS)):
        pieces = _pieces(part, lines) if is_csv else set()
        texts, rows, faults = _parse_lines(part, parse, pieces)
        widen = partial(_widen_rows, rows, absent, is_csv)
        columns, faults = widen_all(table, names, widen, faults)
        yield Chunk(columns, faults, partial(_originals, rows, names), texts)


def _pieces(part: list[bytes], more: Iterator[bytes]) -> set[int]:
    """The lines of ``part`` that are pieces of a row; those of the last that it lacks are added.

    A quote that no later line ends, as CSV has it, is a fault of its own line only.
    """
    pieces: set[int] = set()
    first = 0
    while first < len(part):
        last = first
        if b'"' in part[first] and _OPENS.match(part[first]):
            last = _last_piece(part, first, more)
            if last > first:
                pieces.update(range(first, last + 1))
        first = last + 1
    return pieces


def _last_piece(part: list[bytes], first: int, more: Iterator[bytes]) -> int:
    """The line that ends the row which ``first`` begins; ``first`` where none does."""
    for number in range(first + 1, first + 1 + _MAX_LINE_BREAKS):
        if number == len(part):
            part += islice(more, BATCH_ROWS)
            if number == len(part):
                return first
        line = part[number]
        if b'"' not in line or _STAYS_OPEN.match(line):
            continue
        closed = _CLOSES.match(line)
        if closed is None:
            return first
        if not _OPENS.match(line, closed.end()):
            return number
    return first


def _parse_lines(
    lines: list[bytes], parse: Callable[[str], _Row], pieces: Collection[int]
) -> tuple[list[str], list[_Row], pa.Array]:
    texts, rows = [], []
    faults: dict[int, str] = {}
    for number, line in enumerate(lines):
        try:
            text = line.decode()
            row = parse(text)
        except UnicodeDecodeError:
            text, row = line.decode(errors="backslashreplace"), {}
            faults[number] = "row is not UTF-8"
        except ValueError as error:
            row, faults[number] = {}, str(error)
        if number in pieces:
            row, faults[number] = {}, "row has a line break within quotes"
        texts.append(text)
        rows.append(row)
    if not faults:
        return texts, rows, no_faults(len(rows))
    return texts, rows, pa.array(map(faults.get, range(len(rows))), pa.string())


def json_parser() -> Callable[[str], Any]:
    """A parser of JSON texts that raises nothing but ``ValueError``."""
    decode = json.JSONDecoder().raw_decode

    def parse(text: str) -> Any:
        bare = text.strip(_JSON_BLANKS)
        try:
            value, end = decode(bare)
        except (ValueError, RecursionError):
            raise ValueError("is not JSON") from None
        if end != len(bare):
            raise ValueError("is not JSON")
        return value

    return parse


def _json_rows() -> Callable[[str], _Row]:
    decode, parse = json.JSONDecoder().raw_decode, json_parser()

    def parse_row(text: str) -> _Row:
        try:
            row, end = decode(text)
        except (ValueError, RecursionError):
            end = -1
        if end != len(text):
            # Rare: blanks around the object, or no JSON at all.
            try:
                row = parse(text)
            except ValueError:
                raise ValueError("row is not JSON") from None
        if type(row) is not dict:
            raise ValueError("row is not a JSON object")
        return row

    return parse_row


def _parse_csv(text: str, header: list[str]) -> _Row:
    if '"' not in text and "\r" not in text:
        cells = text.split(",")
    else:
        try:
            cells = next(csv.reader([text], strict=True))
        except csv.Error:
            raise ValueError("row is not CSV") from None
    if len(cells) != len(header):
        raise ValueError("row has another number of cells than the header")
    return {k: v if v and not v.isspace() else None for k, v in zip(header, cells, strict=True)}


def _originals(rows: list[_Row], names: Sequence[str], indices: Sequence[int]) -> list[_Row]:
    return [{name: rows[n][name] for name in names if name in rows[n]} for n in indices]


def _widen_rows(
    rows: list[_Row], absent: dict[str, str], is_csv: bool, name: str, type_name: str
) -> Values:
    default = absent.get(name)
    values = [row.get(name, default) for row in rows]
    if type_name == ITEMS:
        if is_csv:
            _parse_cells(rows, values, name)
        return _widen_items(values, name)
    return _widen(values, name, type_name, is_csv)


def _widen(values: list[Any], name: str, type_name: str, is_csv: bool) -> Values:
    kinds = set(map(type, values)) - {type(None)}
    if type_name in ("long", "int") and not is_csv:
        if kinds <= {int}:
            try:
                return Values(pa.array(values, pa.int64()), no_faults(len(values)))
            except OverflowError:
                pass
        return read_each(values, name, type_name, partial(_read_integer, type_name=type_name))
    if kinds <= {str}:
        try:
            texts = pa.array(values, pa.string())
        except UnicodeEncodeError:
            # JSON can name half a surrogate pair.
            pass
        else:
            if type_name == "string":
                return Values(texts, no_faults(len(values)))
            return parse_texts(texts, name, type_name)
    read = _read_string if type_name == "string" else partial(read_other, type_name=type_name)
    return read_each(values, name, type_name, read)


def _read_integer(value: Any, type_name: str) -> int:
    if type(value) is not int:
        raise ValueError("is not an integer")
    return check_integer(value, type_name)


def _read_string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8") from None
    return value


def _read_label(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is not true or false")
    return value


_NOT_JSON: Final = object()


def _parse_cells(rows: list[_Row], values: list[Any], name: str) -> None:
    """Turn the cells of a CSV column into the JSON that they hold."""
    parse = json_parser()
    for n, cell in enumerate(values):
        if cell is not None:
            try:
                rows[n][name] = values[n] = parse(cell)
            except ValueError:
                values[n] = _NOT_JSON


def _widen_items(values: list[Any], name: str) -> Values:
    """Rankings; an item that is wrong is a fault of its own, not of the ranking."""
    faults: list[str | None] = []
    lengths = []
    flat: list[Any] = []
    for value in values:
        fault = None
        if type(value) is list:
            flat += value
        elif value is not None:
            fault = f"{name} is not JSON" if value is _NOT_JSON else f"{name} is not an array"
        lengths.append(len(value) if type(value) is list else 0)
        faults.append(fault)
    rows = [item if type(item) is dict else {} for item in flat]
    ids = _widen([row.get("item_id") for row in rows], "item_id", "int", False)
    labels = read_each((row.get("is_order") for row in rows), "is_order", "boolean", _read_label)
    odd = [None if type(item) is dict or item is None else "item is not an object" for item in flat]
    is_null = pa.array([item is None for item in flat], pa.bool_())
    items = items_of(ids, labels, pa.array(odd, pa.string()), is_null)
    return Values(lists_of(np.array(lengths, np.int64), items), pa.array(faults, pa.string()))
