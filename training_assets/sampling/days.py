"""Samples of days from the files of published actions: no row of a look-back is ever moved.

A task is a range of customers. Files are sorted by customer, so it reads its own row groups of
each, keeps the actions of customers with positives, and draws day by day.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training_assets.kernels.action_files import ActionFile, row_group_bounds
from training_assets.kernels.day_files import ints
from training_assets.list_format import SealedParquet
from training_assets.sampling.draws import (
    Candidates,
    ChunkOfCustomers,
    Drawn,
    Int64Array,
    customer_keys,
)
from training_assets.sampling.kernel import Positives, chunks_of, finder
from training_assets.sampling.rules import Int32Array, ItemsOfDays, Rules, Window

TASKS_DDL: Final = "task int, low long, high long"
COUNTS_DDL: Final = "bucket int, item_id int, actions long"
ROWS_DDL: Final = (
    "dt date, customer_id long, item_id int, label double, sampling_probability double, "
    "log_q double, seen_before boolean, positive_item int"
)
_ROWS: Final = pa.schema(
    [
        ("dt", pa.date32()),
        ("customer_id", pa.int64()),
        ("item_id", pa.int32()),
        ("label", pa.float64()),
        ("sampling_probability", pa.float64()),
        ("log_q", pa.float64()),
        ("seen_before", pa.bool_()),
        ("positive_item", pa.int32()),
    ]
)
_COUNTS: Final = pa.schema(
    [("bucket", pa.int32()), ("item_id", pa.int32()), ("actions", pa.int64())]
)
# Ids up to here are counted in an array.
_MAX_TABLE: Final = 2**24

Batches = Iterable[pa.RecordBatch]
Bools = npt.NDArray[np.bool_]


class Pairs(NamedTuple):
    """Customers and items as places; int32 [N] each."""

    customers: Int32Array
    items: Int32Array


def count_items(
    batches: Batches, files: Sequence[ActionFile], window: Window
) -> Iterator[pa.RecordBatch]:
    """Actions by bucket and item, those of bots left out; rows are numbers of ``files``."""
    found: dict[int, list[tuple[Int64Array, Int64Array]]] = defaultdict(list)
    tables: dict[int, Int64Array] = {}
    for file in (files[n] for batch in batches for n in batch["number"].to_pylist()):
        bucket = window.bucket(_day(file))
        items = _without_bots(_read(file, ["item_id"], None))[0]
        if len(items) and int(items.max()) < _MAX_TABLE:
            counts = np.bincount(items, minlength=len(tables.get(bucket, ())))
            counts[: len(tables.get(bucket, ()))] += tables.get(bucket, 0)
            tables[bucket] = counts
        else:
            found[bucket].append(np.unique(items, return_counts=True))
    for bucket, counts in tables.items():
        items = np.flatnonzero(counts)
        found[bucket].append((items, counts[items]))
    for bucket, parts in found.items():
        items, counts = (np.concatenate([part[n] for part in parts]) for n in range(2))
        arrays = [np.full(len(items), bucket, np.int32), items.astype(np.int32), counts]
        yield pa.RecordBatch.from_arrays([pa.array(a) for a in arrays], schema=_COUNTS)


def sample_days(
    batches: Batches,
    files: Sequence[ActionFile],
    window: Window,
    items: ItemsOfDays,
    rules: Rules,
) -> Iterator[pa.RecordBatch]:
    """Positives and negatives of the customers of each row of ``TASKS_DDL``."""
    for batch in batches:
        for row in batch.to_pylist():
            task = _Task(files, window, items, rules, (row["low"], row["high"]))
            yield from task.batches()


class _Task:
    def __init__(
        self,
        files: Sequence[ActionFile],
        window: Window,
        items: ItemsOfDays,
        rules: Rules,
        bounds: tuple[int, int],
    ) -> None:
        self._window, self._items, self._rules = window, items, rules
        self._files, self._bounds = files, bounds
        self._positives = self._read_positives()
        given = [p.customers for p in self._positives.values()]
        self._customers = np.unique(np.concatenate([np.zeros(0, np.int64), *given]))
        # Places of items: those that may be drawn, and positives beside them.
        beside = [p.items.astype(np.int32) for p in self._positives.values()]
        self._universe = np.unique(np.concatenate([items.items, *beside]))
        self._seen: dict[int, Pairs] = {}
        self._common_starts: Int64Array | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        if not len(self._customers):
            return
        self._read_seen()
        for day in self._window.days:
            if day in self._positives:
                yield from _Day(self, day).batches()

    # --- what is read -----------------------------------------------------------------------------

    def _read_positives(self) -> dict[int, Positives]:
        pairs: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for file in self._files:
            if _day(file) in self._window.days:
                names = ["customer_id", "item_id", "action_type"]
                found = _without_bots(_read(file, names, self._bounds))
                customers, items, kinds = found
                is_positive = np.isin(kinds, self._rules.kinds)
                pairs[_day(file)].append((customers[is_positive], items[is_positive]))
        joined = {
            day: tuple(np.concatenate([part[n] for part in parts]) for n in range(2))
            for day, parts in pairs.items()
        }
        return {
            day: Positives.of(customers, items.astype(np.int64))
            for day, (customers, items) in joined.items()
            if len(customers)
        }

    def _read_seen(self) -> None:
        """What the customers have acted on, by bucket; the common one once each, by customer."""
        find_customer, find_item = finder(self._customers), finder(self._universe)
        parts: dict[int, list[Pairs]] = defaultdict(list)
        days, last = self._window.days, self._window.days[-1]
        for file in self._files:
            bucket = self._window.bucket(_day(file))
            if bucket not in days and not any(self._window.before(bucket, d) for d in days):
                continue
            if bucket > last:
                continue
            table = _read(file, ["customer_id", "item_id"], self._bounds)
            customers = _places(table["customer_id"], find_customer)
            items = find_item(ints(table["item_id"]))
            found = np.flatnonzero((customers >= 0) & (items >= 0))
            parts[bucket].append(Pairs(customers.take(found), items.take(found)))
        for bucket in list(parts):
            some = parts.pop(bucket)
            pairs = Pairs(*(np.concatenate([p[n] for p in some]) for n in range(2)))
            some.clear()
            self._seen[bucket] = pairs
        if len(days) > 1 and days[0] - 1 in self._seen:
            self._sort_common(days[0] - 1)

    def _sort_common(self, bucket: int) -> None:
        pairs, width = self._seen.pop(bucket), len(self._universe)
        code = pairs.customers.astype(np.int64) * width
        code += pairs.items
        code.sort()
        is_new = np.ones(len(code), np.bool_)
        is_new[1:] = code[1:] != code[:-1]
        customers, items = np.divmod(code[is_new], width)
        self._seen[bucket] = Pairs(customers.astype(np.int32), items.astype(np.int32))
        places = np.arange(len(self._customers) + 1)
        self._common_starts = np.searchsorted(self._seen[bucket].customers, places)

    def seen_by(self, day: int, customers: Int64Array) -> Iterator[tuple[int, Pairs]]:
        """By bucket, what these have acted on up to the end of the day, among others' actions.

        Customers come as places among ``customers``, or -1.
        """
        place = np.full(len(self._customers), -1, np.int32)
        own = np.searchsorted(self._customers, customers)
        place[own] = np.arange(len(customers))
        for bucket, pairs in self._seen.items():
            if bucket != day and not self._window.before(bucket, day):
                continue
            if self._common_starts is None or bucket != self._window.days[0] - 1:
                rows = place.take(pairs.customers)
                found = np.flatnonzero(rows >= 0)
                yield bucket, Pairs(rows.take(found), pairs.items.take(found))
                continue
            starts = self._common_starts[own]
            sizes = self._common_starts[own + 1] - starts
            rows = np.repeat(np.arange(len(own), dtype=np.int32), sizes)
            shift = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
            yield bucket, Pairs(rows, pairs.items.take(np.arange(len(rows)) + shift))


class _Day:
    """One day of a task."""

    def __init__(self, task: _Task, day: int) -> None:
        self._task, self._day = task, day
        self._rules: Rules = task._rules
        universe, given = task._universe, task._positives[day]
        self._all = given
        mask, counts = task._items.of_day(task._window, day)
        places = np.searchsorted(universe, task._items.items[mask])
        self._candidates = Candidates.of(
            universe[places].astype(np.int64), counts[mask], is_uniform=self._rules.is_uniform
        )
        # From a place in the universe to one among the candidates, or -1.
        self._place = np.full(len(universe), -1, np.int32)
        self._place[places] = np.arange(len(places))

    def batches(self) -> Iterator[pa.RecordBatch]:
        given, rules, task = self._all, self._rules, self._task
        rows = np.repeat(np.arange(len(given.sizes), dtype=np.int32), given.sizes)
        item_places = np.searchsorted(task._universe, given.items).astype(np.int32)
        before, cells = self._seen(Pairs(rows, item_places))
        was_seen = np.isin(self._code(Pairs(rows, item_places)), before)
        is_wanted = ~was_seen if rules.only_new else np.ones(len(rows), np.bool_)
        yield self._positives_batch(rows, is_wanted, was_seen)
        wanted = np.bincount(rows[is_wanted], minlength=len(given.sizes)) * rules.ratio
        kept = Positives(given.customers, wanted // max(rules.ratio, 1), given.items[is_wanted])
        keys = customer_keys(rules.seed, self._day, given.customers)
        table = self._candidates.new_table()
        for start, seen in chunks_of(cells, given, self._candidates):
            some = slice(start, start + self._candidates.rows_per_chunk)
            drawn = ChunkOfCustomers(self._candidates, keys[some], wanted[some], seen, table).draw()
            yield self._negatives_batch(kept, drawn, start, before)

    def _seen(self, positives: Pairs) -> tuple[Int64Array, list[tuple[Int32Array, Int32Array]]]:
        """Codes of pairs acted on before the day, and cells that cannot be drawn.

        Of the pairs only those that can be asked for: positives, and where seen items may be
        drawn, candidates.
        """
        excludes = self._rules.excludes_seen
        is_asked = np.zeros(len(self._task._universe), np.bool_)
        is_asked[positives.items] = True
        if not excludes:
            is_asked |= self._place >= 0
        before = [np.zeros(0, np.int64)]
        cells = [self._cells(positives)]
        for bucket, pairs in self._task.seen_by(self._day, self._all.customers):
            if bucket != self._day:
                some = np.flatnonzero(is_asked.take(pairs.items))
                before.append(self._code(Pairs(*(column.take(some) for column in pairs))))
            if excludes:
                cells.append(self._cells(pairs))
        return np.unique(np.concatenate(before)), cells

    def _code(self, pairs: Pairs) -> Int64Array:
        code: Int64Array = pairs.customers.astype(np.int64) * len(self._task._universe)
        return code + pairs.items

    def _cells(self, pairs: Pairs) -> tuple[Int32Array, Int32Array]:
        items = self._place.take(pairs.items)
        found = np.flatnonzero(items >= 0)
        return pairs.customers.take(found), items.take(found)

    def _positives_batch(self, rows: Int32Array, kept: Bools, was_seen: Bools) -> pa.RecordBatch:
        items = self._all.items[kept]
        nothing = pa.nulls(len(items), pa.float64())
        return self._batch(
            self._all.customers[rows[kept]], items, 1.0, nothing, nothing, was_seen[kept], items
        )

    def _negatives_batch(
        self, kept: Positives, drawn: Drawn, start: int, before: Int64Array
    ) -> pa.RecordBatch:
        rows = drawn.rows + start
        pairs = kept.starts[rows] + drawn.numbers // max(self._rules.ratio, 1)
        items = self._candidates.items[drawn.places]
        given = np.bincount(drawn.rows, minlength=1)[drawn.rows]
        was_seen = np.zeros(len(items), np.bool_)
        if not self._rules.excludes_seen:
            places = np.searchsorted(self._task._universe, items).astype(np.int32)
            was_seen = np.isin(self._code(Pairs(rows.astype(np.int32), places)), before)
        return self._batch(
            kept.customers[rows],
            items,
            0.0,
            pa.array(drawn.probabilities),
            pa.array(np.log(given * drawn.probabilities)),
            was_seen,
            kept.items[pairs],
        )

    def _batch(
        self,
        customers: Int64Array,
        items: Int64Array,
        label: float,
        probability: pa.Array,
        log_q: pa.Array,
        was_seen: Bools,
        of: Int64Array,
    ) -> pa.RecordBatch:
        size = len(customers)
        arrays = [
            pa.array(np.full(size, self._day, np.int32)).view(pa.date32()),
            pa.array(customers),
            pa.array(items.astype(np.int32)),
            pa.array(np.full(size, label)),
            probability,
            log_q,
            pa.array(was_seen),
            pa.array(of.astype(np.int32)),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=_ROWS)


def _day(file: ActionFile) -> int:
    assert file.day is not None
    return file.day


def _read(file: ActionFile, names: list[str], bounds: tuple[int, int] | None) -> pa.Table:
    """Columns, and is_bot where more than two are asked for; of customers within the bounds."""
    with SealedParquet(file.path) as parquet:
        groups = list(range(parquet.num_row_groups))
        if bounds is not None:
            groups = [g for g in groups if _meets(row_group_bounds(parquet.metadata, g), bounds)]
        has_bots = "is_bot" in parquet.schema_arrow.names and names != ["customer_id", "item_id"]
        if not groups:
            schema = pa.schema([parquet.schema_arrow.field(n) for n in names])
            return schema.empty_table()
        columns = [*names, "is_bot"] if has_bots else names
        table = parquet.read(columns, groups, use_threads=False)
    if bounds is None:
        return table
    customers = ints(table["customer_id"])
    low, high = bounds
    is_own = (customers >= low) & (customers <= high)
    return table if is_own.all() else table.filter(pa.array(is_own))


def _meets(found: tuple[int, int] | None, bounds: tuple[int, int]) -> bool:
    return found is not None and found[0] <= bounds[1] and found[1] >= bounds[0]


def _without_bots(table: pa.Table) -> list[Any]:
    """The columns but is_bot, of rows that are of no bot."""
    names = [name for name in table.column_names if name != "is_bot"]
    columns = [ints(table[name]) for name in names]
    if "is_bot" not in table.column_names:
        return columns
    is_bot = np.asarray(table["is_bot"].fill_null(False))
    return [column[~is_bot] for column in columns] if is_bot.any() else columns


def _places(column: pa.ChunkedArray, find: Any) -> Int32Array:
    """By runs of the same customer, of which there are far fewer than rows."""
    ids = ints(column)
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1]))) if len(ids) else ids
    places: Int32Array = np.repeat(find(ids.take(starts)), np.diff(starts, append=len(ids)))
    return places
