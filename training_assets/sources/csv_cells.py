"""Blocks of CSV as cells: by ``pyarrow.csv`` where that is without a doubt, else row by row.

Without a doubt is a row whose quotes stand where CSV has them, that is UTF-8 and has no carriage
return of its own. Of the others each is read by itself, so that none spoils another.
"""

import csv
import io
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from training_assets.sources.blocks import Block, patterns
from training_assets.sources.columns import no_faults
from training_assets.sources.reading import Dialect

NOT_UTF8: Final = "row is not UTF-8"
_NOT_CSV: Final = "row is not CSV"
_RAGGED: Final = "row has another number of cells than the header"
# Python refuses cells, and so rankings, of more than 131,072 characters.
csv.field_size_limit(sys.maxsize)


class Cells(NamedTuple):
    """Texts by place of the column, null where there is none, and what is wrong with rows."""

    texts: dict[int, pa.Array]
    faults: pa.Array


def read_cells(block: Block, dialect: Dialect, width: int, places: Sequence[int]) -> Cells:
    """The cells at ``places`` of rows that should have ``width`` cells."""
    doubtful = doubtful_rows(block, dialect)
    is_sure = np.ones(len(block), bool)
    is_sure[doubtful] = False
    found = _at_once(block, is_sure, dialect, width, places)
    if found is None:
        is_sure[:] = False
        columns = {place: pa.array([], pa.string()) for place in places}
        skipped: list[int] = []
    else:
        columns, skipped = found
    sure = np.flatnonzero(is_sure)
    if skipped:
        ragged = sure[np.array(skipped)]
        is_sure[ragged] = False
        sure = np.flatnonzero(is_sure)
    if len(sure) == len(block):
        return Cells({p: _blanks_as_null(t) for p, t in columns.items()}, no_faults(len(block)))
    others = np.flatnonzero(~is_sure)
    rows, reasons = _one_by_one(block, others, dialect, width)
    order = np.empty(len(block), np.int64)
    order[sure] = np.arange(len(sure))
    order[others] = len(sure) + np.arange(len(others))
    nulls = frozenset(("", *dialect.null))
    texts = {}
    for place in places:
        single = [None if row is None or row[place] in nulls else row[place] for row in rows]
        both = pa.concat_arrays([columns[place], pa.array(single, pa.string())])
        texts[place] = _blanks_as_null(both.take(pa.array(order)))
    faults = pa.concat_arrays([no_faults(len(sure)), pa.array(reasons, pa.string())])
    return Cells(texts, faults.take(pa.array(order)))


def _blanks_as_null(texts: pa.Array) -> pa.Array:
    if not _may_be_blank(texts):
        return texts
    is_blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    if not pc.any(is_blank, min_count=0).as_py():
        return texts
    return pc.if_else(pc.fill_null(is_blank, False), pa.scalar(None, pa.string()), texts)


def _may_be_blank(texts: pa.Array) -> bool:
    """Whether any text begins with a byte that a blank may begin with; none of them is empty."""
    _, offsets, data = texts.buffers()
    if data is None or not data.size:
        return False
    starts = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts)]
    first = np.frombuffer(data, np.uint8).take(starts, mode="clip")
    # Nulls show the byte of a neighbour, which at worst is looked at again.
    return bool(((first <= 32) | (first >= 127)).any())


def doubtful_rows(block: Block, dialect: Dialect) -> list[int]:
    """Rows that only a reader of single rows may judge."""
    found = not_utf8_rows(block)
    array = np.frombuffer(block.data, np.uint8)
    if not block.is_plain:
        plain = patterns(dialect.delimiter).plain
        for n in _owners(block, np.flatnonzero(array == ord('"'))):
            if not plain.fullmatch(block.row(n)):
                found.add(n)
    if b"\r" in block.data:
        found.update(_owners(block, np.flatnonzero(array == ord("\r"))))
    return sorted(found)


def not_utf8_rows(block: Block) -> set[int]:
    if block.data.isascii():
        return set()
    try:
        block.data.decode()
    except UnicodeDecodeError:
        pass
    else:
        return set()
    odd = np.flatnonzero(np.frombuffer(block.data, np.uint8) >= 0x80)
    return {n for n in _owners(block, odd) if not _is_utf8(block.row(n))}


def _owners(block: Block, places: np.ndarray) -> list[int]:
    """The rows in which these bytes stand."""
    rows = np.searchsorted(block.starts, places, side="right") - 1
    is_inside = (rows >= 0) & (places < block.stops[np.maximum(rows, 0)])
    owners: list[int] = np.unique(rows[is_inside]).tolist()
    return owners


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def joined_rows(block: Block, is_kept: np.ndarray) -> bytes | memoryview:
    """The kept rows, a line each as far as they are of one line."""
    # Between rows of an array stands a comma.
    is_line = block.data_at(block.stops[:-1]) <= ord("\r")
    if is_kept.all():
        gaps = block.starts[1:] - block.stops[:-1]
        if not len(gaps) or (gaps.max() <= 2 and is_line.all()):
            return memoryview(block.data)[block.starts[0] : block.stops[-1]]
    kept = np.flatnonzero(is_kept)
    if not len(kept):
        return b""
    # Runs of rows with nothing but a line end between them are copied at once.
    is_new = np.ones(len(kept), bool)
    is_new[1:] = (np.diff(kept) > 1) | (block.starts[kept[1:]] - block.stops[kept[:-1]] > 2)
    is_new[1:] |= ~is_line[kept[:-1]]
    first = np.flatnonzero(is_new)
    last = np.append(first[1:] - 1, len(kept) - 1)
    pairs = zip(block.starts[kept[first]].tolist(), block.stops[kept[last]].tolist(), strict=True)
    return b"\n".join(block.data[start:stop] for start, stop in pairs) + b"\n"


def _at_once(
    block: Block, is_sure: np.ndarray, dialect: Dialect, width: int, places: Sequence[int]
) -> tuple[dict[int, pa.Array], list[int]] | None:
    """Cells of the sure rows but those of another width, and which of them these are."""
    skipped: list[int] = []
    if not places or not is_sure.any():
        return None

    def skip(row: Any) -> str:
        skipped.append(row.number - 1)
        return "skip"

    data = joined_rows(block, is_sure)
    names = [str(n) for n in range(width)]
    wanted = [str(n) for n in places]
    try:
        table = pa_csv.read_csv(
            pa.py_buffer(data),
            pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
            pa_csv.ParseOptions(
                delimiter=dialect.delimiter,
                newlines_in_values=b'"' in block.data,
                invalid_row_handler=skip,
            ),
            pa_csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                strings_can_be_null=True,
                null_values=["", *dialect.null],
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows + len(skipped) != int(is_sure.sum()):
        return None
    columns = {place: _whole(table[str(place)]) for place in places}
    return columns, skipped


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _one_by_one(
    block: Block, numbers: np.ndarray, dialect: Dialect, width: int
) -> tuple[list[list[str] | None], list[str | None]]:
    rows: list[list[str] | None] = []
    reasons: list[str | None] = []
    for n in numbers.tolist():
        try:
            cells = parse_row(block.row(n), dialect)
            if len(cells) != width:
                raise ValueError(_RAGGED)
        except UnicodeDecodeError:
            rows.append(None)
            reasons.append(NOT_UTF8)
        except ValueError as error:
            rows.append(None)
            reasons.append(str(error))
        else:
            rows.append(cells)
            reasons.append(None)
    return rows, reasons


def parse_row(data: bytes, dialect: Dialect) -> list[str]:
    """The cells of one row; raises ``ValueError`` with the reason."""
    text = data.decode()
    if '"' not in text and "\r" not in text:
        return text.split(dialect.delimiter)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=dialect.delimiter)
    try:
        rows = list(reader)
    except csv.Error:
        raise ValueError(_NOT_CSV) from None
    if len(rows) != 1:
        raise ValueError(_NOT_CSV)
    return rows[0]
