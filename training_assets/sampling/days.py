"""Samples of days from the files of published actions: no row of a look-back is ever moved.

A task is a range of customers. Files are sorted by customer, so it reads its own row groups of
each, keeps the actions of customers with positives, and draws day by day.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training_assets.kernels.action_files import ActionFile
from training_assets.kernels.day_files import ints
from training_assets.kernels.integers import each_once, finder
from training_assets.sampling.actions import day_of, read_actions, read_table
from training_assets.sampling.catalogue import CatalogueOfDay, Catalogues
from training_assets.sampling.draws import (
    Candidates,
    ChunkOfCustomers,
    Drawn,
    Int64Array,
    customer_keys,
)
from training_assets.sampling.fit import COLUMNS as FITTING
from training_assets.sampling.fit import FIT, FIT_DDL, FURTHER, FittingActions, fit, no_fit
from training_assets.sampling.kernel import Positives
from training_assets.sampling.rules import Int32Array, ItemsOfDays, Rules, Window
from training_assets.sampling.seen import SeenCells, SeenPairs, pair_codes
from training_assets.schemas import RETURN

TASKS_DDL: Final = "task int, low long, high long"
ROWS_DDL: Final = (
    "dt date, customer_id long, item_id int, label double, sampling_probability double, "
    "log_q double, seen_before boolean, positive_item int"
)
# Where there is a catalogue.
FITTING_ROWS_DDL: Final = f"{ROWS_DDL}, {FIT_DDL}"
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

Bools = npt.NDArray[np.bool_]


def sample_days(
    batches: Iterable[pa.RecordBatch],
    files: Sequence[ActionFile],
    window: Window,
    items: ItemsOfDays,
    rules: Rules,
    catalogues: Catalogues | None = None,
) -> Iterator[pa.RecordBatch]:
    """Positives and negatives of the customers of each row of ``TASKS_DDL``.

    Rows of ``ROWS_DDL``, or with a catalogue of ``FITTING_ROWS_DDL``.
    """
    for batch in batches:
        for row in batch.to_pylist():
            task = Task(files, window, items, rules, catalogues, (row["low"], row["high"]))
            task.read_seen()
            yield from task.batches()


class Task:
    """The customers within ``bounds``, over all days of the window.

    ``seen``, by bucket, is to be read, or given, before anything is drawn.
    """

    def __init__(
        self,
        files: Sequence[ActionFile],
        window: Window,
        items: ItemsOfDays,
        rules: Rules,
        catalogues: Catalogues | None,
        bounds: tuple[int, int],
    ) -> None:
        self.window, self.items, self.rules, self.catalogues = window, items, rules, catalogues
        self._files, self._bounds = files, bounds
        self.positives = self._read_positives()
        given = [p.customers for p in self.positives.values()]
        self.customers = each_once(np.concatenate([np.zeros(0, np.int64), *given]))
        self.seen: Mapping[int, SeenPairs] = {}
        self.acts = FittingActions(catalogues, len(self.customers)) if catalogues else None
        # Places of items: those that may be drawn, and positives and catalogues beside them.
        beside = [p.items.astype(np.int32) for p in self.positives.values()]
        beside += catalogues.items() if catalogues else []
        self.universe = each_once(np.concatenate([items.items, *beside]))

    def batches(self) -> Iterator[pa.RecordBatch]:
        for day in self.window.days:
            if day in self.positives:
                batches = _Day(self, day).batches()
                yield from batches if self.acts is None else self._fitting(day, batches)

    def _fitting(self, day: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """All rows of a day with how customer and item fit."""
        assert self.acts is not None
        assert self.catalogues is not None
        table = pa.Table.from_batches(batches, _ROWS).combine_chunks()
        if not len(table):
            return
        found = no_fit(len(table))
        if uris := self.catalogues.as_of.get(day):
            known = CatalogueOfDay.of(uris, self.universe)
            ids, rows = np.unique(table["customer_id"].to_numpy(), return_inverse=True)
            of_day = self.acts.of_day(
                np.searchsorted(self.customers, ids),
                lambda bucket: self.window.before(bucket, day),
            )
            places = np.searchsorted(self.universe, table["item_id"].to_numpy())
            found = fit(rows, places, *of_day, known)
        (batch,) = table.to_batches()
        schema = pa.schema([*_ROWS, *FIT])
        yield pa.RecordBatch.from_arrays([*batch.columns, *found], schema=schema)

    def _read_positives(self) -> dict[int, Positives]:
        pairs: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for file in self._files:
            if day_of(file) in self.window.days:
                names = ["customer_id", "item_id", "action_type"]
                found = read_actions(file, names, self._bounds, without_bots=True)
                customers, items, kinds = found
                is_positive = np.isin(kinds, self.rules.kinds)
                pairs[day_of(file)].append((customers[is_positive], items[is_positive]))
        joined = {
            day: tuple(np.concatenate([part[n] for part in parts]) for n in range(2))
            for day, parts in pairs.items()
        }
        return {
            day: Positives.of(customers, items.astype(np.int64))
            for day, (customers, items) in joined.items()
            if len(customers)
        }

    def read_seen(self) -> None:
        """What the customers have acted on, by bucket; the common one once each, by customer."""
        if not len(self.customers):
            return
        find_customer, find_item = finder(self.customers), finder(self.universe)
        parts: dict[int, list[Int64Array]] = defaultdict(list)
        for file in self._files:
            bucket = self.window.bucket(day_of(file))
            if self.window.counts(bucket):
                found = self._read_actions(file, bucket, find_customer, find_item)
                parts[bucket].append(codes_of(found, find_customer))
        if self.acts:
            self.acts.finish()
        num = len(self.customers)
        self.seen = {bucket: SeenPairs.of(parts.pop(bucket), num) for bucket in list(parts)}

    def _read_actions(
        self, file: ActionFile, bucket: int, find_customer: Any, find_item: Any
    ) -> list[Any]:
        """Customers and items; what else features of pairs ask of them is kept in passing."""
        if self.acts is None:
            return read_actions(file, FITTING[:2], self._bounds)
        table = read_table(file, FITTING, self._bounds, FURTHER)
        ids, items, kinds = (ints(table[name]) for name in FITTING[:3])
        self.acts.add(bucket, day_of(file), table, find_customer(ids), find_item(items))
        is_action = kinds != RETURN
        return [ids, items] if is_action.all() else [ids[is_action], items[is_action]]


def codes_of(pairs: Sequence[Any], find_customer: Any) -> Int64Array:
    """``pair_codes`` of customer and item ids, where the customer is found.

    Those of one customer mostly lie together, so each run of them is looked for once.
    """
    ids, items = pairs
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1]))) if len(ids) else ids
    sizes = np.diff(starts, append=len(ids))
    customers = find_customer(ids.take(starts))
    is_own = customers >= 0
    if is_own.all():
        return pair_codes(np.repeat(customers.astype(np.int64), sizes), items)
    items = items[np.repeat(is_own, sizes)]
    return pair_codes(np.repeat(customers[is_own].astype(np.int64), sizes[is_own]), items)


class _Day:
    """One day of a task."""

    def __init__(self, task: Task, day: int) -> None:
        self._task, self._day = task, day
        self._rules = task.rules
        self._given = task.positives[day]
        mask, counts = task.items.of_day(task.window, day)
        self._candidates = Candidates.of(
            task.items.items[mask].astype(np.int64), counts[mask], is_uniform=self._rules.is_uniform
        )
        # The place of an item among the candidates, or -1.
        self._find_item = finder(self._candidates.items)
        self._customers = np.searchsorted(task.customers, self._given.customers)

    def batches(self) -> Iterator[pa.RecordBatch]:
        given, rules = self._given, self._rules
        rows = np.repeat(np.arange(len(given.sizes), dtype=np.int32), given.sizes)
        was_seen = self._was_seen(rows, given.items)
        is_wanted = ~was_seen if rules.only_new else np.ones(len(rows), np.bool_)
        yield self._positives_batch(rows, is_wanted, was_seen)
        wanted = np.bincount(rows[is_wanted], minlength=len(given.sizes)) * rules.ratio
        kept = Positives(given.customers, wanted // max(rules.ratio, 1), given.items[is_wanted])
        keys = customer_keys(rules.seed, self._day, given.customers)
        table = self._candidates.new_table()
        for start, seen in self._not_to_be_drawn(rows).chunks(len(given.sizes)):
            some = slice(start, start + self._candidates.rows_per_chunk)
            drawn = ChunkOfCustomers(self._candidates, keys[some], wanted[some], seen, table).draw()
            yield self._negatives_batch(kept, drawn, start)

    def _was_seen(self, rows: Int32Array | Int64Array, items: Int64Array) -> Bools:
        """Whether the customer (index into those of the day) had acted on the item before."""
        codes = pair_codes(self._customers[rows], items)
        found = np.zeros(len(codes), np.bool_)
        for bucket, pairs in self._task.seen.items():
            if self._task.window.before(bucket, self._day):
                found |= pairs.has(codes)
        return found

    def _not_to_be_drawn(self, rows: Int32Array) -> SeenCells:
        cells = SeenCells(len(self._candidates.items), self._candidates.rows_per_chunk)
        if not self._rules.excludes_seen:
            # Otherwise they are among the actions of the day.
            cells.add(rows, self._find_item(self._given.items))
            return cells
        for bucket, pairs in self._task.seen.items():
            if bucket == self._day or self._task.window.before(bucket, self._day):
                customers, items = pairs.of_customers(self._customers)
                cells.add(customers, self._find_item(items))
        return cells

    def _positives_batch(self, rows: Int32Array, kept: Bools, was_seen: Bools) -> pa.RecordBatch:
        items = self._given.items[kept]
        nothing = pa.nulls(len(items), pa.float64())
        return self._batch(
            self._given.customers[rows[kept]], items, 1.0, nothing, nothing, was_seen[kept], items
        )

    def _negatives_batch(self, kept: Positives, drawn: Drawn, start: int) -> pa.RecordBatch:
        rows = drawn.rows + start
        pairs = kept.starts[rows] + drawn.numbers // max(self._rules.ratio, 1)
        items = self._candidates.items[drawn.places]
        given = np.bincount(drawn.rows, minlength=1)[drawn.rows]
        was_seen = np.zeros(len(items), np.bool_)
        if not self._rules.excludes_seen:
            was_seen = self._was_seen(rows, items)
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
