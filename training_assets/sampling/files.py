"""Sample files of a day: delivered ids, the context of each positive, and features, put beside.

Sampled rows are thin. What is the same for many of them is read here once for a file, and gathered.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.kernels.day_files import (
    PART,
    Written,
    ints,
    runs,
    write_part,
    written_batch,
)
from training_assets.kernels.integers import each_once, finder
from training_assets.list_format import SealedParquet
from training_assets.sampling.contexts import COLUMNS, contexts
from training_assets.sampling.seen import pair_codes
from training_assets.schemas import Table

_GROUP_ROWS: Final = 131_072
# Without a dictionary these take less time and room: items come in no order, times hardly twice.
_PLAIN: Final = ("item_number", "occurred_at")
# These too where they are numbers; texts are longer than their place in a dictionary.
_ITEMS: Final = ("item_id", "positive_item_id")
_IF_ABSENT: Final = {"has_time": True, "is_bot": False}


@dataclass(frozen=True)
class Joined:
    """A table of features by one id: ``key`` is its column, ``of`` that of the samples.

    ``columns`` gives the name in the samples of each; ``files`` are what is published, by day.
    """

    key: str
    of: str
    columns: Mapping[str, str]
    files: Mapping[int, Sequence[str]]


@dataclass(frozen=True)
class Beside:
    """What is put beside sampled rows. actions: files by day; kinds: those of positives.

    texts: files of the texts of ``customer_id`` and ``item_id``, where ids are delivered as text.
    """

    actions: Mapping[int, Sequence[str]]
    kinds: tuple[int, ...]
    joined: Sequence[Joined] = ()
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)


def write_samples(
    batches: Iterator[pa.RecordBatch], table: Table, root: str, run: str, beside: Beside
) -> Iterator[pa.RecordBatch]:
    """Rows of ``days.ROWS_DDL`` with a ``part``; yields what ``WRITTEN_DDL`` says."""
    written: list[Written] = []
    plain = _PLAIN if beside.texts.get("item_id") else (*_PLAIN, *_ITEMS)
    for day, part, rows in _by_pair(batches):
        columns = _columns(rows, table, day, beside)
        sink = pa.BufferOutputStream()
        pq.write_table(
            columns,
            sink,
            compression="zstd",
            use_dictionary=[n for n in columns.column_names if n not in plain],
            row_group_size=_GROUP_ROWS,
            max_rows_per_page=_GROUP_ROWS,
            write_page_checksum=True,
        )
        customers = ints(columns["customer_id"])
        written.append(write_part(root, run, day, part, sink.getvalue(), customers))
    yield written_batch(written)


def _by_pair(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, int, pa.Table]]:
    """(day, part, rows) of all groups, by customer and item; each row is moved once."""
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return
    table = pa.Table.from_batches(found).combine_chunks()
    day, part, customers, items = (
        ints(table[name]) for name in ("dt", PART, "customer_id", "item_id")
    )
    for rows in runs(np.lexsort((part, day)), day, part):
        customer = customers.take(rows)
        places = finder(each_once(customer.copy()))(customer)
        order = np.argsort(pair_codes(places.astype(np.int64), items.take(rows)))
        yield int(day[rows[0]]), int(part[rows[0]]), table.take(rows.take(order))


def _columns(rows: pa.Table, table: Table, day: int, beside: Beside) -> pa.Table:
    customers, items = ints(rows["customer_id"]), ints(rows["item_id"])
    of = ints(rows["positive_item"])
    found: dict[str, Any] = {name: rows[name] for name in rows.column_names}
    found["item_number"] = rows["item_id"]
    texts = beside.texts
    found["user_id"] = _delivered(customers, texts.get("customer_id", ()))
    found["item_id"] = _delivered(items, texts.get("item_id", ()))
    found["positive_item_id"] = _delivered(of, texts.get("item_id", ()))
    actions = _actions(beside.actions.get(day, ()), each_once(customers.copy()))
    of_pairs = contexts(actions, beside.kinds).of(customers, of)
    found |= {name: of_pairs[name] for name in of_pairs.column_names}
    for joined in beside.joined:
        ids = customers if joined.of == "customer_id" else items
        found |= _gathered(joined, day, ids)
    schema = table.arrow_schema
    nothing = _Nothing(len(rows))
    arrays = [found[f.name].cast(f.type) if f.name in found else nothing.of(f.type) for f in schema]
    return pa.table(arrays, schema=schema)


class _Nothing:
    """Columns of nulls, which share the zeros that they are made of."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._zeros = pa.py_buffer(bytes(16 * (size + 1)))

    def of(self, kind: pa.DataType) -> pa.Array:
        buffers = [self._zeros] * kind.num_buffers
        return pa.Array.from_buffers(kind, self._size, buffers, null_count=self._size)


def _gathered(joined: Joined, day: int, ids: npt.NDArray[Any]) -> dict[str, pa.ChunkedArray]:
    """The columns for each of the ids; null where there is no row, and where none is published."""
    names = list(joined.columns)
    parts = []
    for uri in joined.files.get(day, ()):
        with SealedParquet(uri) as parquet:
            present = [n for n in names if n in parquet.schema_arrow.names]
            part = parquet.read([joined.key, *present], use_threads=False)
        is_asked = np.isin(ints(part[joined.key]), ids)
        parts.append(part if is_asked.all() else part.filter(pa.array(is_asked)))
    if not parts:
        return {}
    features = pa.concat_tables(parts, promote_options="default").combine_chunks()
    keys = ints(features[joined.key])
    order = np.argsort(keys, kind="stable")
    place = np.searchsorted(keys[order], ids)
    place = np.minimum(place, max(len(keys) - 1, 0))
    is_found = keys[order][place] == ids if len(keys) else np.zeros(len(ids), np.bool_)
    rows = pa.array(order[place] if len(keys) else place, mask=~is_found)
    return {
        joined.columns[name]: features[name].take(rows)
        for name in features.column_names
        if name != joined.key
    }


def _actions(uris: Sequence[str], customers: npt.NDArray[Any]) -> pa.Table:
    parts = []
    for uri in uris:
        with SealedParquet(uri) as parquet:
            fields = parquet.schema_arrow
            present = [name for name in COLUMNS if name in fields.names]
            part = parquet.read(present, use_threads=False)
        for name in set(COLUMNS) - set(present):
            kind = pa.string() if name == "session_id" else pa.bool_()
            value = pa.repeat(pa.scalar(_IF_ABSENT.get(name), kind), len(part))
            part = part.append_column(name, value)
        part = part.select(list(COLUMNS))
        is_own = np.isin(ints(part["customer_id"]), customers)
        parts.append(part if is_own.all() else part.filter(pa.array(is_own)))
    if not parts:
        schema = pa.schema(
            [
                ("customer_id", pa.int64()),
                ("item_id", pa.int32()),
                ("action_type", pa.int8()),
                ("occurred_at", pa.timestamp("us", "UTC")),
                ("has_time", pa.bool_()),
                ("is_bot", pa.bool_()),
                ("session_id", pa.string()),
            ]
        )
        return schema.empty_table()
    return pa.concat_tables(parts).combine_chunks()


def _delivered(ids: npt.NDArray[Any], uris: Sequence[str]) -> pa.ChunkedArray:
    """The text of each id; where there is none, the number itself was delivered."""
    if not uris:
        return pa.chunked_array([pa.array(ids).cast(pa.string())])
    distinct = each_once(ids.copy())
    texts = pa.array(distinct).cast(pa.string())
    for uri in uris:
        with SealedParquet(uri) as parquet:
            known = parquet.read(["id", "text"], use_threads=False)
        at = pc.index_in(pa.array(distinct, pa.int64()), value_set=known["id"].cast(pa.int64()))
        found = (
            known["text"]
            .combine_chunks()
            .take(at.combine_chunks() if hasattr(at, "combine_chunks") else at)
        )
        texts = pc.coalesce(found, texts)
    return pa.chunked_array([texts.take(pa.array(finder(distinct)(ids)))])
