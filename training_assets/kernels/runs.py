"""Rows of large days by way of the disk: workers write what they read as runs, and merge them.

    rows of any order ──> a run: sorted by (day, part), a batch of each ──> the rows of one part

So a task holds a run, and later a part, whatever the size of a day. Runs are files of Arrow in a
folder that goes when the days are written.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import pyarrow as pa
from pyarrow.fs import LocalFileSystem

from training_assets.kernels.day_files import PART, grouped
from training_assets.list_format import locate, write_file

PIECES_DDL: Final = "name string, place int, day int, part int"
PARTS_DDL: Final = "number int, day int, part int"
_PIECES: Final = pa.schema(
    [
        ("name", pa.string()),
        ("place", pa.int32()),
        ("day", pa.int32()),
        (PART, pa.int32()),
    ]
)
# An engine may read many files at once, each into a run.
_RUN_ROWS: Final = 131_072

Batches = Iterable[pa.RecordBatch]


class Piece(NamedTuple):
    """A batch of a run: rows of one day and part; ``place`` is its number in the file ``name``."""

    name: str
    place: int


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
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    pieces = []
    with pa.ipc.new_file(sink, held[0].schema, options=options) as writer:
        for place, (day, part, rows) in enumerate(grouped(held)):
            (piece,) = rows.combine_chunks().to_batches()
            writer.write_batch(piece)
            pieces.append((place, day, part))
    content = sink.getvalue()
    # By what is in it: a task that is tried again writes the same file.
    name = f"{hashlib.blake2b(content, digest_size=16).hexdigest()}.arrow"
    write_file(f"{root}/{name}", content)
    columns = zip(*pieces, strict=True)
    names = pa.repeat(pa.scalar(name), len(pieces))
    arrays = [pa.array(c, f.type) for c, f in zip(columns, list(_PIECES)[1:], strict=True)]
    return pa.RecordBatch.from_arrays([names, *arrays], schema=_PIECES)


def merge_runs(
    batches: Batches,
    pieces: Mapping[tuple[int, int], Sequence[Piece]],
    root: str,
    write: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
) -> Iterator[pa.RecordBatch]:
    """What ``write`` yields of each part of rows of ``PARTS_DDL``, one after the other.

    ``pieces`` are by day and part.
    """
    for row in (row for batch in batches for row in batch.to_pylist()):
        yield from write(_read(pieces[row["day"], row[PART]], root))


def _read(pieces: Sequence[Piece], root: str) -> Iterator[pa.RecordBatch]:
    for piece in sorted(pieces):
        filesystem, path = locate(f"{root}/{piece.name}")
        with (filesystem or LocalFileSystem()).open_input_file(path) as file:
            yield pa.ipc.open_file(file).get_batch(piece.place)
