"""Training rows against the histories that they must carry, row group by row group."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.encoded_rows import certainly_right, encoded_histories, may_hold
from training_assets.checks.files import (
    NULL,
    Batches,
    File,
    Ints,
    batch_of,
    ints,
    one_array,
    open_declared,
    without_nulls,
)
from training_assets.checks.padded_pages import PaddedRows, padded_rows
from training_assets.checks.shape import BOUNDS, LISTS, Lists, are_padded_actions, lists
from training_assets.list_format import SealedParquet
from training_assets.schemas import CUSTOMER_HISTORY, PADDING, TRAINING_INPUT

RIGHT: Final = "right"
LENGTH: Final = "length"
HOLES: Final = "holes"
WRONG: Final = "wrong"
MISORDERED: Final = "misordered"

GROUPS_DDL: Final = "number int, dt date, uri string, row_group int"
JUDGED_DDL: Final = "dt date, kind string, rows long, examples array<long>"
_JUDGED: Final = pa.schema(
    [
        ("dt", pa.date32()),
        ("kind", pa.string()),
        ("rows", pa.int64()),
        ("examples", pa.list_(pa.int64())),
    ]
)
NUM_EXAMPLES: Final = 3
# Of texts as long as the longest of them.
_KIND: Final = f"U{max(map(len, (RIGHT, LENGTH, HOLES, WRONG, MISORDERED)))}"
_COLUMNS: Final = ("customer_id", *LISTS[:2])
_ROWS_AT_ONCE: Final = 2_048


def judge_rows(
    groups: Batches, histories: Mapping[date, Sequence[str]], history_length: int
) -> Iterator[pa.RecordBatch]:
    """How many training rows of each row group are right, or wrong in which way.

    ``groups`` are rows of ``GROUPS_DDL``; ``histories`` has the files of customer_history by day.
    A row is charged with the first that is wrong of it: its length, its padding, its actions, their
    order. Holds the histories of one row group, and a few thousand training rows.
    """
    for group in (row for batch in groups for row in batch.to_pylist()):
        counts: dict[str, int] = defaultdict(int)
        examples: dict[str, set[int]] = defaultdict(set)
        with open_declared(TRAINING_INPUT, File(group["dt"], group["uri"])) as parquet:
            for kinds, customers, times in _judged(parquet, group, histories, history_length):
                for kind in np.unique(kinds).tolist():
                    is_kind = kinds == kind
                    counts[kind] += int(times[is_kind].sum())
                    if kind != RIGHT:
                        examples[kind] |= _some(customers.filter(pa.array(is_kind)))
        found = [
            (group["dt"], kind, count, sorted(examples[kind])[:NUM_EXAMPLES])
            for kind, count in counts.items()
        ]
        yield batch_of(found, _JUDGED)


def _some(customers: pa.Array) -> set[int]:
    return set(np.unique(customers.drop_null().to_numpy())[:NUM_EXAMPLES].tolist())


def _judged(
    parquet: SealedParquet,
    group: Mapping[str, Any],
    histories: Mapping[date, Sequence[str]],
    history_length: int,
) -> Iterator[tuple[Ints, pa.Array, Ints]]:
    """What is wrong of some rows, whose they are, and how many rows each of them stands for."""
    number = group["row_group"]
    ids = one_array(parquet.read(["customer_id"], [number], use_threads=False)["customer_id"])
    customers = np.unique(without_nulls(ids.drop_null()))
    files = [File(group["dt"], uri) for uri in histories.get(group["dt"], ())]
    known = _Histories(files, customers, history_length)
    carried = [padded_rows(parquet, number, name, history_length) for name in LISTS[:2]]
    if not any(column is None for column in carried):
        columns = [column for column in carried if column is not None]
        yield from _judged_once(known, ids, columns)
        return
    batches = parquet.iter_batches(
        _ROWS_AT_ONCE, row_groups=[number], columns=list(_COLUMNS), use_threads=False
    )
    for rows in batches:
        yield known.kinds_of(rows), rows["customer_id"], np.ones(len(rows), np.int64)


def _judged_once(
    known: "_Histories", ids: pa.Array, columns: Sequence[PaddedRows]
) -> Iterator[tuple[Ints, pa.Array, Ints]]:
    """Rows that are the same as the one before them are judged with it.

    The values are looked at only of rows whose places do not already say that they are right.
    """
    is_new = np.ones(len(ids), bool)
    is_new[1:] = without_nulls(ids)[1:] != without_nulls(ids)[:-1]
    is_valid = ids.is_valid().to_numpy(zero_copy_only=False)
    is_new[1:] |= is_valid[1:] != is_valid[:-1]
    for column in columns:
        is_new |= column.is_new
    firsts = np.flatnonzero(is_new)
    times = np.diff(firsts, append=len(ids))
    is_right = known.certainly_right(without_nulls(ids)[firsts], firsts, columns)
    is_right &= is_valid[firsts]
    right = np.full(int(np.count_nonzero(is_right)), RIGHT, _KIND)
    yield right, ids.take(pa.array(firsts[is_right])), times[is_right]
    firsts, times = firsts[~is_right], times[~is_right]
    for start in range(0, len(firsts), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        customers = ids.take(pa.array(firsts[some]))
        kinds = known.kinds_of_lists(customers, [c.values(firsts[some]) for c in columns])
        yield kinds, customers, times[some]


class _Opened(NamedTuple):
    """Histories of files: their customers, sorted, and the lists of items and types."""

    customers: Ints
    lists: list[Lists]


class _Histories:
    """The histories of some customers (sorted) on one day, as their training rows must be."""

    def __init__(self, files: Sequence[File], customers: Ints, history_length: int) -> None:
        self._files, self._wanted, self._length = files, customers, history_length
        self._open: _Opened | None = None

    def _opened(self) -> _Opened:
        """What is read once, when it is first needed.

        No cached property: before Python 3.12 it holds a lock, with which no class travels to the
        workers of a cluster.
        """
        if self._open is None:
            empty = CUSTOMER_HISTORY.arrow_schema.empty_table().select(_COLUMNS)
            found = [rows for file in self._files for rows in _histories_of(file, self._wanted)]
            table = pa.concat_tables([empty, *found]).sort_by("customer_id")
            columns = [lists(table[name]) for name in LISTS[:2]]
            self._open = _Opened(ints(table["customer_id"]), columns)
        return self._open

    def certainly_right(self, customers: Ints, rows: Ints, columns: Sequence[PaddedRows]) -> Ints:
        """Of some rows of the columns, as ``encoded_rows`` says it."""
        encoded = encoded_histories(self._files, self._wanted)
        return certainly_right(encoded, customers, rows, columns, self._length)

    def kinds_of(self, rows: pa.RecordBatch) -> Ints:
        """``RIGHT``, or the first that is wrong of each training row."""
        kinds = np.full(len(rows), LENGTH, _KIND)
        fits = np.ones(len(rows), bool)
        for name in LISTS[:2]:
            fits &= pc.fill_null(pc.list_value_length(rows[name]), -1).to_numpy() == self._length
        some = rows if fits.all() else rows.filter(pa.array(fits))
        carried = [
            pc.fill_null(some[name].flatten(), NULL).to_numpy().reshape(len(some), self._length)
            for name in LISTS[:2]
        ]
        kinds[fits] = self.kinds_of_lists(some["customer_id"], carried)
        return kinds

    def kinds_of_lists(self, ids: pa.Array, carried: list[Ints]) -> Ints:
        """The same of items and types [rows, history_length] that are as long as they must be."""
        customers, history = np.unique(pc.fill_null(ids, 0).to_numpy(), return_inverse=True)
        is_known, padded = self._padded(customers)
        is_same = is_known[history] & ids.is_valid().to_numpy(zero_copy_only=False)
        may_be_misordered = is_same.copy()
        for values, true in zip(carried, padded, strict=True):
            is_same &= (values == true.take(history, axis=0)).all(axis=1)
        kinds = np.full(len(is_same), WRONG, _KIND)
        kinds[is_same] = RIGHT
        others = np.flatnonzero(~is_same)
        if len(others):
            items, types = (values[others] for values in carried)
            true_items, true_types = (true.take(history[others], axis=0) for true in padded)
            same_actions = _in_order(items, types) == _in_order(true_items, true_types)
            is_misordered = may_be_misordered[others] & same_actions.all(axis=1)
            kinds[others[is_misordered]] = MISORDERED
            kinds[others[~are_padded_actions(items, types)]] = HOLES
        return kinds

    def _padded(self, customers: Ints) -> tuple[Ints, list[Ints]]:
        """Whether each customer has a history without a hole; its items, its types."""
        acted, columns = self._opened()
        place = np.searchsorted(acted, customers)
        is_right = np.zeros(len(customers), bool)
        within = np.flatnonzero(place < len(acted))
        is_right[within] = acted[place[within]] == customers[within]
        known = np.flatnonzero(is_right)
        padded, all_sizes = [], []
        for (offsets, values, _), (low, high) in zip(columns, BOUNDS, strict=True):
            starts = offsets[place[known]]
            sizes = np.minimum(offsets[place[known] + 1] - starts, self._length)
            row = np.repeat(known, sizes)
            position = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            found = values[np.repeat(starts, sizes) + position]
            target = np.full((len(customers), self._length), PADDING, np.int32)
            target[row, position] = found
            is_right[row[(found < low) | (found > high)]] = False
            padded.append(target)
            all_sizes.append(sizes)
        is_right[known[all_sizes[0] != all_sizes[1]]] = False
        return is_right, padded


def _in_order(items: Ints, types: Ints) -> Ints:
    """Each row's pairs of item and type, sorted."""
    return np.sort(items.astype(np.int64) * 2**32 + types, axis=1)


def _histories_of(file: File, customers: Ints) -> Iterator[pa.Table]:
    """Rows of those customers; without an array there is no history."""
    wanted = pa.array(customers)
    with open_declared(CUSTOMER_HISTORY, file) as parquet:
        for group in range(parquet.num_row_groups if len(customers) else 0):
            if not may_hold(parquet, group, int(customers[0]), int(customers[-1])):
                continue
            rows = parquet.read(_COLUMNS, [group], use_threads=False).select(_COLUMNS)
            is_wanted = pc.is_in(rows["customer_id"], wanted)
            for name in LISTS[:2]:
                is_wanted = pc.and_(is_wanted, pc.is_valid(rows[name]))
            yield rows.filter(is_wanted)
