"""The histories of one day, read once and held once, dense or jagged.

Reads the array columns of ``customer_history`` or, where only that exists, of ``training_input``.
Item 0 of a history is its newest action; a shorter length cuts the oldest; zeros pad the right.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from training_assets.errors import SchemaError
from training_assets.loader.arrays import Array, BoolArray, Int32Array, Int64Array, viewed
from training_assets.loader.published import DayFiles
from training_assets.loader.vocabulary import Vocabulary
from training_assets.schemas import PADDING

COLUMNS: Final = {
    "actions": "action_items",
    "action_types": "action_types",
    "days_ago": "action_days_ago",
}
STORED_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "actions": np.dtype(np.int32),
    "action_types": np.dtype(np.int8),
    "days_ago": np.dtype(np.int16),
}
ROWS_PER_READ: Final = 1024
_SKIPPED: Final = -1


@dataclass(frozen=True)
class Histories:
    """``H`` histories of at most ``length`` actions.

    ``values`` holds actions int32, action_types int8 and, if asked for, days_ago int16.
    Dense (``starts`` is None): each of shape [H, length], zeros on the right.
    Jagged: each of shape [N + length], and history ``h`` is
    ``values[starts[h] : starts[h] + lengths[h]]``; the last ``length`` values are slack, so that
    a window of ``length`` may begin at any start.

    lengths: int32 [H]; starts: int64 [H], in no particular order.
    """

    length: int
    lengths: Int32Array
    starts: Int64Array | None
    values: dict[str, Array]

    @property
    def is_dense(self) -> bool:
        return self.starts is None

    @property
    def nbytes(self) -> int:
        starts = 0 if self.starts is None else self.starts.nbytes
        return self.lengths.nbytes + starts + sum(array.nbytes for array in self.values.values())


def bytes_per_action(with_days_ago: bool) -> int:
    return 7 if with_days_ago else 5


@dataclass
class _Filling:
    """Histories under construction; several threads fill different rows of it."""

    length: int
    lengths: Int32Array
    starts: Int64Array | None
    values: dict[str, Array]
    vocabulary: Vocabulary | None
    cursor: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, place: Int64Array, lengths: Int64Array, columns: dict[str, Array]) -> None:
        """Store the histories whose values stand one after the other in ``columns``.

        place: int64 [R], row of each history; lengths: int64 [R]; columns: each [sum(lengths)].
        """
        if self.vocabulary is not None:
            columns = {**columns, "actions": self.vocabulary.encode(columns["actions"])}
        self.lengths[place] = lengths
        if self.starts is None:
            self._put_dense(place, lengths, columns)
            return
        with self.lock:
            start = self.cursor
            self.cursor += int(lengths.sum())
        self.starts[place] = start + np.cumsum(lengths) - lengths
        for name, values in columns.items():
            self.values[name][start : start + len(values)] = values

    def _put_dense(self, place: Int64Array, lengths: Int64Array, columns: dict[str, Array]) -> None:
        is_action = inside(lengths, self.length)
        is_full = bool(is_action.all())
        is_run = bool(np.all(np.diff(place) == 1))
        for name, values in columns.items():
            store = self.values[name]
            if is_full:
                store[place] = values.reshape(is_action.shape)
            elif is_run:
                store[place[0] : place[-1] + 1][is_action] = values
            else:
                rows = np.zeros(is_action.shape, store.dtype)
                rows[is_action] = values
                store[place] = rows

    def done(self) -> Histories:
        if self.starts is None:
            return Histories(self.length, self.lengths, None, self.values)
        values = {name: array[: self.cursor + self.length] for name, array in self.values.items()}
        for array in values.values():
            array[self.cursor :] = PADDING
        return Histories(self.length, self.lengths, self.starts, values)


def read_histories(
    files: DayFiles,
    place: Int64Array,
    *,
    num_histories: int,
    length: int,
    is_dense: bool,
    with_days_ago: bool,
    vocabulary: Vocabulary | None,
    threads: int,
) -> Histories:
    """Read the array columns of the rows with ``place`` >= 0 into row ``place`` of the result.

    place: int64 [rows of the files]; each of 0..num_histories-1 stands in it exactly once.
    Rows of ``training_input`` are read without their padding. Raises SchemaError when the
    parallel arrays of a row differ in length, hold nulls, or a padded row is not as long as the
    manifest says.
    """
    names = [name for name in COLUMNS if with_days_ago or name != "days_ago"]
    size = num_histories * length
    if not is_dense and files.manifest.table == "customer_history":
        size = min(size, files.num_values("action_items"))
    shape: tuple[int, ...] = (num_histories, length) if is_dense else (size + length,)
    filling = _Filling(
        length=length,
        lengths=np.zeros(num_histories, np.int32),
        starts=None if is_dense else np.zeros(num_histories, np.int64),
        # Zeroed memory is mapped when first written, so padding costs none until it is read.
        values={name: np.zeros(shape, dtype=STORED_DTYPES[name]) for name in names},
        vocabulary=vocabulary,
    )
    pieces = list(_pieces(files))
    with ThreadPoolExecutor(max(1, min(threads, len(pieces)))) as pool:
        jobs = [
            pool.submit(_fill_from, filling, files, names, index, group, place[start:stop])
            for index, group, start, stop in pieces
        ]
        for job in jobs:
            job.result()
    # Arrow would keep what it has decoded into for the next day, which is a long time from now.
    pa.default_memory_pool().release_unused()
    return filling.done()


def _pieces(files: DayFiles) -> Iterator[tuple[int, int, int, int]]:
    """File, row group, and which rows of the day it holds, from start up to stop."""
    start = 0
    for index, footer in enumerate(files.footers):
        for group in range(footer.num_row_groups):
            stop = start + footer.row_group(group).num_rows
            yield index, group, start, stop
            start = stop


def _fill_from(
    filling: _Filling,
    files: DayFiles,
    names: Sequence[str],
    index: int,
    group: int,
    place: Int64Array,
) -> None:
    if not np.any(place != _SKIPPED):
        return
    is_padded = files.manifest.table == "training_input"
    start = 0
    with files.open(index) as file:
        for read in file.iter_batches(
            ROWS_PER_READ, row_groups=[group], columns=[COLUMNS[name] for name in names]
        ):
            to = place[start : start + read.num_rows]
            start += read.num_rows
            is_wanted = to != _SKIPPED
            if not is_wanted.any():
                continue
            rows = read if is_wanted.all() else read.filter(pa.array(is_wanted))
            lengths, columns = _newest(files, rows, names, filling.length, is_padded)
            filling.put(to[is_wanted], lengths, columns)


def _newest(
    files: DayFiles, batch: pa.RecordBatch, names: Sequence[str], length: int, is_padded: bool
) -> tuple[Int64Array, dict[str, Array]]:
    """Lengths and values of the newest ``length`` actions of each row, padding left out."""
    sizes, columns = _arrays(files, batch, names)
    kept = sizes
    if is_padded:
        if np.any(sizes != files.manifest.history_length):
            raise SchemaError(
                f"{files.where}: action_items holds arrays of {sizes.min()} to {sizes.max()} "
                f"items; expected {files.manifest.history_length}, the history_length of its "
                "manifest. Publish the day again."
            )
        rows = columns["actions"].reshape(len(sizes), -1)
        kept = np.count_nonzero(rows != PADDING, axis=1).astype(np.int64)
    kept = np.minimum(kept, length)
    if not np.array_equal(kept, sizes):
        is_kept = _is_newest(sizes, kept)
        columns = {name: values[is_kept] for name, values in columns.items()}
    return kept, columns


def _arrays(
    files: DayFiles, batch: pa.RecordBatch, names: Sequence[str]
) -> tuple[Int64Array, dict[str, Array]]:
    """Sizes of the rows' arrays, int64 [R], and their values without the offsets."""
    columns: dict[str, Array] = {}
    sizes: Int64Array | None = None
    for name in names:
        arrays = batch.column(COLUMNS[name])
        offsets = viewed(arrays.offsets).astype(np.int64)
        values = arrays.values.slice(offsets[0], offsets[-1] - offsets[0])
        if arrays.null_count or values.null_count:
            raise SchemaError(
                f"{files.where}: {COLUMNS[name]} holds nulls; expected none. Publish the day again."
            )
        if sizes is None:
            sizes = np.diff(offsets)
        elif not np.array_equal(sizes, np.diff(offsets)):
            raise SchemaError(
                f"{files.where}: {COLUMNS[name]} and action_items differ in length within a row; "
                "expected parallel arrays. Publish the day again."
            )
        columns[name] = viewed(values).astype(STORED_DTYPES[name], copy=False)
    assert sizes is not None
    return sizes, columns


def inside(lengths: Int64Array | Int32Array, width: int) -> BoolArray:
    """Which of ``width`` places of each row hold an action; bool [R, width]."""
    # Comparing in 16 bits is three times as fast, and histories are rarely longer than that.
    if width < 2**15:
        is_inside: BoolArray = np.arange(width, dtype=np.int16) < lengths.astype(np.int16)[:, None]
        return is_inside
    return np.arange(width) < lengths[:, None]


def _is_newest(sizes: Int64Array, kept: Int64Array) -> BoolArray:
    """Which values of arrays of ``sizes`` are among the first ``kept`` of theirs."""
    if len(sizes) and np.all(sizes == sizes[0]):
        return inside(kept, int(sizes[0])).reshape(-1)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.arange(int(sizes.sum())) - first < np.repeat(kept, sizes)
