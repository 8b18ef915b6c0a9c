"""What the list format and the seal of files cost and save, against pyarrow's and Polars' writers.

    python benchmarks/list_format.py [--repeats 5]

Three files, made in memory from the same seed: padded training rows, eleven of which share a
history; histories of any length; actions in pyarrow's own format. Each is written by every writer
and read by every reader that can, one thread, in turns, so that a busy machine slows all of them.
What Polars and pyarrow write is put together for them beforehand and not counted. Raw JSON goes to
benchmarks/results/list_format.json.
"""

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before Polars starts its threads.
os.environ["POLARS_MAX_THREADS"] = "1"

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.list_format import (
    JaggedLists,
    ListParquetReader,
    SealedParquet,
    SharedLists,
    file_hash,
    open_writer,
    seal,
    seal_parts,
)
from training_assets.list_format.writer import Values

RESULTS = Path(__file__).parent / "results"
SEED = 1
CUSTOMERS, ROWS_PER_HISTORY, LENGTH, ITEMS = 7_000, 11, 1_000, 50_000
ROWS_PER_GROUP = 32_768
ACTIONS = 2_000_000
LISTS = {"action_items": pa.list_(pa.int32()), "action_types": pa.list_(pa.int8())}
SCHEMA = pa.schema([("customer_id", pa.int64()), *LISTS.items()])
ZSTD = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}

Writer = Callable[[], bytes]
Reader = Callable[[Path], object]


def histories(rng: np.random.Generator) -> tuple[JaggedLists, JaggedLists]:
    sizes = np.minimum(rng.lognormal(5.5, 1.2, CUSTOMERS).astype(int), LENGTH)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    items = (rng.zipf(1.2, offsets[-1]) % ITEMS + 1).astype(np.int32)
    kinds = rng.choice(np.array([1, 1, 1, 1, 1, 1, 2, 3], np.int8), offsets[-1])
    return JaggedLists(items, offsets).encoded(), JaggedLists(kinds, offsets)


def training_groups(items: JaggedLists, kinds: JaggedLists) -> list[list[Values]]:
    """Padded rows, as ``training_input`` has them."""
    padding = len(items.dictionary) if items.dictionary is not None else 0
    with_zero = JaggedLists(
        items.values, items.offsets, np.append(items.dictionary, np.int32(0)).astype(np.int32)
    )
    index = np.repeat(np.arange(CUSTOMERS), ROWS_PER_HISTORY)
    groups: list[list[Values]] = []
    for low in range(0, len(index), ROWS_PER_GROUP):
        own = index[low : low + ROWS_PER_GROUP]
        lists = [SharedLists(with_zero, own, LENGTH, padding), SharedLists(kinds, own, LENGTH)]
        groups.append([pa.array(own), *lists])
    return groups


def by_ours(groups: list[list[Values]]) -> bytes:
    sink = io.BytesIO()
    with open_writer(sink, SCHEMA, "lists") as writer:
        for columns in groups:
            writer.write_group(columns)
    return sink.getvalue()


def by_arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=ROWS_PER_GROUP, **ZSTD)
    return bytes(sink.getvalue())


def by_polars(frame: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.write_parquet(
        sink, compression="zstd", compression_level=1, row_group_size=ROWS_PER_GROUP
    )
    return sink.getvalue()


def published(parquet: bytes) -> bytes:
    """What is added to each file: its seal, and the hash in its name."""
    sealed = seal_parts(parquet)
    assert len(sealed.hash) == 16
    return sealed.end[: sealed.size - len(parquet)]


def list_writers(groups: list[list[Values]]) -> dict[str, Writer]:
    table = pq.ParquetFile(pa.BufferReader(by_ours(groups))).read()
    frame = pl.DataFrame(table)
    whole = by_ours(groups)
    return {
        "lists": lambda: by_ours(groups),
        "seal and hash alone": lambda: published(whole),
        "pyarrow": lambda: by_arrow(table),
        "polars": lambda: by_polars(frame),
    }


def actions(rng: np.random.Generator) -> pa.Table:
    return pa.table(
        {
            "customer_id": np.sort(rng.integers(0, 100_000, ACTIONS)),
            "item_id": (rng.zipf(1.2, ACTIONS) % ITEMS + 1).astype(np.int32),
            "action_type": rng.choice(np.array([1, 1, 1, 2, 3], np.int8), ACTIONS),
            "occurred_at": rng.integers(1_700_000_000_000_000, 1_700_086_400_000_000, ACTIONS),
        }
    )


def by_list_reader(path: Path) -> int:
    reader = ListParquetReader(path)
    groups = range(reader.metadata.num_row_groups)
    return sum(len(reader.lists(group, name).values) for group in groups for name in LISTS)


def by_parquet_file(path: Path, **options: Any) -> pa.Table:
    with pq.ParquetFile(path, **options) as file:
        return file.read(use_threads=False)


READERS: dict[str, Reader] = {
    "pyarrow": by_parquet_file,
    "pyarrow, checksums of pages": lambda p: by_parquet_file(p, page_checksum_verification=True),
    "SealedParquet": lambda path: SealedParquet(path).read(use_threads=False),
}


def measure(cases: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, Any]]:
    """Wall and CPU seconds of each case, all of them once in each round."""
    found: dict[str, dict[str, Any]] = {name: {"wall_s": [], "cpu_s": []} for name in cases}
    for _ in range(repeats):
        for name, run in cases.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            found[name]["wall_s"].append(time.perf_counter() - wall)
            found[name]["cpu_s"].append(time.process_time() - cpu)
    return found


def of_file(
    name: str, writers: dict[str, Writer], readers: dict[str, Reader], repeats: int, folder: Path
) -> dict[str, Any]:
    """Figures of one file; the readers read what the first writer wrote."""
    contents = {writer: write() for writer, write in writers.items()}
    content = seal(next(iter(contents.values())))
    path = folder / f"part-00000-{file_hash(content)}-{12 * '0'}.parquet"
    path.write_bytes(content)
    written = measure(dict(writers), repeats)
    for writer, figures in written.items():
        figures["bytes"] = len(contents[writer])
    read = measure({reader: lambda f=f: f(path) for reader, f in readers.items()}, repeats)
    for title, rows in (("write", written), ("read", read)):
        for case, figures in rows.items():
            cpu, size = statistics.median(figures["cpu_s"]), figures.get("bytes", 0)
            print(f"{name:10} {title:6} {case:28} {1000 * cpu:9.1f} CPU ms {size / 1e6:8.2f} MB")
    return {"write": written, "read": read}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    pa.set_cpu_count(1)
    rng = np.random.default_rng(SEED)
    items, kinds = histories(rng)
    table = actions(rng)
    whole = by_arrow(table)
    files: dict[str, tuple[dict[str, Writer], dict[str, Reader]]] = {
        "training": (list_writers(training_groups(items, kinds)), READERS),
        "histories": (
            list_writers([[pa.array(np.arange(CUSTOMERS)), items, kinds]]),
            {**READERS, "ListParquetReader": by_list_reader},
        ),
        "actions": (
            {
                "pyarrow": lambda: by_arrow(table),
                "seal and hash alone": lambda: published(whole),
            },
            READERS,
        ),
    }
    with tempfile.TemporaryDirectory() as folder:
        results = {
            name: of_file(name, writers, readers, repeats, Path(folder))
            for name, (writers, readers) in files.items()
        }
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    )
    report = {
        "commit": commit.stdout.strip(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("pyarrow", "polars", "numpy")},
        "seed": SEED,
        "rows": {
            "training": CUSTOMERS * ROWS_PER_HISTORY,
            "histories": CUSTOMERS,
            "actions": ACTIONS,
        },
        "values": {"length": LENGTH, "items": ITEMS, "actions_of_histories": len(items.values)},
        "repeats": repeats,
        "results": results,
    }
    (RESULTS / "list_format.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
