"""Samples of whole days from Arrow batches, for what an engine calls on its workers.

The rows of a task come in any order: candidates, positives and seen items of any days. They are
sorted by day and kind as they come, and sampled when all are there, some customers at a time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa

from training_assets.kernels.integers import Array, Int32Array, each_once, finder, order_by
from training_assets.sampling.draws import (
    Candidates,
    ChunkOfCustomers,
    Drawn,
    Int64Array,
    customer_keys,
)

CANDIDATE, POSITIVE, SEEN = 0, 1, 2
SAMPLES_DDL: Final = (
    "dt date, customer_id long, item_id long, label double, sampling_probability double, "
    "positive_item_id long"
)
_SAMPLES: Final = pa.schema(
    [
        ("dt", pa.date32()),
        ("customer_id", pa.int64()),
        ("item_id", pa.int64()),
        ("label", pa.float64()),
        ("sampling_probability", pa.float64()),
        ("positive_item_id", pa.int64()),
    ]
)
_NUM_KINDS: Final = 3
# Rows that are sorted by day and kind at once.
_BLOCK_ROWS: Final = 2**19
# Rows of a day and kind mostly come together; runs of fewer rows than this are sorted first.
_ROWS_PER_RUN: Final = 256

# Columns number, item_id and slice of some rows.
Columns = tuple[Array, Array, Array]
# Blocks of rows by day and kind.
Blocks = dict[tuple[int, int], list[Columns]]


def sample_rows(
    batches: Iterable[pa.RecordBatch],
    *,
    ratio: int,
    is_uniform: bool,
    seed: int,
    hash_of: Callable[[Int64Array], Int64Array] = np.asarray,
) -> Iterator[pa.RecordBatch]:
    """Positives and their negatives of a task, in the columns of ``SAMPLES_DDL``.

    Batches have dt (date), slice (int), kind (tinyint), number (long: customer, or weight of a
    candidate) and item_id (long), no nulls. The task must hold a day's candidates, at least once,
    and all positives and seen items of its customers. ``hash_of`` gives what the draws of each
    customer begin with, where it is not the id.
    """
    blocks = _sorted_in(batches)
    for day in sorted(day for day, kind in blocks if kind == POSITIVE):
        positives = Positives.of(*_joined(blocks.pop((day, POSITIVE)))[:2])
        yield positives.as_batch(day)
        candidates = _candidates(blocks.pop((day, CANDIDATE), []), is_uniform)
        cells = _seen_cells(blocks.pop((day, SEEN), []), positives, candidates)
        keys = customer_keys(seed, day, hash_of(positives.customers))
        table = candidates.new_table()
        for start, seen in chunks_of(cells, positives, candidates):
            rows = slice(start, start + candidates.rows_per_chunk)
            wanted = positives.sizes[rows] * ratio
            drawn = ChunkOfCustomers(candidates, keys[rows], wanted, seen, table).draw()
            yield _negatives_batch(day, positives, candidates, drawn, start, ratio)


@dataclass(frozen=True)
class Positives:
    """Distinct pairs of a day by customer and item.

    customers: int64 [G], ascending; sizes: how many pairs each has; items: int64, one a pair.
    """

    customers: Int64Array
    sizes: Int64Array
    items: Int64Array

    @classmethod
    def of(cls, customers: Int64Array, items: Int64Array) -> "Positives":
        order = order_by(customers, items)
        customers, items = customers[order], items[order]
        is_new = np.ones(len(items), np.bool_)
        is_new[1:] = (np.diff(customers) != 0) | (np.diff(items) != 0)
        distinct, sizes = np.unique(customers[is_new], return_counts=True)
        return cls(distinct, sizes, items[is_new])

    @property
    def starts(self) -> Int64Array:
        """Where each customer's pairs begin."""
        return np.cumsum(self.sizes) - self.sizes

    def as_batch(self, day: int) -> pa.RecordBatch:
        customers = np.repeat(self.customers, self.sizes)
        probability = pa.nulls(len(customers), pa.float64())
        return _batch(day, customers, self.items, 1.0, probability, self.items)


def _negatives_batch(
    day: int, positives: Positives, candidates: Candidates, drawn: Drawn, start: int, ratio: int
) -> pa.RecordBatch:
    """The first ``ratio`` negatives belong to a customer's first positive, and so on."""
    customers = drawn.rows + start
    pairs = positives.starts[customers] + drawn.numbers // max(ratio, 1)
    return _batch(
        day,
        positives.customers[customers],
        candidates.items[drawn.places],
        0.0,
        pa.array(drawn.probabilities),
        positives.items[pairs],
    )


def _batch(
    day: int, customers: Array, items: Array, label: float, probability: Any, of: Array
) -> pa.RecordBatch:
    size = len(customers)
    days = pa.array(np.full(size, day, np.int32)).view(pa.date32())
    columns = [days, customers, items, np.full(size, label), probability, of]
    return pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=_SAMPLES)


def _sorted_in(batches: Iterable[pa.RecordBatch]) -> Blocks:
    """All rows by day and kind."""
    found: Blocks = defaultdict(list)
    waiting: list[pa.RecordBatch] = []
    num_rows = 0
    for batch in batches:
        waiting.append(batch)
        num_rows += batch.num_rows
        if num_rows >= _BLOCK_ROWS:
            _sort_in(waiting, found)
            waiting, num_rows = [], 0
    _sort_in(waiting, found)
    return found


def _sort_in(batches: list[pa.RecordBatch], found: Blocks) -> None:
    batches = [batch for batch in batches if batch.num_rows]
    if not batches:
        return
    table = pa.Table.from_batches(batches).combine_chunks()
    days = table["dt"].chunk(0).view(pa.int32()).to_numpy().astype(np.int64)
    code = days * _NUM_KINDS + table["kind"].to_numpy()
    columns = [table[name].to_numpy() for name in ("number", "item_id", "slice")]
    starts = np.flatnonzero(np.diff(code, prepend=-1, append=-1))
    if len(starts) * _ROWS_PER_RUN > len(code):
        low = int(code.min())
        small = (code - low).astype(np.min_scalar_type(int(code.max()) - low))
        order = np.argsort(small, kind="stable")
        code = code.take(order)
        columns = [column.take(order) for column in columns]
        starts = np.flatnonzero(np.diff(code, prepend=-1, append=-1))
    for start, stop in pairwise(starts.tolist()):
        key = divmod(int(code[start]), _NUM_KINDS)
        number, item, part = (column[start:stop] for column in columns)
        found[key].append((number, item, part))


def _joined(blocks: list[Columns]) -> Columns:
    empty = np.zeros(0, np.int64)
    number, item, part = (np.concatenate([empty, *(b[n] for b in blocks)]) for n in range(3))
    return number, item, part


def _candidates(blocks: list[Columns], is_uniform: bool) -> Candidates:
    """Of the copies that several slices of a task brought along, one."""
    actions, items, slices = _joined(blocks)
    is_first = slices == slices.min(initial=np.iinfo(np.int32).max)
    return Candidates.of(items[is_first], actions[is_first], is_uniform=is_uniform)


def _seen_cells(
    blocks: list[Columns], positives: Positives, candidates: Candidates
) -> list[tuple[Int32Array, Int32Array]]:
    """Customer and candidate of all that cannot be given, as places; positives are among them."""
    find_customer, find_item = finder(positives.customers), finder(candidates.items)
    customers = np.repeat(np.arange(len(positives.sizes), dtype=np.int32), positives.sizes)
    cells = [_only_found(customers, find_item(positives.items))]
    while blocks:
        numbers, items, _ = blocks.pop()
        cells.append(_only_found(find_customer(numbers), find_item(items)))
    return cells


def _only_found(customers: Int32Array, items: Int32Array) -> tuple[Int32Array, Int32Array]:
    found = np.flatnonzero((customers >= 0) & (items >= 0))
    return customers.take(found), items.take(found)


def chunks_of(
    cells: list[tuple[Int32Array, Int32Array]], positives: Positives, candidates: Candidates
) -> Iterator[tuple[int, Int64Array]]:
    """Per chunk of customers where it starts and its seen cells: ascending, each once."""
    rows = candidates.rows_per_chunk
    cell, ends = _by_chunk(cells, rows, -(-len(positives.customers) // rows), candidates)
    for number, end in enumerate(ends.tolist()):
        some = cell[ends[number - 1] if number else 0 : end]
        yield number * rows, each_once(some).astype(np.int64)


def _by_chunk(
    cells: list[tuple[Int32Array, Int32Array]], rows: int, num_chunks: int, candidates: Candidates
) -> tuple[Array, Int64Array]:
    """Cells within their chunk of ``rows`` customers, chunk by chunk, and where each one ends."""
    width = len(candidates.items)
    customers, items = (np.concatenate([part[n] for part in cells]) for n in range(2))
    cells.clear()
    chunk, row = np.divmod(customers, np.int32(min(rows, 2**31 - 1)))
    cell: Array = row.astype(np.int32 if rows * width < 2**31 else np.int64)
    cell *= width
    cell += items
    chunk = chunk.astype(np.min_scalar_type(num_chunks))
    ends = np.cumsum(np.bincount(chunk, minlength=num_chunks))
    return cell.take(np.argsort(chunk, kind="stable")), ends
