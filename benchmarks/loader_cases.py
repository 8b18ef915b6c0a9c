"""The lakes that benchmarks/loader.py reads, and the cases that it measures."""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from training_assets.kernels.day_files import HistoryColumns, Written, encoded_histories, write_part
from training_assets.kernels.training_rows import write_training_rows
from training_assets.lake import Lake
from training_assets.lake.publish import NewDay, publish
from training_assets.list_format import JaggedLists
from training_assets.loader import TrainingDays
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, Table
from training_assets.tables.build import NewFiles

FIRST_DAY = date(2024, 3, 1)
NUM_DAYS = 3
NUM_ITEMS = 50_000
HISTORIES_PER_FILE = 50_000
ROWS_AT_ONCE = 2_000
ROWS_OF_DATASET = 50_000
RUN = 12 * "0"
BARE = "(c) bare gather, 1 thread"
EXPANDED = "expanded"
STORED_ORDER = "expanded, in stored order"
HELD = "expanded, in stored order, batches held"
PARQUET = "(a) padded Parquet by pyarrow"
COLUMNS = ["impression_item_id", "is_order", "action_items", "action_types"]

Options = argparse.Namespace
# Yields the number of examples of each batch that it makes.
Case = Callable[[Options, Path], Iterator[int]]


def write_lake(options: Options, lake: Path, *, is_full: bool) -> None:
    """``options.rows`` examples of ``options.histories`` customers a day, in both tables.

    Written by what writes them in the platform, so that all cases read the files that users have.
    """
    rng = np.random.default_rng([options.seed, is_full])
    day = (FIRST_DAY - date(1970, 1, 1)).days
    starts = range(0, options.histories, HISTORIES_PER_FILE)
    roots = [str(lake / table.name) for table in (CUSTOMER_HISTORY, TRAINING_INPUT)]
    files = []
    for part, first in enumerate(starts):
        customers = range(first, min(first + HISTORIES_PER_FILE, options.histories))
        steps = range(0, len(customers), ROWS_AT_ONCE)
        chunks = (customers[at : at + ROWS_AT_ONCE] for at in steps)
        parquet = encoded_histories([_histories(rng, chunk, options, is_full) for chunk in chunks])
        files.append(write_part(roots[0], RUN, day, part, parquet, np.array(customers)))
    _publish(lake, CUSTOMER_HISTORY, files, options.length)
    rankings = (_rankings(rng, part, options) for part in range(len(starts)))
    paths = {day: [f"{roots[0]}/{file.name}" for file in files]}
    (batch,) = write_training_rows(rankings, roots[1], RUN, paths, options.length)
    rows = [Written(**row) for row in batch.to_pylist()]
    _publish(lake, TRAINING_INPUT, rows, options.length)


def _histories(
    rng: np.random.Generator, customers: range, options: Options, is_full: bool
) -> HistoryColumns:
    lengths = np.full(len(customers), options.length)
    if not is_full:
        lengths = np.minimum(rng.lognormal(5.5, 1.2, len(customers)).astype(int), options.length)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = rng.zipf(1.2, offsets[-1]) % NUM_ITEMS + 1
    types = rng.choice(np.array([1, 1, 1, 1, 1, 1, 2, 3], np.int8), offsets[-1])
    ago = rng.integers(1, 366, offsets[-1], np.int16)
    ago = ago[np.lexsort((ago, np.repeat(np.arange(len(lengths)), lengths)))]
    return HistoryColumns(
        np.array(customers),
        JaggedLists(items.astype(np.uint16), offsets, np.arange(NUM_ITEMS + 1, dtype=np.int32)),
        JaggedLists(types, offsets),
        JaggedLists(ago, offsets),
    )


def _rankings(rng: np.random.Generator, part: int, options: Options) -> pa.RecordBatch:
    """One ranking a customer, of as many items as the rows are to be."""
    first = part * HISTORIES_PER_FILE
    customers = np.arange(first, min(first + HISTORIES_PER_FILE, options.histories))
    per_ranking = options.rows // options.histories
    size = len(customers) * per_ranking
    items = pa.StructArray.from_arrays(
        [rng.integers(1, NUM_ITEMS, size, np.int32), rng.random(size) < 0.02],
        ["item_id", "is_order"],
    )
    offsets = np.arange(0, size + 1, per_ranking, np.int32)
    columns = {
        "dt": pa.array(np.full(len(customers), FIRST_DAY)),
        "part": pa.array(np.full(len(customers), part, np.int32)),
        "customer_id": pa.array(customers),
        "ranking_id": pa.array([f"ranking-{customer}" for customer in customers]),
        "impressions": pa.ListArray.from_arrays(offsets, items),
    }
    return pa.RecordBatch.from_pydict(columns)


def _publish(lake: Path, table: Table, written: Sequence[Written], length: int) -> None:
    """The day that was written, and days after it that are links to its files."""
    found = Lake.at(lake)
    histories = found.snapshot(CUSTOMER_HISTORY.name)
    first, days = NewFiles.of(written), {}
    for number in range(NUM_DAYS):
        dt = FIRST_DAY + timedelta(days=number)
        files = tuple(
            file._replace(name=file.name.replace(str(FIRST_DAY), str(dt))) for file in first.files
        )
        (lake / table.name / f"dt={dt}").mkdir(exist_ok=True)
        for old, new in zip(first.files, files, strict=True) if number else ():
            os.link(lake / table.name / old.name, lake / table.name / new.name)
        manifest: dict[str, Any] = {
            "table": table.name,
            "dt": str(dt),
            "inputs": str(dt),
            "rows": sum(file.rows for file in files),
            "schema_version": 1,
            "settings": {"history_length": length, "lookback_days": 365},
        }
        if table is TRAINING_INPUT:
            content = str(histories.content(dt))[:16]
            manifest["built_from"] = {
                "upstream": {CUSTOMER_HISTORY.name: {str(dt): content}},
            }
        days[dt] = NewDay(files, first.bounds, manifest)
    store, before = found.table_store(table.name), found.snapshot(table.name)
    publish(store, table, days, before, {"run": RUN})


def ours(num_workers: int | None = None, *, is_held: bool = False, **settings: Any) -> Case:
    """Batches of a TrainingDays; as tensors if ``num_workers`` is given.

    Each is let go of before the next one is asked for, or after that if ``is_held``.
    """

    def case(options: Options, lake: Path) -> Iterator[int]:
        days = TrainingDays(lake, batch_size=options.batch_size, days=[FIRST_DAY], **settings)
        batches = days if num_workers is None else days.tensors(num_workers=num_workers)
        return (len(batch) for batch in batches) if is_held else map(len, batches)

    return case


def padded_parquet(options: Options, lake: Path) -> Iterator[int]:
    """(a): each array column is flattened and viewed as [B, L], which copies nothing more."""

    def num_examples(read: pa.RecordBatch) -> int:
        tensors = [torch.from_dlpack(read.column(name)) for name in COLUMNS[:2]]
        for name in COLUMNS[2:]:
            flat = torch.from_dlpack(read.column(name).flatten())
            tensors.append(flat.reshape(read.num_rows, options.length))
        return len(tensors[0])

    return map(num_examples, _batches(lake, options.batch_size))


def padded_pandas(options: Options, lake: Path) -> Iterator[int]:
    """(a) as it is often written: rows as objects, stacked."""

    def num_examples(read: pa.RecordBatch) -> int:
        frame = read.to_pandas()
        tensors = [torch.tensor(frame[name].to_numpy()) for name in COLUMNS[:2]]
        tensors += [torch.tensor(np.stack(frame[name].to_numpy())) for name in COLUMNS[2:]]
        return len(tensors[0])

    return map(num_examples, _batches(lake, options.batch_size))


def _batches(lake: Path, num_rows: int) -> Iterator[pa.RecordBatch]:
    for path in sorted((lake / TRAINING_INPUT.name / f"dt={FIRST_DAY}").glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(num_rows, columns=COLUMNS)


class Rows(torch.utils.data.Dataset[tuple[torch.Tensor, ...]]):
    """(b): one example at a time from Arrow arrays in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._columns = [column.combine_chunks() for column in table.columns]

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, row: int) -> tuple[torch.Tensor, ...]:
        item, label, actions, types = (column[row] for column in self._columns)
        return (
            torch.tensor(item.as_py()),
            torch.tensor(label.as_py()),
            torch.from_dlpack(actions.values),
            torch.from_dlpack(types.values),
        )


def torch_dataset(num_workers: int) -> Case:
    def case(options: Options, lake: Path) -> Iterator[int]:
        read = next(_batches(lake, min(ROWS_OF_DATASET, options.rows)))
        loader = torch.utils.data.DataLoader(
            Rows(pa.Table.from_batches([read])),
            batch_size=options.batch_size,
            shuffle=True,
            num_workers=num_workers,
        )
        return (len(labels) for _, labels, *_ in loader)

    return case


def bare_gather(num_threads: int) -> Case:
    """(c): two threads take half of the rows each."""

    def case(options: Options, lake: Path) -> Iterator[int]:
        rng = np.random.default_rng(options.seed)
        shape = options.histories, options.length
        stored = [rng.integers(0, 9, shape, dtype=np.int32) for _ in range(2)]
        size = options.batch_size
        out = [np.empty((size, options.length), np.int32) for _ in range(2)]
        order = rng.permutation(np.arange(shape[0]).repeat(options.rows // options.histories))
        cuts = [size * part // num_threads for part in range(num_threads + 1)]

        def take(which: np.ndarray, start: int, stop: int) -> None:
            for array, target in zip(stored, out, strict=True):
                np.take(array, which[start:stop], axis=0, out=target[start:stop], mode="clip")

        with ThreadPoolExecutor(num_threads) as pool:
            for first in range(0, len(order) - size + 1, size):
                which = order[first : first + size]
                if num_threads == 1:
                    take(which, 0, size)
                else:
                    list(pool.map(take, [which] * num_threads, cuts[:-1], cuts[1:]))
                yield size

    return case


# On the typical lake, and those that depend on the lengths of histories on the full one too.
CASES: dict[str, Case] = {
    BARE: bare_gather(1),
    "(c) bare gather, 2 threads": bare_gather(2),
    "expanded, 1 thread": ours(threads=1),
    EXPANDED: ours(),
    STORED_ORDER: ours(shuffle="none"),
    HELD: ours(shuffle="none", is_held=True),
    "expanded, held jagged, 1 thread": ours(dense_limit_bytes=0, threads=1),
    "expanded, held jagged": ours(dense_limit_bytes=0),
    "deduplicated": ours(layout="deduplicated"),
    "deduplicated, histories shuffled": ours(layout="deduplicated", shuffle="histories"),
    "jagged, histories shuffled": ours(layout="jagged", shuffle="histories"),
    "expanded, tensors": ours(num_workers=0),
    "expanded, tensors, 1 worker": ours(num_workers=1),
    "expanded, tensors, 2 workers": ours(num_workers=2),
    PARQUET: padded_parquet,
    "(a) the same by pandas": padded_pandas,
    "(b) torch Dataset, 0 workers": torch_dataset(0),
    "(b) torch Dataset, 2 workers": torch_dataset(2),
}
