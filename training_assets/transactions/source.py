"""The source: a CSV file of transactions, or of weights, as texts in the order of the feed.

A line is split at its commas; quotes of any kind stay part of the text until it is cleaned. (A
reader that knows quotes takes a stray one for the beginning of a value of many lines, and loses
what is between.) Only where that gives a wrong number of columns are quotes looked at. A line that
still has no such columns stays a row, with ``problem`` and ``content``. Empty lines are no rows.
"""

import gzip
import hashlib
import io
import posixpath
import re
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from training_assets.errors import RawDataError, SchemaError
from training_assets.lake import Entry, Store, open_store

QUOTES: Final = " \t\r\n'\"`‘’“”"
_WRONG_COLUMNS: Final = "wrong number of columns"
_WRONG_TEXT: Final = "not UTF-8"
_SEPARATOR: Final = "\x1f"
# In quotes, in which a quote is doubled; in quotes with others inside; or up to the next comma.
_VALUE: Final = re.compile(
    r"""\s*(?:"(?:[^"]|"")*"|'(?:[^']|'')*')\s*(?=,|$)|\s*(["']).*?\1\s*(?=,|$)|[^,]*"""
)
_HASHED_ROWS: Final = 100_000
_BLOCK_BYTES: Final = 1 << 20
# A line without its line break may be half written.
_SETTLED_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Located:
    """A file of a store: where it is, and its listing."""

    store: Store
    entry: Entry

    @property
    def is_new(self) -> bool:
        """Whether it was written to so shortly ago that its last line may be half written."""
        return time.time() - self.entry.modified_ns / 1e9 < _SETTLED_SECONDS

    @property
    def version(self) -> tuple[int, int, str | None]:
        return self.entry.size, self.entry.modified_ns, self.entry.etag


def locate(location: str) -> Located:
    """Find a source file; raises ``RawDataError`` where there is none."""
    folder, name = posixpath.split(location)
    store = open_store(folder or ("/" if location.startswith("/") else "."))
    entry = store.stat(name)
    if entry is None:
        raise RawDataError(
            f"{location}: there is no such file; expected a CSV file, also compressed (.gz). "
            "Correct the path, or make an example with 'training-assets example banksim'."
        )
    return Located(store, entry)


def read_csv(located: Located, columns: Sequence[str], *, is_growing: bool = False) -> pa.Table:
    """Texts by column, with ``source_row``, ``problem`` and ``content``.

    With ``is_growing``, a last line without a line break is left for later while the file is new;
    see ``Located.is_new``. Raises ``SchemaError`` where the header lacks a column, ``RawDataError``
    for what is no CSV.
    """
    where = located.store.uri(located.entry.path)
    try:
        data = located.store.read(located.entry.path)
        if located.entry.path.endswith(".gz"):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise RawDataError(
            f"{where}: cannot be read ({error}); expected a CSV file, compressed if its name ends "
            "in .gz. Write the file again."
        ) from error
    if is_growing and located.is_new:
        data = data[: data.rfind(b"\n") + 1]
    header, _, body = data.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    names = [name.strip(QUOTES) for name in header.decode("utf-8", "replace").split(",")]
    missing = [name for name in columns if names.count(name) != 1]
    if missing:
        raise SchemaError(
            f"{where}: the header is {','.join(names)[:200]!r}; expected the column "
            f"{missing[0]} once. Correct the header, or the path."
        )
    doubled = [quote for quote in "\"'" if quote.encode() * 2 in body]
    return _as_texts(_read_lines(body, names), columns, doubled)


def _read_lines(body: bytes, names: list[str]) -> pa.Table:
    """Every line of ``body``, by its number, as bytes by column."""
    if not body.strip():
        return _table({name: [] for name in names}, [], [], [])
    rejected: list[arrow_csv.InvalidRow] = []
    block_bytes = _BLOCK_BYTES

    def skip(row: arrow_csv.InvalidRow) -> str:
        rejected.append(row)
        return "skip"

    def read(*, use_threads: bool) -> pa.Table:
        rejected.clear()
        return arrow_csv.read_csv(
            io.BytesIO(body),
            arrow_csv.ReadOptions(
                column_names=names, use_threads=use_threads, block_size=block_bytes
            ),
            arrow_csv.ParseOptions(quote_char=False, invalid_row_handler=skip),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False
            ),
        )

    try:
        table = read(use_threads=True)
    except pa.ArrowInvalid:
        # A line is longer than a block.
        block_bytes = len(body) + 1
        table = read(use_threads=True)
    # Only a reader of one thread knows the numbers of the lines.
    if rejected:
        table = read(use_threads=False)
    if not rejected:
        return _with_numbers(table, np.arange(table.num_rows), [None] * table.num_rows)
    lines = table.num_rows + len(rejected)
    bad = {row.number - 1: row.text for row in rejected}
    good = np.setdiff1d(np.arange(lines), np.fromiter(bad, dtype=np.int64))
    parts = [_with_numbers(table, good, [None] * len(good)), _second_chance(bad, names)]
    return pa.concat_tables(parts).sort_by("source_row")


def _second_chance(bad: dict[int, str], names: list[str]) -> pa.Table:
    """Lines with commas within quotes; what is still wrong has no columns but its content."""
    rows: dict[str, list[bytes | None]] = {name: [] for name in names}
    numbers: list[int] = []
    contents: list[str | None] = []
    for number, line in bad.items():
        if not line.strip():
            continue
        values = _split(line, len(names))
        numbers.append(number)
        contents.append(None if values else line)
        for position, name in enumerate(names):
            rows[name].append(values[position].encode() if values else None)
    problems = [None if content is None else _WRONG_COLUMNS for content in contents]
    return _table(rows, numbers, problems, contents)


def _split(line: str, count: int) -> list[str] | None:
    """At commas that are not within quotes; the quotes stay, as in lines split at every comma."""
    values: list[str] = []
    start = 0
    while start <= len(line) and len(values) <= count:
        end = _VALUE.match(line, start).end()  # type: ignore[union-attr]
        values.append(line[start:end])
        start = end + 1
    return values if len(values) == count else None


def _table(
    columns: dict[str, Any], numbers: Any, problems: list[Any], contents: list[Any]
) -> pa.Table:
    return pa.table(
        {name: pa.array(values, pa.binary()) for name, values in columns.items()}
        | {
            "source_row": pa.array(numbers, pa.int64()),
            "problem": pa.array(problems, pa.string()),
            "content": pa.array(contents, pa.string()),
        }
    )


def _with_numbers(table: pa.Table, numbers: Any, nothing: list[None]) -> pa.Table:
    texts = pa.array(nothing, pa.string())
    return (
        table.append_column("source_row", pa.array(numbers, pa.int64()))
        .append_column("problem", texts)
        .append_column("content", texts)
    )


def _as_texts(table: pa.Table, columns: Sequence[str], doubled: Sequence[str]) -> pa.Table:
    """The chosen columns as texts; a row that is no UTF-8 keeps its bytes, escaped, as content.

    ``doubled`` are the quotes that the file has twice in a row somewhere.
    """
    texts, broken = {}, np.zeros(table.num_rows, dtype=bool)
    for name in columns:
        try:
            texts[name] = _undoubled(table[name].cast(pa.string()), doubled)
        except pa.ArrowInvalid:
            values = table[name].to_pylist()
            decoded = [None if v is None else v.decode("utf-8", "backslashreplace") for v in values]
            texts[name] = pa.chunked_array([pa.array(decoded, pa.string())])
            broken |= [v is not None and not _is_text(v) for v in values]
    problem, content = table["problem"], table["content"]
    if broken.any():
        mask = pa.array(broken)
        line = pc.binary_join_element_wise(*texts.values(), ",", null_handling="replace")
        problem = pc.if_else(mask, _WRONG_TEXT, problem)
        content = pc.if_else(mask, line, content)
    return pa.table(
        {"source_row": table["source_row"], **texts, "problem": problem, "content": content}
    )


def _undoubled(text: pa.ChunkedArray, quotes: Sequence[str]) -> pa.ChunkedArray:
    """A quote within quotes of its kind is written twice, and meant once."""
    for quote in quotes:
        is_doubled = pc.match_substring_regex(text, rf"^\s*{quote}.+{quote}{quote}.+{quote}\s*$")
        if pc.any(is_doubled).as_py():
            text = pc.if_else(is_doubled, pc.replace_substring(text, quote * 2, quote), text)
    return text


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def feed_order(table: pa.Table, splits: Sequence[int]) -> Any:
    """Positions of the rows in the order of the feed: by (step, source row).

    Lines from a split on came after all before them were fed, and follow them whatever their step.
    A line without a step goes with the line before it.
    """
    lines = table["source_row"].to_numpy()
    steps = _steps(table)
    parts = np.searchsorted(np.asarray(splits, dtype=np.int64), lines, side="right")
    return np.lexsort((lines, steps, parts))


def _steps(table: pa.Table) -> Any:
    text = pc.fill_null(pc.utf8_trim(table["step"], characters=QUOTES), "")
    is_step = pc.match_substring_regex(text, r"^[0-9]{1,9}$")
    steps = pc.cast(pc.if_else(is_step, text, "0"), pa.int64()).to_numpy()
    known = np.where(is_step.to_numpy(), np.arange(len(steps)), 0)
    return steps[np.maximum.accumulate(known)] if len(steps) else steps


class Fingerprint:
    """SHA-256 over rows, in their order, however they are cut."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, table: pa.Table) -> None:
        names = [name for name in table.column_names if name != "source_row"]
        for start in range(0, table.num_rows, _HASHED_ROWS):
            part = table.slice(start, _HASHED_ROWS)
            columns = [part[name].combine_chunks() for name in names]
            ended = pc.binary_join_element_wise(
                *columns, "\n", _SEPARATOR, null_handling="replace", null_replacement="\x00"
            )
            _, offsets, data = ended.buffers()
            ends = np.frombuffer(offsets, np.int32)[ended.offset : ended.offset + len(ended) + 1]
            self._sha256.update(memoryview(data)[ends[0] : ends[-1]])

    def __str__(self) -> str:
        return self._sha256.copy().hexdigest()
