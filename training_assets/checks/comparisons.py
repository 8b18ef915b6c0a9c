"""What the workers compare for the checks: Arrow and NumPy, row by row, as the contract says it.

No way is shared with the kernels that build the tables: a history is taken from the actions anew
for each day, and training rows are read by another reader than the writer of their files.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from training_assets.kernels.day_files import ints
from training_assets.kernels.timelines import Ints
from training_assets.list_format.arrays import as_list
from training_assets.schemas import (
    ACTION_TYPES,
    CUSTOMER_HISTORY,
    MAX_ITEM_ID,
    MIN_ITEM_ID,
    PADDING,
    UNIFIED_ACTIONS,
)

ACTION: Final = ("occurred_at", "item_id", "action_type")
LISTS: Final = ("action_items", "action_types", "action_days_ago")
COMPARED_DDL: Final = (
    "dt date, customer_id long, wrong boolean, misordered boolean, not_before long, too_old boolean"
)
FILES_DDL: Final = "number int, dt date, path string"
# Histories as bytes: a null for each list of each action takes Spark minutes.
BOTH_DDL: Final = (
    "customer_id long, dt date, occurred_at timestamp, item_id int, action_type tinyint, "
    "history binary"
)
GROUPS_DDL: Final = "number int, dt date, path string, row_group int"
COUNTED_DDL: Final = "dt date, rows long, others long"

_COMPARED: Final = pa.schema(
    [
        ("dt", pa.date32()),
        ("customer_id", pa.int64()),
        ("wrong", pa.bool_()),
        ("misordered", pa.bool_()),
        ("not_before", pa.int64()),
        ("too_old", pa.bool_()),
    ]
)
_BOTH: Final = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("dt", pa.date32()),
        *(UNIFIED_ACTIONS.arrow_schema.field(name) for name in ACTION),
        ("history", pa.binary()),
    ]
)
# Of items, types and days ago in the bytes of a history.
_DTYPES: Final[tuple[np.dtype[Any], ...]] = tuple(map(np.dtype, ("i4", "i1", "i2")))
_COUNTED: Final = pa.schema([("dt", pa.date32()), ("rows", pa.int64()), ("others", pa.int64())])
_MAX_DAYS_AGO: Final = 2**15 - 1
# Neither an item nor a type nor a number of days: it equals nothing that is right.
_NULL: Final = -1
# Of items, and of types.
_BOUNDS: Final = ((MIN_ITEM_ID, MAX_ITEM_ID), (min(ACTION_TYPES), max(ACTION_TYPES)))
# Actions that are looked through at once for more of a day than a history can have.
_PART: Final = 2**20
_ACTIONS_PER_BATCH: Final = 2**16
# Customers times this plus the day: more days than there are.
_SPAN: Final = 2**33
_ROWS_AT_ONCE: Final = 2_048

Batches = Iterable[pa.RecordBatch]


# ------------------------------------------------------------------------ customer_history


def read_actions(files: Batches, customers: Ints) -> Iterator[pa.RecordBatch]:
    """The actions of some customers, as of ``BOTH_DDL``, from files of ``unified_actions``.

    ``files`` are rows of ``FILES_DDL``.
    """
    if not len(customers):
        return
    customers, columns = np.sort(customers), ["customer_id", *ACTION]
    held: list[pa.Table] = []
    num_held = 0
    for file in (row for batch in files for row in batch.to_pylist()):
        with pq.ParquetFile(file["path"]) as parquet:
            rows = parquet.read(columns, use_threads=False).select(columns)
        ids = ints(rows["customer_id"])
        if not len(ids):
            continue
        # Each run of one customer is looked up once.
        starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
        some = ids[starts]
        is_theirs = customers.take(np.searchsorted(customers, some), mode="clip") == some
        found = rows.filter(pa.array(np.repeat(is_theirs, np.diff(starts, append=len(ids)))))
        found = found.add_column(1, "dt", pa.repeat(pa.scalar(file["dt"]), len(found)))
        held.append(found.append_column("history", pa.nulls(len(found), pa.binary())))
        num_held += len(found)
        if num_held >= _ACTIONS_PER_BATCH:
            yield from pa.concat_tables(held).combine_chunks().to_batches()
            held, num_held = [], 0
    if held:
        yield from pa.concat_tables(held).combine_chunks().to_batches()


def pack_histories(batches: Batches) -> Iterator[pa.RecordBatch]:
    """Histories (customer_id, dt and ``LISTS``, of equal lengths) as rows of ``BOTH_DDL``."""
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        lists = [_lists(rows[name]) for name in LISTS]
        packed = [
            b"".join(
                values[offsets[n] : offsets[n + 1]].astype(dtype).tobytes()
                for (offsets, values), dtype in zip(lists, _DTYPES, strict=True)
            )
            for n in range(len(rows))
        ]
        nothing = [pa.nulls(len(rows), _BOTH.field(name).type) for name in ACTION]
        columns = [batch["customer_id"], batch["dt"], *nothing, pa.array(packed, pa.binary())]
        yield pa.RecordBatch.from_arrays(columns, schema=_BOTH)


def _unpacked(history: bytes) -> list[Ints]:
    size = len(history) // sum(dtype.itemsize for dtype in _DTYPES)
    found, start = [], 0
    for dtype in _DTYPES:
        found.append(np.frombuffer(history, dtype, size, start))
        start += size * dtype.itemsize
    return found


def compare_histories(
    batches: Batches, history_length: int, lookback_days: int | None
) -> Iterator[pa.RecordBatch]:
    """A row for each history: in what it differs from the actions of its customer.

    The batches are rows of ``BOTH_DDL``: histories and actions of the same customers, in any order,
    because an engine may leave out a sort. All are held at once, of a day's actions no more than a
    history can have.
    """
    histories, actions = _apart(batches, history_length)
    histories = histories.sort_by("customer_id").combine_chunks()
    customers, days = ints(histories["customer_id"]), ints(histories["dt"])
    claims = histories["history"].to_pylist()
    by_customer = np.argsort(actions.customer, kind="stable")
    owners = actions.customer[by_customer]
    found = []
    for customer in np.unique(customers):
        theirs = actions.take(by_customer[_places(owners, customer)])
        theirs = theirs.take(np.lexsort(theirs.newest_first()))
        of_customer = _places(customers, customer)
        for n in range(of_customer.start, of_customer.stop):
            days_ago = days[n] - theirs.day
            counts = days_ago > 0
            if lookback_days is not None:
                counts &= days_ago <= lookback_days
            newest = np.flatnonzero(counts)[:history_length]
            ago = np.minimum(days_ago[newest], _MAX_DAYS_AGO)
            true = [theirs.item[newest], theirs.kind[newest], ago]
            claimed = _unpacked(claims[n])
            is_same = _equal(claimed, true)
            has_same = is_same or _equal(_in_any_order(claimed), _in_any_order(true))
            not_before = np.count_nonzero(claimed[2] < 1)
            too_old = lookback_days is not None and bool((claimed[2] > lookback_days).any())
            found.append(
                (days[n], customer, not has_same, has_same and not is_same, not_before, too_old)
            )
    yield _batch(found, _COMPARED)


def _places(owners: Ints, customer: int) -> slice:
    """Where a customer is among sorted ones."""
    left, right = (int(np.searchsorted(owners, customer, side)) for side in ("left", "right"))
    return slice(left, right)


class _Actions(NamedTuple):
    customer: Ints
    day: Ints
    micros: Ints
    item: Ints
    kind: Ints

    @classmethod
    def of(cls, rows: pa.Table) -> "_Actions":
        return cls(*(ints(rows[name]) for name in ("customer_id", "dt", *ACTION)))

    @classmethod
    def concat(cls, parts: "Sequence[_Actions]") -> "_Actions":
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    def take(self, rows: Ints) -> "_Actions":
        return _Actions(*(column.take(rows) for column in self))

    def newest_first(self) -> tuple[Ints, ...]:
        """Keys for ``np.lexsort``, the last of which counts most."""
        return -self.day, self.kind, self.item, -self.micros


def _apart(batches: Batches, history_length: int) -> tuple[pa.Table, _Actions]:
    """The histories, and the actions without most of what no history can have."""
    nothing = _BOTH.empty_table()
    histories, actions = [nothing], [_Actions.of(nothing)]
    for rows in _in_parts(batches):
        is_history = pc.is_valid(rows["history"])
        histories.append(rows.filter(is_history).cast(_BOTH))
        some = rows.drop_columns(["history"]).filter(pc.invert(is_history))
        actions.append(_newest_of_days(_Actions.of(some), history_length))
    return pa.concat_tables(histories), _Actions.concat(actions)


def _in_parts(batches: Batches) -> Iterator[pa.Table]:
    """The rows in fewer and longer pieces."""
    held: list[pa.RecordBatch] = []
    num_held = 0
    for batch in batches:
        held.append(batch)
        num_held += len(batch)
        if num_held >= _PART:
            yield pa.Table.from_batches(held)
            held, num_held = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _newest_of_days(actions: _Actions, history_length: int) -> _Actions:
    """The newest ``history_length`` of each customer's day; the same object where none has more."""
    days = np.sort(actions.customer * _SPAN + actions.day)
    if (days[history_length:] != days[:-history_length]).all():
        return actions
    newest_first = np.lexsort((*actions.newest_first(), actions.day, actions.customer))
    ordered = actions.take(newest_first)
    is_new = np.ones(len(newest_first), bool)
    is_new[1:] = np.diff(ordered.customer) | np.diff(ordered.day)
    starts = np.flatnonzero(is_new)
    rank = np.arange(len(is_new)) - np.repeat(starts, np.diff(starts, append=len(is_new)))
    return ordered.take(np.flatnonzero(rank < history_length))


def _lists(column: pa.ChunkedArray) -> tuple[Ints, Ints]:
    array = as_list(column)
    return np.array(array.offsets), np.array(pc.fill_null(array.values, _NULL))


def _equal(one: Sequence[Ints], other: Sequence[Ints]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _in_any_order(history: Sequence[Ints]) -> list[Ints]:
    order = np.lexsort(tuple(history))
    return [values[order] for values in history]


# -------------------------------------------------------------------------- training_input


def count_other_rows(
    groups: Batches, histories: Mapping[date, Sequence[str]], history_length: int
) -> Iterator[pa.RecordBatch]:
    """How many training rows of each row group do not carry the history of their customer.

    ``groups`` are rows of ``GROUPS_DDL``; ``histories`` has the files of customer_history by day.
    A history is padded here, and one with a hole in it is nobody's. Holds the histories of one row
    group, and a few thousand training rows.
    """
    for group in (row for batch in groups for row in batch.to_pylist()):
        num_rows, num_others = 0, 0
        with pq.ParquetFile(group["path"]) as file:
            number = group["row_group"]
            customers = ints(file.read_row_group(number, ["customer_id"])["customer_id"])
            paths = histories.get(group["dt"], ())
            known = _Histories(paths, np.unique(customers), history_length)
            read = file.iter_batches(
                _ROWS_AT_ONCE,
                row_groups=[number],
                columns=["customer_id", *LISTS[:2]],
                use_threads=False,
            )
            for rows in read:
                num_rows += len(rows)
                num_others += int(np.count_nonzero(~known.are_carried_by(rows)))
        yield _batch([(group["dt"], num_rows, num_others)], _COUNTED)


class _Histories:
    """The histories of some customers (sorted) on one day, as their training rows must be."""

    def __init__(self, paths: Sequence[str], customers: Ints, history_length: int) -> None:
        near = ds.field("customer_id").isin(pa.array(customers))
        if len(customers):
            # Statistics of row groups say something of ranges, not of sets.
            near &= ds.field("customer_id") >= int(customers[0])
            near &= ds.field("customer_id") <= int(customers[-1])
        columns = ["customer_id", *LISTS[:2]]
        source = ds.dataset(list(paths), schema=CUSTOMER_HISTORY.arrow_schema)
        for name in LISTS[:2]:
            # Without an array there is no history, and an empty one is something else.
            near &= ds.field(name).is_valid()
        table = source.to_table(columns, filter=near, use_threads=False).sort_by("customer_id")
        self._length = history_length
        self._customers = ints(table["customer_id"])
        self._lists = [_lists(table[name]) for name in LISTS[:2]]

    def are_carried_by(self, rows: pa.RecordBatch) -> Any:
        """Whether each training row carries exactly the history of its customer."""
        customers, history = np.unique(rows["customer_id"].to_numpy(), return_inverse=True)
        is_right, padded = self._padded(customers)
        fits = is_right[history]
        for name in LISTS[:2]:
            size = pc.fill_null(pc.list_value_length(rows[name]), _NULL)
            fits &= size.to_numpy() == self._length
        some = rows if fits.all() else rows.filter(pa.array(fits))
        is_same = np.ones(len(some), bool)
        for name, values in zip(LISTS[:2], padded, strict=True):
            flat = np.array(pc.fill_null(some[name].flatten(), _NULL), copy=False)
            carried = flat.reshape(len(some), self._length)
            is_same &= (carried == values.take(history[fits], axis=0)).all(axis=1)
        fits[fits] = is_same
        return fits

    def _padded(self, customers: Ints) -> tuple[Any, list[Ints]]:
        """Whether each customer has a history without a hole; its items, its types."""
        place = np.searchsorted(self._customers, customers)
        is_right = np.zeros(len(customers), bool)
        within = np.flatnonzero(place < len(self._customers))
        is_right[within] = self._customers[place[within]] == customers[within]
        known = np.flatnonzero(is_right)
        padded, all_sizes = [], []
        for (offsets, values), (low, high) in zip(self._lists, _BOUNDS, strict=True):
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


def _batch(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
