"""Of equal rows of a source one counts, where that is declared; the others go to the quarantine.

Rows of a customer's day are all in one task, so that equal ones meet wherever they were read, and a
task holds no more than it writes anyway. Rows are equal in all columns of their source that are
read; what ``unified_actions`` has no column for comes along for it (``EXTRA_DDL``).
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.kernels.timelines import Ints
from training_assets.list_format import file_hash, seal, write_file
from training_assets.schemas import QUARANTINE, RE_DELIVERED_ROW, Table, re_delivered

# Which of the sources that are told a row is of, null for all others; and the size of its article.
SOURCE: Final = "source"
VARIANT: Final = "simple_id"
EXTRA_DDL: Final = {SOURCE: "tinyint", VARIANT: "int"}
_KEYS: Final = ("customer_id", "item_id", "occurred_at", "has_time", SOURCE, VARIANT)
_NONE: Final = -(2**40)
_GROUP_ROWS: Final = 65_536
_EPOCH: Final = date(1970, 1, 1).toordinal()
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


def without_equal_rows(
    rows: pa.Table, sources: Sequence[Table], root: str, run: str, day: int, part: int
) -> pa.Table:
    """The rows of a day and part, of equal ones of a source the first; writes the others.

    ``sources`` are those whose equal rows are one, by the number in the column ``source``.
    """
    is_again = _are_again(rows)
    if not is_again.any():
        return rows
    again = rows.filter(pa.array(is_again))
    for number, source in enumerate(sources):
        own = again.filter(pc.fill_null(pc.equal(again[SOURCE], number), False))
        if len(own):
            _write(own, source, root, run, date.fromordinal(day + _EPOCH), part)
    return rows.filter(pa.array(~is_again))


def _are_again(rows: pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    is_again = np.zeros(len(rows), bool)
    places = np.flatnonzero(np.asarray(pc.is_valid(rows[SOURCE])))
    if not len(places):
        return is_again
    own = rows if len(places) == len(rows) else rows.take(places)
    keys = [_as_ints(own[name]) for name in _KEYS]
    # Few are equal: only rows that share a hash are compared.
    hashes = np.zeros(len(places), np.uint64)
    for key in keys:
        hashes = (hashes ^ key.view(np.uint64)) * _ODD
        hashes ^= hashes >> np.uint64(29)
    order = np.argsort(hashes)
    shared = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if not len(shared):
        return is_again
    some = np.unique(order[np.concatenate([shared, shared + 1])])
    few = [key[some] for key in keys]
    order = np.lexsort(few)
    is_same = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in few])
    is_again[places[some[order[1:][is_same]]]] = True
    return is_again


def _as_ints(column: pa.ChunkedArray) -> Ints:
    array = column.combine_chunks()
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", array.type.tz))
    found: Ints = np.asarray(pc.fill_null(array.cast(pa.int64()), _NONE))
    return found


def _write(rows: pa.Table, source: Table, root: str, run: str, day: date, part: int) -> None:
    """Each row as JSON under the names of its source, in an order that is the same for all."""
    contents = _as_json(rows, source, day).sort()
    sink = pa.BufferOutputStream()
    schema = QUARANTINE.arrow_schema
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        for start in range(0, len(contents), _GROUP_ROWS):
            some = contents.slice(start, _GROUP_ROWS).cast(pa.string())
            told = {"reason": RE_DELIVERED_ROW, "source_file": ""}
            texts = {name: pa.repeat(text, len(some)) for name, text in told.items()}
            columns = {**texts, "content": some}
            arrays = [columns[name] for name in schema.names]
            writer.write_table(pa.table(arrays, schema=schema), _GROUP_ROWS)
    content = seal(sink.getvalue())
    folder = f"{root}/_quarantine/dt={day}/{run}/source={re_delivered(source).name}"
    write_file(f"{folder}/part-{part:05d}-{file_hash(content)}-{run}.pq", content)


def _as_json(rows: pa.Table, source: Table, day: date) -> pa.LargeStringArray:
    values = _texts_by_type(rows)
    pieces: list[pa.Array | pa.Scalar] = []
    for column in source.columns:
        lead = "{" if not pieces else ", "
        pieces.append(_text(f'{lead}"{column.name}": '))
        known = _text(f'"{day}"') if column.name == source.day_column else None
        name = column.name if column.name in values else column.type
        pieces.append(values[name] if known is None else known)
    joined = pc.binary_join_element_wise(*pieces, _text("}"), _text(""))
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _texts_by_type(rows: pa.Table) -> Mapping[str, pa.Array]:
    """By the name of a source's column, or by its type: the time is called differently in each."""
    items, at = _shown(rows["item_id"]), rows["occurred_at"].cast(pa.timestamp("us", "UTC"))
    times = pc.binary_join_element_wise(_text('"'), _shown(at), _text('"'), _text(""))
    return {
        "customer_id": _shown(rows["customer_id"]),
        "item_id": items,
        "config_id": items,
        VARIANT: _shown(rows[VARIANT]),
        "timestamp": pc.if_else(rows["has_time"], times, _text("null")),
    }


def _shown(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(column.cast(pa.large_string()), "null")


def _text(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())
