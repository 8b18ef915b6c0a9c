"""Raw JSON and CSV as chunks; see ``columns.py``.

    file ──blocks.py──> rows ──csv_cells.py, json_rows.py──> columns of texts or of JSON values
         ──values.py──> wide columns, with what is wrong with each value

Text is UTF-8; a byte order mark at its start, blank lines and ``\\r\\n`` are of no account.
"""

import codecs
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import IO, Any, Final, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.schemas import Column, Table
from training_assets.sources.ahead import in_order
from training_assets.sources.blocks import Block, blocks, count_rows
from training_assets.sources.columns import (
    ITEMS,
    Chunk,
    Numbers,
    Task,
    Values,
    widen_all,
)
from training_assets.sources.csv_cells import parse_row, read_cells
from training_assets.sources.json_rows import (
    MISSING,
    JsonParts,
    at_path,
    columns_of,
    elements_of,
    objects_of,
    parse_object,
    read_json,
    read_nested,
)
from training_assets.sources.json_values import (
    NOT_JSON,
    items_of_texts,
    parsed_cell,
    widen_items,
    widen_values,
)
from training_assets.sources.opening import open_bytes
from training_assets.sources.reading import Reading, as_named
from training_assets.sources.typed import is_readable, widen
from training_assets.sources.values import Kind, parse_texts

# UTF-32, little-endian, begins like UTF-16.
_OTHER_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
HEAD_BYTES: Final = 1 << 20
_BEHIND_HEADER: Final = 1 << 12


class Head(NamedTuple):
    """The first bytes of a text file, from behind its byte order mark, which is ``mark`` long."""

    data: bytes
    mark: int
    is_whole: bool


def read_head(uri: str, packing: str, size: int = HEAD_BYTES) -> Head:
    with open_bytes(uri, packing) as file:
        data = file.read(size)
    return head_of(data, len(data) < size)


def head_of(data: bytes, is_whole: bool) -> Head:
    if data.startswith(_OTHER_MARKS):
        raise UnicodeError("it begins like UTF-16 or UTF-32; expected UTF-8")
    bare = data.removeprefix(codecs.BOM_UTF8)
    return Head(bare, len(data) - len(bare), is_whole)


def with_layout(reading: Reading, head: Head, is_csv: bool) -> Reading:
    """With what the first bytes say: the header of CSV, the layout of JSON, where rows begin."""
    if not is_csv:
        layout = "document" if _is_document(head) else "lines"
        return reading.with_file(layout=layout, body=head.mark)
    first = next(iter(blocks_of(head.data, reading)), None)
    if first is None:
        return reading.with_file(header=(), body=head.mark)
    names = _names(first.row(0), reading)
    if not reading.dialect.header:
        numbered = tuple(str(n) for n in range(1, len(names) + 1))
        return reading.with_file(header=numbered, body=head.mark)
    end = head.data.find(b"\n", int(first.stops[0]))
    body = len(head.data) if end < 0 else end + 1
    return reading.with_file(header=tuple(names), body=head.mark + body)


def blocks_of(data: bytes, reading: Reading) -> Iterator[Block]:
    return blocks(io.BytesIO(data), "csv", delimiter=reading.dialect.delimiter)


def _names(row: bytes, reading: Reading) -> list[str]:
    text = row.decode(errors="backslashreplace")
    try:
        return [name.strip() for name in parse_row(text.encode(), reading.dialect)]
    except ValueError:
        return [text]


def _is_document(head: Head) -> bool:
    """Whether JSON is an array, or objects that are not one a line."""
    text = head.data.lstrip(b" \t\r\n")
    if text.startswith(b"["):
        return text[1:].lstrip(b" \t\r\n").startswith(b"{") or _is_array(text, head.is_whole)
    if not text.startswith(b"{"):
        return False
    line = text.partition(b"\n")[0]
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return _first_object_is_no_line(text, line)
    return False


def _is_array(text: bytes, is_whole: bool) -> bool:
    """Whether the text is one array, and not lines of which the first may be one."""
    line, end, _ = text.partition(b"\n")
    if not is_whole:
        return not end or line.strip() == b"["
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _first_object_is_no_line(text: bytes, line: bytes) -> bool:
    try:
        decoded = text.decode(errors="ignore")
        _, end = json.JSONDecoder().raw_decode(decoded)
    except (ValueError, RecursionError):
        return False
    rest = decoded[end:].lstrip(" \t\r\n")
    return not rest or rest.startswith("{")


# --- chunks ---------------------------------------------------------------------------------------


def _known_head(task: Task, reading: Reading) -> Head:
    """First bytes that say of CSV what was found when the file was listed."""
    if reading.dialect.header and reading.body:
        size = min(reading.body + _BEHIND_HEADER, HEAD_BYTES)
        head = read_head(task.uri, reading.packing, size)
        # Where a header ends that has quotes may depend on all that follows.
        if b'"' not in head.data[: reading.body]:
            return head
    return read_head(task.uri, reading.packing)


def text_chunks(task: Task, table: Table, names: Sequence[str]) -> Iterator[Chunk]:
    """Chunks with the columns ``names``; of CSV, with those of them that it has."""
    reading = Reading.of(task.reading)
    is_csv = task.format == "csv"
    if is_csv:
        known = with_layout(reading, _known_head(task, reading), is_csv)
        if known.header != reading.header:
            # Its columns are told by their place.
            reading = reading.with_file(header=known.header, body=known.body)
            if task.start > 0:
                raise pa.ArrowInvalid("its header is another than when it was listed")
    with open_bytes(task.uri, reading.packing) as file:
        start = max(task.start, reading.body)
        skip(file, start)
        size = task.stop - start if task.stop >= 0 else -1
        absent = {table.day_column: task.day.isoformat()} if task.day else {}
        yield from chunks_of(file, table, names, reading, is_csv, absent, size)


def skip(file: IO[bytes], size: int) -> None:
    if file.seekable() and size:
        file.seek(size)
        return
    while size > 0:
        part = file.read(min(size, 1 << 20))
        if not part:
            return
        size -= len(part)


def chunks_of(
    file: IO[bytes],
    table: Table,
    names: Sequence[str],
    reading: Reading,
    is_csv: bool,
    absent: dict[str, str],
    size: int = -1,
    line: int = 1,
    threads: int = 1,
) -> Iterator[Chunk]:
    """The rows from where the file stands; ``absent`` are values of columns that it has not."""
    form = "csv" if is_csv else reading.layout
    read = _csv_chunk if is_csv else partial(_json_chunk, absent=absent)
    columns = [column for column in table.columns if column.name in names]
    found = blocks(file, form, delimiter=reading.dialect.delimiter, size=size, line=line)
    for chunk in in_order(lambda block: read(block, table, columns, reading), found, threads):
        if len(chunk.faults):
            yield chunk


def count_text_rows(task: Task) -> int:
    """Rows of a task, counted without looking at what they hold."""
    reading = Reading.of(task.reading)
    with open_bytes(task.uri, reading.packing) as file:
        start = max(task.start, reading.body)
        skip(file, start)
        size = task.stop - start if task.stop >= 0 else -1
        form = "csv" if task.format == "csv" else reading.layout
        return count_rows(file, form, delimiter=reading.dialect.delimiter, size=size)


def _lines(block: Block, indices: Sequence[int]) -> list[str]:
    return [block.row(n).decode(errors="backslashreplace") for n in indices]


def _chunk(
    block: Block,
    found: tuple[dict[str, pa.Array], pa.Array, dict[str, pa.Array]],
    originals: Callable[[Sequence[int]], list[dict[str, Any]]],
    is_own: pa.Array | None,
) -> Chunk:
    columns, faults, of_columns = found
    lines = partial(_lines, block)
    numbers = Numbers(block.rows, block.lines)
    if is_own is None:
        return Chunk(columns, faults, of_columns, originals, lines, numbers)
    places = np.flatnonzero(np.asarray(is_own))
    return Chunk(
        {name: values.filter(is_own) for name, values in columns.items()},
        faults.filter(is_own),
        {name: values.filter(is_own) for name, values in of_columns.items()},
        lambda indices: originals(places[list(indices)].tolist()),
        lambda indices: lines(places[list(indices)].tolist()),
        Numbers(block.rows[places], block.lines[places]),
    )


def _is_own(texts: Sequence[tuple[pa.Array, tuple[str, ...]]], faults: pa.Array) -> pa.Array:
    """Rows that a source asks for, and those of which nobody can say."""
    found = pa.array(np.ones(len(faults), bool))
    for values, wanted in texts:
        found = pc.and_(found, pc.is_in(as_named(values), pa.array(wanted, pa.string())))
    return pc.or_(found, pc.is_valid(faults))


# --- CSV ------------------------------------------------------------------------------------------


def _csv_chunk(block: Block, table: Table, columns: Sequence[Column], reading: Reading) -> Chunk:
    place_of = {name: n for n, name in reversed(list(enumerate(reading.header)))}
    present = {
        c.name: place_of[reading.path(c.name)[0]]
        for c in columns
        if reading.path(c.name)[0] in place_of
    }
    filters = {place_of[name]: texts for name, texts in reading.where.items() if name in place_of}
    places = sorted({*present.values(), *filters}) or [0]
    cells = read_cells(block, reading.dialect, len(reading.header), places)
    kinds = {c.name: reading.kind(c) for c in columns}

    def widen_cells(name: str) -> Values:
        texts, kind = cells.texts[present[name]], kinds[name]
        if kind.type == ITEMS:
            return items_of_texts(texts.to_pylist(), kind)
        return parse_texts(reading.made_of(name, texts), kind)

    def originals(indices: Sequence[int]) -> list[dict[str, Any]]:
        shown = {
            name: cells.texts[place].take(pa.array(list(indices), pa.int64())).to_pylist()
            for name, place in present.items()
        }
        for name in shown:
            if kinds[name].type == ITEMS:
                parsed = map(parsed_cell, shown[name])
                shown[name] = [
                    text if value is NOT_JSON else value
                    for text, value in zip(shown[name], parsed, strict=True)
                ]
        return [{name: shown[name][n] for name in shown} for n in range(len(indices))]

    found = widen_all(table, list(present), widen_cells, cells.faults)
    is_own = None
    if filters:
        asked = [(cells.texts[place], texts) for place, texts in filters.items()]
        is_own = _is_own(asked, cells.faults)
    return _chunk(block, found, originals, is_own)


# --- JSON -----------------------------------------------------------------------------------------


def _json_chunk(
    block: Block,
    table: Table,
    columns: Sequence[Column],
    reading: Reading,
    absent: dict[str, str],
) -> Chunk:
    paths = {c.name: reading.path(c.name) for c in columns}
    filters = {tuple(name.split(".")): texts for name, texts in reading.where.items()}
    # A row that does not speak of its day has that of the folder; one that says null has none.
    matters = [paths[name] for name in absent if name in paths]
    wanted = list(dict.fromkeys([*paths.values(), *filters]))
    if reading.rows:
        nested = read_nested(block, wanted, reading.rows)
        rows, block = JsonParts([nested.columns], None), nested.block
    else:
        rows = read_json(block, wanted, missing_matters=matters)
    kinds = {c.name: reading.kind(c) for c in columns}
    found = _widened(rows, table, paths, kinds, reading, absent)

    def originals(indices: Sequence[int]) -> list[dict[str, Any]]:
        return [_shown(block.row(n), paths, kinds) for n in indices]

    is_own = None
    if filters:
        asked = [
            (rows.together([_as_texts(part.values[path]) for part in rows.parts]), texts)
            for path, texts in filters.items()
        ]
        is_own = _is_own(asked, rows.together([part.faults for part in rows.parts]))
    return _chunk(block, found, originals, is_own)


def chunk_of_objects(
    rows: Sequence[dict[str, Any] | bytes], table: Table, names: Sequence[str], reading: Reading
) -> Chunk:
    """Rows in memory, each as a line of its own: objects, and the text of what may be one."""
    columns = [column for column in table.columns if column.name in names]
    paths = {column.name: reading.path(column.name) for column in columns}
    kinds = {column.name: reading.kind(column) for column in columns}
    read = JsonParts([columns_of(rows, list(paths.values()))], None)
    found = _widened(read, table, paths, kinds, reading, {})

    def originals(indices: Sequence[int]) -> list[dict[str, Any]]:
        return [_shown(rows[n], paths, kinds) for n in indices]

    def lines(indices: Sequence[int]) -> list[str]:
        texts = (cast(bytes, rows[n]) for n in indices)
        return [text.decode(errors="backslashreplace") for text in texts]

    numbers = np.arange(1, len(rows) + 1)
    return Chunk(*found, originals, lines, Numbers(numbers, numbers))


def _widened(
    rows: JsonParts,
    table: Table,
    paths: Mapping[str, tuple[str, ...]],
    kinds: Mapping[str, Kind],
    reading: Reading,
    absent: Mapping[str, str],
) -> tuple[dict[str, pa.Array], pa.Array, dict[str, pa.Array]]:
    def widen_rows(name: str) -> Values:
        found = [
            _made(part.values[paths[name]], len(part.faults), kinds[name], reading)
            if name in reading.made
            else _widen(part.values[paths[name]], len(part.faults), kinds[name], absent.get(name))
            for part in rows.parts
        ]
        together = (rows.together(arrays) for arrays in zip(*found, strict=True))
        return Values(*together)

    faults = rows.together([part.faults for part in rows.parts])
    return widen_all(table, list(paths), widen_rows, faults)


def _shown(
    row: dict[str, Any] | bytes,
    paths: Mapping[str, tuple[str, ...]],
    kinds: Mapping[str, Kind],
) -> dict[str, Any]:
    """A row as it was, as far as the table has its columns."""
    if not isinstance(row, dict):
        try:
            row = parse_object(row)
        except ValueError:
            row = {}
    known = {name: at_path(row, path) for name, path in paths.items()}
    return {name: _cell(v, kinds[name].type) for name, v in known.items() if v is not MISSING}


def _made(values: Any, size: int, kind: Kind, reading: Reading) -> Values:
    """Values of a part that are made of what stands there."""
    texts = pa.nulls(size, pa.string()) if values is MISSING else _as_texts(values)
    return parse_texts(reading.made_of(kind.name, texts), kind)


def _widen(values: Any, size: int, kind: Kind, default: str | None) -> Values:
    """Values of a part; ``default`` stands for what a row does not speak of."""
    if values is MISSING:
        one = widen_values([default], kind)
        return Values(pa.repeat(one.values[0], size), pa.repeat(one.faults[0], size))
    if isinstance(values, pa.Array):
        if is_readable(values.type, kind):
            return widen(values, kind)
        values = values.to_pylist()
    bare = values
    if MISSING in values:
        bare = [default if value is MISSING else value for value in values]
    return widen_items(bare, kind) if kind.type == ITEMS else widen_values(bare, kind)


def _cell(value: Any, type_name: str) -> Any:
    if type_name == ITEMS and isinstance(value, str):
        parsed = parsed_cell(value)
        return value if parsed is NOT_JSON else parsed
    return value


def _as_texts(values: "pa.Array | list[Any]") -> pa.Array:
    if isinstance(values, pa.Array):
        return values.cast(pa.string())
    return pa.array([as_text(value) for value in values], pa.string())


def as_text(value: Any) -> str | None:
    """How a value is named in a declaration."""
    if value is None or value is MISSING or isinstance(value, dict | list):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def json_rows(task: Task, reading: Reading) -> Iterator[dict[str, Any]]:
    """The objects of a JSON file, without what is none."""
    with open_bytes(task.uri, reading.packing) as file:
        skip(file, reading.body)
        yield from _objects(file, reading)


def json_rows_of(head: Head, reading: Reading) -> Iterator[dict[str, Any]]:
    """The objects among the first bytes of JSON."""
    yield from _objects(io.BytesIO(head.data), reading)


def _objects(file: IO[bytes], reading: Reading) -> Iterator[dict[str, Any]]:
    for block in blocks(file, reading.layout):
        if not reading.rows:
            yield from objects_of(block)
            continue
        for row in objects_of(block):
            with suppress(ValueError):
                yield from elements_of(row, reading.rows)
