"""Samples of days from one look at all files: what the whole shop and what customers acted on.

    files ──> a task: items and their actions, for every slice ──┐
                      pairs of customers with positives ──────────┴─by slice─> draws

A slice is a range of customers. What a task finds is one value of some bytes for each slice and
bucket, so that an engine moves few rows, however many pairs there are. A slice holds its pairs at
about 30 bytes each; of more than that ``days`` reads the files for each range anew.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from training_assets.kernels.action_files import ActionFile
from training_assets.kernels.integers import Int64Array, each_once, finder
from training_assets.sampling.actions import (
    Counted,
    ItemCounts,
    columns_of_actions,
    day_of,
    read_actions,
    read_table,
)
from training_assets.sampling.days import Task, codes_of
from training_assets.sampling.rules import ItemsOfDays, Rules, Window
from training_assets.sampling.seen import ITEM_BITS, SeenPairs

GATHERED_DDL: Final = "slice int, bucket int, content binary, actions binary"
_GATHERED: Final = pa.schema(
    [
        ("slice", pa.int32()),
        ("bucket", pa.int32()),
        # Item ids (int32) where there are actions (int64), else codes of pairs (int64).
        ("content", pa.binary()),
        ("actions", pa.binary()),
    ]
)
_PAIR: Final = ("customer_id", "item_id")
_NONE: Final = np.zeros(0, np.int64)

Range = tuple[int, int]


def gather(
    batches: Iterable[pa.RecordBatch],
    files: Sequence[ActionFile],
    window: Window,
    rules: Rules,
    slices: Sequence[Range],
) -> Iterator[pa.RecordBatch]:
    """What some of the files hold for each slice; rows are numbers of ``files``.

    Slices are ranges of customers that ascend and cover all.
    """
    customers = _customers(files, window, rules)
    find_customer, counts = finder(customers), ItemCounts()
    codes: dict[int, list[Int64Array]] = defaultdict(list)
    for file in (files[n] for batch in batches for n in batch["number"].to_pylist()):
        bucket = window.bucket(day_of(file))
        if not window.counts(bucket):
            continue
        table = read_table(file, _PAIR, None, ["action_type", "is_bot"])
        (items,) = columns_of_actions(table, _PAIR[1:])
        for found in counts.add(bucket, items):
            yield from _of_shop(found, len(slices))
        # A bot, too, has seen what it was shown.
        seen = table.select([name for name in table.column_names if name != "is_bot"])
        codes[bucket].append(codes_of(columns_of_actions(seen, _PAIR), find_customer))
    for found in counts.rest():
        yield from _of_shop(found, len(slices))
    firsts = np.searchsorted(customers, [low for low, _ in slices])
    for bucket in list(codes):
        yield from _of_customers(bucket, each_once(np.concatenate(codes.pop(bucket))), firsts)
    # Each slice is sampled, also where nobody had acted on anything.
    yield from _of_shop(Counted(window.days[0], np.zeros(0, np.int32), _NONE), len(slices))


def sample_gathered(
    batches: Iterable[pa.RecordBatch],
    files: Sequence[ActionFile],
    window: Window,
    rules: Rules,
    slices: Sequence[Range],
) -> Iterator[pa.RecordBatch]:
    """Positives and negatives, in rows of ``days.ROWS_DDL``, of slices whose rows are all there."""
    found: dict[int, list[tuple[int, Any, Any]]] = defaultdict(list)
    for batch in batches:
        for number, bucket, *content in zip(*batch.columns, strict=True):
            found[number.as_py()].append((bucket.as_py(), *(of.as_buffer() for of in content)))
    for number in sorted(found):
        rows = found.pop(number)
        items = ItemsOfDays.of(_added_up(rows), {})
        task = Task(files, window, items, rules, None, slices[number])
        parts: dict[int, list[Int64Array]] = defaultdict(list)
        for bucket, content, actions in rows:
            if actions is None:
                parts[bucket].append(np.frombuffer(content, np.int64))
        rows.clear()
        num = len(task.customers)
        task.seen = {bucket: SeenPairs.of(parts.pop(bucket), num) for bucket in list(parts)}
        yield from task.batches()


def _customers(files: Sequence[ActionFile], window: Window, rules: Rules) -> Int64Array:
    """Those with positives on any day of samples, ascending: in each slice as ``Task`` has them."""
    found = [_NONE]
    for file in files:
        if day_of(file) in window.days:
            names = ["customer_id", "action_type"]
            customers, kinds = read_actions(file, names, without_bots=True)
            found.append(each_once(customers[np.isin(kinds, rules.kinds)]))
    return each_once(np.concatenate(found))


def _of_shop(found: Counted, num_slices: int) -> Iterator[pa.RecordBatch]:
    for number in range(num_slices):
        yield _row(number, found.bucket, found.items.astype(np.int32), found.actions)


def _of_customers(bucket: int, codes: Int64Array, firsts: Int64Array) -> Iterator[pa.RecordBatch]:
    """Pairs of each slice, with customers counted from its own first one."""
    edges = firsts.astype(np.int64) << ITEM_BITS
    places = [*np.searchsorted(codes, edges).tolist(), len(codes)]
    for number, edge in enumerate(edges):
        yield _row(number, bucket, codes[places[number] : places[number + 1]] - edge, None)


def _row(number: int, bucket: int, content: Any, actions: Any) -> pa.RecordBatch:
    arrays = [pa.array([number], pa.int32()), pa.array([bucket], pa.int32()), _bytes(content)]
    arrays.append(pa.nulls(1, pa.binary()) if actions is None else _bytes(actions))
    return pa.RecordBatch.from_arrays(arrays, schema=_GATHERED)


def _bytes(values: Any) -> pa.Array:
    content = pa.py_buffer(values)
    offsets = pa.py_buffer(np.array([0, content.size], np.int32))
    return pa.Array.from_buffers(pa.binary(), 1, [None, offsets, content])


def _added_up(rows: Iterable[tuple[int, Any, Any]]) -> dict[int, tuple[Any, Any]]:
    """Items, ascending, and their actions by bucket."""
    items, counts = defaultdict(list), defaultdict(list)
    for bucket, content, actions in rows:
        if actions is not None:
            items[bucket].append(np.frombuffer(content, np.int32))
            counts[bucket].append(np.frombuffer(actions, np.int64))
    found = {}
    for bucket in items:
        distinct, place = np.unique(np.concatenate(items[bucket]), return_inverse=True)
        total = np.zeros(len(distinct), np.int64)
        np.add.at(total, place, np.concatenate(counts[bucket]))
        found[bucket] = distinct, total
    return found
