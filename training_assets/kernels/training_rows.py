"""Writes training rows: each ranking's items beside the padded history of its customer.

Histories are read as they were published, sorted by customer, and padded once each; see
``list_format`` for why that is enough.
"""

import io
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.errors import SchemaError
from training_assets.kernels.action_files import row_group_bounds
from training_assets.kernels.day_files import (
    PART,
    grouped,
    ints,
    write_part,
    written_batch,
)
from training_assets.kernels.timelines import Ints
from training_assets.list_format import (
    JaggedLists,
    ListFormat,
    ListParquetReader,
    SharedLists,
    open_writer,
)
from training_assets.list_format.arrays import as_list
from training_assets.schemas import IMPRESSIONS, TRAINING_INPUT

_RANKING_COLUMNS: Final = ("customer_id", "ranking_id", "impressions")
_ROWS_PER_GROUP: Final = 32_768
_VALUES_PER_GROUP: Final = 2**25
_USES_PER_ENTRY: Final = 8
_LISTS: Final = ("action_items", "action_types")
# The newest items and types of each of some sorted customers, at most so many; items have a
# dictionary.
Newest: TypeAlias = Callable[[Ints, int], tuple[JaggedLists, JaggedLists]]
Columns: TypeAlias = list[pa.Array | SharedLists]
RANKINGS_DDL: Final = (
    "dt date, part int, customer_id long, ranking_id string, "
    "impressions array<struct<item_id:int,is_order:boolean>>"
)
_RANKINGS: Final = pa.schema(
    [
        ("dt", pa.date32()),
        (PART, pa.int32()),
        *((name, IMPRESSIONS.arrow_schema.field(name).type) for name in _RANKING_COLUMNS),
    ]
)


def assign_parts(
    batches: Iterable[pa.RecordBatch], boundaries: Mapping[int, Sequence[int]]
) -> Iterator[pa.RecordBatch]:
    """Rankings with the number of the file that they go to.

    File ``n`` of a day has the customers from ``boundaries[day][n - 1]`` to before
    ``boundaries[day][n]``.
    """
    for batch in batches:
        days = batch["dt"].view(pa.int32()).to_numpy()
        customers = batch["customer_id"].to_numpy()
        parts = np.zeros(len(days), np.int32)
        for day in np.unique(days):
            if cuts := boundaries.get(int(day)):
                rows = np.flatnonzero(days == day)
                parts[rows] = np.searchsorted(np.array(cuts), customers[rows], side="right")
        columns = [batch["dt"], pa.array(parts), *(batch[name] for name in _RANKING_COLUMNS)]
        casts = zip(columns, _RANKINGS.types, strict=True)
        yield pa.RecordBatch.from_arrays([c.cast(t) for c, t in casts], schema=_RANKINGS)


def write_training_rows(
    batches: Iterable[pa.RecordBatch],
    root: str,
    run: str,
    histories: Mapping[int, Sequence[str]],
    history_length: int,
    list_format: ListFormat = "lists",
) -> Iterator[pa.RecordBatch]:
    """``training_input`` of rankings (dt, part, customer_id, ranking_id, impressions).

    ``root`` is the folder of the table, ``run`` 12 hexadecimal digits. ``histories`` has the files
    (paths or URLs) of customer_history by day; a customer without one gets zeros. Rows are ordered
    by customer, ranking and place in the ranking. Yields what ``WRITTEN_DDL`` says.
    """
    written = []
    for day, part, shown in grouped(batches):
        reader, rankings = HistoryReader(histories.get(day, ())), in_order_of_rows(shown)
        counts = np.diff(ints_of(as_list(rankings["impressions"]).offsets))
        if not counts.sum():
            continue
        sink = io.BytesIO()
        with open_writer(sink, TRAINING_INPUT.arrow_schema, list_format) as writer:
            for columns in row_groups(
                rankings, reader.newest, history_length, max_values=_VALUES_PER_GROUP
            ):
                writer.write_group(columns)
        customers = np.repeat(ints(rankings["customer_id"]), counts)
        written.append(write_part(root, run, day, part, sink.getbuffer(), customers))
    yield written_batch(written)


class HistoryReader:
    """Histories of one day for ranges of customers that ascend."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._files = [ListParquetReader(path) for path in paths]
        self._groups = [
            (bounds, number, group)
            for number, file in enumerate(self._files)
            for group in range(file.metadata.num_row_groups)
            if (bounds := row_group_bounds(file.metadata, group)) is not None
        ]
        self._known: OrderedDict[tuple[int, int], _Group] = OrderedDict()

    def newest(self, customers: Ints, length: int) -> tuple[JaggedLists, JaggedLists]:
        """The first ``length`` items and types of each of some sorted customers.

        A customer without a history has none. Items have a dictionary.
        """
        rows: list[Ints] = []
        items: list[JaggedLists] = []
        kinds: list[JaggedLists] = []
        for (low, high), number, group in self._groups:
            if low > customers[-1] or high < customers[0]:
                continue
            own, *lists = self._read(number, group)
            found = np.searchsorted(customers, own)
            is_wanted = found < len(customers)
            is_wanted[is_wanted] = customers[found[is_wanted]] == own[is_wanted]
            wanted = np.flatnonzero(is_wanted)
            rows.append(found.take(wanted))
            for column, part in zip((items, kinds), lists, strict=True):
                column.append(part.take(wanted, at_most=length))
        if not rows:
            nothing = JaggedLists(np.zeros(0, np.int8), np.zeros(len(customers) + 1, np.int64))
            return nothing.encoded(), nothing
        place = np.concatenate(rows)
        if not (np.diff(place) > 0).all():
            raise SchemaError(
                "customer_history: customers of a day do not ascend; expected each once, files and "
                "rows by customer. Publish the day again."
            )
        of_items, of_kinds = _together(items), JaggedLists.concat(kinds)
        sizes = np.zeros(len(customers), np.int64)
        sizes[place] = np.diff(of_items.offsets)
        offsets = np.concatenate(([0], np.cumsum(sizes)))
        return replace(of_items, offsets=offsets), replace(of_kinds, offsets=offsets)

    def _read(self, number: int, group: int) -> "_Group":
        key = (number, group)
        if key not in self._known:
            file = self._files[number]
            file.load(group, "customer_id", *_LISTS)
            items, kinds = (file.lists(group, name) for name in _LISTS)
            ids = ints(file.scalars(group, "customer_id"))
            self._known[key] = _Group(ids, items.encoded(), kinds.plain())
            # Customers ascend, so that at most one group of each file is needed again.
            while len(self._known) > len(self._files):
                self._known.popitem(last=False)
        return self._known[key]


def _together(items: Sequence[JaggedLists]) -> JaggedLists:
    """One after another, with one dictionary."""
    first, *others = items
    assert first.dictionary is not None
    if others or len(first.values) < _USES_PER_ENTRY * len(first.dictionary):
        return JaggedLists.concat(items)
    # As it was read: to leave out what no value uses would take more time than it saves bytes.
    return first


def _padded(items: JaggedLists, index: Ints, length: int) -> SharedLists:
    """Of each row the items and zeros, which get the last place."""
    assert items.dictionary is not None
    padding = len(items.dictionary)
    dictionary = np.append(items.dictionary, np.zeros(1, np.int32))
    return SharedLists(replace(items, dictionary=dictionary), index, length, padding)


class _Group(NamedTuple):
    """A row group of histories."""

    customers: Ints
    items: JaggedLists
    kinds: JaggedLists


def row_groups(
    rankings: pa.Table, newest: Newest, length: int, *, max_values: int
) -> Iterator[Columns]:
    """The columns of ``training_input`` without ``dt``, for whole rankings of one day at a time.

    ``rankings`` are in the order of the rows. A group has about ``max_values`` values of each
    array, or one ranking.
    """
    customers, items = ints(rankings["customer_id"]), as_list(rankings["impressions"])
    counts = np.diff(ints_of(items.offsets))
    ends = np.cumsum(counts)
    size = max(1, min(_ROWS_PER_GROUP, max_values // length))
    cuts = np.flatnonzero(np.diff((ends - 1) // size, prepend=-1))
    for low, high in zip(cuts, [*cuts[1:], len(ends)], strict=True):
        known, of_ranking = np.unique(customers[low:high], return_inverse=True)
        own_items, own_kinds = newest(known, length)
        ranking = np.repeat(np.arange(low, high), counts[low:high])
        index = np.repeat(of_ranking, counts[low:high])
        if not len(ranking):
            continue
        start = int(ends[low] - counts[low])
        shown = items.values.slice(items.offsets[0].as_py() + start, int(ends[high - 1]) - start)
        yield [
            pa.array(customers.take(ranking)),
            rankings["ranking_id"].take(ranking).combine_chunks(),
            shown.field("item_id"),
            shown.field("is_order").cast(pa.int32()),
            _padded(own_items, index, length),
            SharedLists(own_kinds, index, length),
        ]


def in_order_of_rows(rankings: pa.Table) -> pa.Table:
    """Rankings of one day by customer, ranking and, where it is the same twice, items."""
    # Without a name first; as a key of its own, because how to say so differs by version.
    named = rankings.append_column("named", pc.is_valid(rankings["ranking_id"]))
    keys = [(name, "ascending") for name in ("customer_id", "named", "ranking_id")]
    rankings = rankings.take(pc.sort_indices(named, sort_keys=keys)).combine_chunks()
    customers, names = ints(rankings["customer_id"]), rankings["ranking_id"]
    if len(rankings) < 2:
        return rankings
    is_same = customers[1:] == customers[:-1]
    equal = pc.equal(names.slice(1), names.slice(0, len(names) - 1))
    both_null = pc.and_(pc.is_null(names.slice(1)), pc.is_null(names.slice(0, len(names) - 1)))
    is_same &= pc.or_(pc.fill_null(equal, False), both_null).to_numpy()
    if not is_same.any():
        return rankings
    # The same ranking twice: its items decide, so that two runs give the same rows.
    return rankings.take(_by_items(rankings, is_same))


def _by_items(rankings: pa.Table, is_same: Any) -> Ints:
    order = np.arange(len(rankings))
    group = np.concatenate(([0], np.cumsum(~is_same)))
    tied = np.flatnonzero(np.append(is_same, False) | np.insert(is_same, 0, False))
    items = rankings["impressions"].take(tied).to_pylist()
    keys = {
        int(row): (int(group[row]), [(item["item_id"], item["is_order"]) for item in shown or ()])
        for row, shown in zip(tied, items, strict=True)
    }
    order[tied] = sorted(keys, key=lambda row: keys[row])
    return order


def ints_of(array: pa.Array) -> Ints:
    values: Ints = array.to_numpy(zero_copy_only=False)
    return values
