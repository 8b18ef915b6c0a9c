"""Rows of large days by way of the disk: workers write what they read as runs, and merge them.

    rows of any order ──> a run: sorted by (day, part), a piece of each ──> the rows of one part

So a task holds a run, and later a part, whatever the size of a day. What goes through the engine
are the places of the pieces. A run is a file of one Arrow stream after the other, in a folder that
goes when the days are written.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow.fs import LocalFileSystem

from training_assets.kernels.day_files import PART, grouped, ints, runs
from training_assets.kernels.timelines import Ints
from training_assets.list_format import locate, write_file

PIECES_DDL: Final = "dt date, part int, name string, start long, size long"
_PIECES: Final = pa.schema(
    [
        ("dt", pa.date32()),
        (PART, pa.int32()),
        ("name", pa.string()),
        ("start", pa.int64()),
        ("size", pa.int64()),
    ]
)
# A part is read in as many pieces as there are runs; each core holds a run.
_RUN_ROWS: Final = 524_288
_OPTIONS: Final = {"compression": "lz4", "use_threads": False}

Batches = Iterable[pa.RecordBatch]


def write_runs(
    batches: Batches, root: str, rows_per_run: int = _RUN_ROWS
) -> Iterator[pa.RecordBatch]:
    """Write rows with ``dt`` and ``part`` as runs under ``root``; yields ``PIECES_DDL``."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += len(batch)
        if rows >= rows_per_run:
            yield _write_run(held, root)
            held, rows = [], 0
    if rows:
        yield _write_run(held, root)


def _write_run(held: Sequence[pa.RecordBatch], root: str) -> pa.RecordBatch:
    table = pa.Table.from_batches(held)
    day, part = ints(table["dt"]), ints(table[PART])
    order = _order(day, part)
    (rows,) = table.combine_chunks().take(pa.array(order)).to_batches()
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(**_OPTIONS)
    places, starts, first = [], [0], 0
    for of in runs(order, day, part):
        with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
            writer.write_batch(rows.slice(first, len(of)))
        first += len(of)
        places.append(of[0])
        starts.append(sink.tell())
    content = sink.getvalue()
    # By what is in it: a task that is tried again writes the same file.
    name = f"{hashlib.blake2b(content, digest_size=16).hexdigest()}.arrow"
    write_file(f"{root}/{name}", content)
    columns = [
        pa.array(day[places]).view(pa.date32()),
        part[places],
        pa.repeat(pa.scalar(name), len(places)),
        starts[:-1],
        np.diff(starts),
    ]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, _PIECES, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_PIECES)


def _order(day: Ints, part: Ints) -> Ints:
    """The places of the rows by day and part; equal ones stay in their order."""
    parts = int(part.max()) + 1
    key = (day - day.min()).astype(np.int64) * parts + part
    # So short, they are sorted by their digits.
    key = key.astype(np.uint16) if key.max() < 2**16 else key
    return np.argsort(key, kind="stable")


def merge_runs(
    batches: Batches,
    root: str,
    write: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
) -> Iterator[pa.RecordBatch]:
    """What ``write`` yields of each part, one after the other.

    ``batches`` are rows of ``PIECES_DDL``, all that there are of the parts of a task.
    """
    for number, (_, _, pieces) in enumerate(grouped(batches)):
        if not number:
            # What the runs have left free lies in pieces, too small for the columns of a part.
            pa.default_memory_pool().release_unused()
        yield from write(_read(pieces, root))


def _read(pieces: pa.Table, root: str) -> Iterator[pa.RecordBatch]:
    filesystem, folder = locate(root)
    filesystem = filesystem or LocalFileSystem()
    places = zip(*(pieces[name].to_pylist() for name in ("name", "start", "size")), strict=True)
    for name, start, size in sorted(places):
        with filesystem.open_input_file(f"{folder}/{name}") as file:
            piece = file.read_at(size, start)
        yield pa.ipc.open_stream(piece).read_next_batch()
