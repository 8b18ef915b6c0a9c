"""The lakes that benchmarks/loader.py reads, and the cases that it measures."""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from training_assets.loader import TrainingDays
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, Table

FIRST_DAY = date(2024, 3, 1)
NUM_DAYS = 3
NUM_ITEMS = 50_000
HISTORIES_PER_CHUNK = 2_000
ROWS_OF_DATASET = 50_000
BARE = "(c) bare gather, 1 thread"
EXPANDED = "expanded"
STORED_ORDER = "expanded, in stored order"
PARQUET = "(a) padded Parquet by pyarrow"
COLUMNS = ["impression_item_id", "is_order", "action_items", "action_types"]

Options = argparse.Namespace
# Yields the number of examples of each batch that it makes.
Case = Callable[[Options, Path], Iterator[int]]


def write_lake(options: Options, lake: Path, *, is_full: bool) -> None:
    """``options.rows`` examples of ``options.histories`` customers a day, in both tables."""
    rng = np.random.default_rng([options.seed, is_full])
    per_history = options.rows // options.histories
    with _Writer(lake, CUSTOMER_HISTORY) as histories, _Writer(lake, TRAINING_INPUT) as rows:
        for first in range(0, options.histories, HISTORIES_PER_CHUNK):
            customers = np.arange(first, min(first + HISTORIES_PER_CHUNK, options.histories))
            lengths = np.full(len(customers), options.length)
            if not is_full:
                drawn = rng.lognormal(5.5, 1.2, len(customers)).astype(int)
                lengths = np.minimum(drawn, options.length)
            inside = np.arange(options.length) < lengths[:, None]
            items = np.where(inside, rng.zipf(1.2, inside.shape) % NUM_ITEMS + 1, 0)
            types = np.where(inside, rng.choice([1, 1, 1, 1, 1, 1, 2, 3], inside.shape), 0)
            ago = np.sort(rng.integers(1, 366, inside.shape), axis=1)
            ends = np.concatenate([[0], np.cumsum(lengths)])
            histories.write(
                customer_id=customers,
                action_items=_lists(ends, items[inside], np.int32),
                action_types=_lists(ends, types[inside], np.int8),
                action_days_ago=_lists(ends, ago[inside], np.int16),
            )
            num_rows = len(customers) * per_history
            ends = np.arange(num_rows + 1) * options.length
            rows.write(
                customer_id=customers.repeat(per_history),
                ranking_id=np.repeat([f"ranking-{c}" for c in customers], per_history),
                impression_item_id=rng.integers(1, NUM_ITEMS, num_rows),
                is_order=(rng.random(num_rows) < 0.02).astype(np.int32),
                action_items=_lists(ends, items.repeat(per_history, axis=0), np.int32),
                action_types=_lists(ends, types.repeat(per_history, axis=0), np.int32),
            )
    for table in (CUSTOMER_HISTORY, TRAINING_INPUT):
        _publish(lake / table.name, table.name, options.length)


class _Writer:
    def __init__(self, lake: Path, table: Table) -> None:
        path = lake / table.name / f"dt={FIRST_DAY}" / "part-00000.parquet"
        path.parent.mkdir(parents=True)
        self._schema = table.arrow_schema
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, **columns: Any) -> None:
        self._file.write_table(pa.table(columns, schema=self._schema))

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _lists(ends: np.ndarray, values: np.ndarray, dtype: Any) -> pa.ListArray:
    flat = np.ascontiguousarray(values, dtype).reshape(-1)
    return pa.ListArray.from_arrays(ends.astype(np.int32), flat)


def _publish(folder: Path, table: str, length: int) -> None:
    """A manifest for the day, and days after it that are links to its file."""
    (file,) = folder.glob("*/*.parquet")
    for number in range(NUM_DAYS):
        dt = FIRST_DAY + timedelta(days=number)
        day = folder / f"dt={dt}"
        day.mkdir(exist_ok=True)
        if number:
            os.link(file, day / file.name)
        manifest = {
            "table": table,
            "dt": str(dt),
            "rows": pq.read_metadata(file).num_rows,
            "schema_version": 1,
            "settings": {"history_length": length, "lookback_days": 365},
        }
        (day / "_day.json").write_text(json.dumps(manifest))


def ours(num_workers: int | None = None, **settings: Any) -> Case:
    """Batches of a TrainingDays; as tensors if ``num_workers`` is given."""

    def case(options: Options, lake: Path) -> Iterator[int]:
        days = TrainingDays(lake, batch_size=options.batch_size, days=[FIRST_DAY], **settings)
        batches = days if num_workers is None else days.tensors(num_workers=num_workers)
        return (len(batch) for batch in batches)

    return case


def padded_parquet(options: Options, lake: Path) -> Iterator[int]:
    """(a): each array column is flattened and viewed as [B, L], which copies nothing more."""
    with pq.ParquetFile(next(lake.glob("training_input/*/*.parquet"))) as file:
        for read in file.iter_batches(options.batch_size, columns=COLUMNS):
            tensors = [torch.from_dlpack(read.column(name)) for name in COLUMNS[:2]]
            for name in COLUMNS[2:]:
                flat = torch.from_dlpack(read.column(name).flatten())
                tensors.append(flat.reshape(read.num_rows, options.length))
            yield len(tensors[0])


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


def padded_pandas(options: Options, lake: Path) -> Iterator[int]:
    """(a) as it is often written: rows as objects, stacked."""
    with pq.ParquetFile(next(lake.glob("training_input/*/*.parquet"))) as file:
        for read in file.iter_batches(options.batch_size, columns=COLUMNS):
            frame = read.to_pandas()
            tensors = [torch.tensor(frame[name].to_numpy()) for name in COLUMNS[:2]]
            tensors += [torch.tensor(np.stack(frame[name].to_numpy())) for name in COLUMNS[2:]]
            yield len(tensors[0])


def torch_dataset(num_workers: int) -> Case:
    def case(options: Options, lake: Path) -> Iterator[int]:
        with pq.ParquetFile(next(lake.glob("training_input/*/*.parquet"))) as file:
            read = next(file.iter_batches(min(ROWS_OF_DATASET, options.rows), columns=COLUMNS))
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
