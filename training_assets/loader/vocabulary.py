"""Item ids as small embedding rows: 0 is padding, 1 is unknown, known items start at 2."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from training_assets.errors import SchemaError, SettingsError
from training_assets.list_format import locate
from training_assets.loader.arrays import Array, Int32Array, Int64Array, viewed
from training_assets.loader.published import DayFiles, Location, Published, TableName, open_day
from training_assets.schemas import PADDING

UNKNOWN: Final = 1
_FIRST_KNOWN: Final = 2
_METADATA_KEY: Final = b"training_assets.vocabulary"
# A table of 2**26 int32 is 256 MB; above it, a search in the sorted ids.
_LARGEST_TABLE: Final = 2**26
_ROWS_PER_READ: Final = 4096
_LEAST_MERGED: Final = 2**20
_SHOWN: Final = "impression_item_id"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Item ids in ascending order; item ``item_ids[i]`` has index ``i + 2``.

    item_ids: int64 [V], unique, ascending, at least 1. ``days`` are those it was built from.

    >>> vocabulary = Vocabulary(np.array([7, 30]))
    >>> vocabulary.encode(np.array([30, 7, 8, 0]))
    array([3, 2, 1, 0], dtype=int32)
    """

    item_ids: Int64Array
    days: tuple[date, ...] = ()

    def __post_init__(self) -> None:
        ids = self.item_ids
        if len(ids) and (ids[0] <= PADDING or np.any(np.diff(ids) <= 0)):
            raise SettingsError(
                "vocabulary: item_ids are not unique, ascending and at least 1; expected all "
                "three. Build the vocabulary with Vocabulary.build."
            )
        if len(ids) and ids[-1] < _LARGEST_TABLE:
            table = np.full(int(ids[-1]) + 2, UNKNOWN, np.int32)
            table[ids] = np.arange(_FIRST_KNOWN, _FIRST_KNOWN + len(ids))
            table[PADDING] = PADDING
            object.__setattr__(self, "_table", table)

    @classmethod
    def build(
        cls,
        location: Location,
        *,
        days: Iterable[date | str],
        min_count: int = 1,
        source: TableName = "customer_history",
    ) -> "Vocabulary":
        """From the items shown on these days and those in the histories that stood then.

        Give the training days only: an item that appears later must stay unknown, or evaluation
        would know the future. An item is kept when it occurs ``min_count`` times on these days,
        as an impression item or in a row of ``source``; so ``training_input``, where a history
        stands in every row of its customer, counts it as often.
        """
        published = Published.at(location)
        built_from = tuple(sorted({date.fromisoformat(str(day)) for day in days}))
        tally = _Tally()
        for dt in built_from:
            parts = ((published.rows, _SHOWN), (published.of(source), "action_items"))
            for snapshot, column in parts:
                files = open_day(snapshot, dt, columns=[column])
                for ids, counts in _count_items(files, column):
                    tally.add(ids, counts)
        ids, counts = tally.total()
        is_known = (counts >= min_count) & (ids != PADDING)
        return cls(ids[is_known], built_from)

    @property
    def size(self) -> int:
        """Rows that an embedding needs: known items, padding and unknown."""
        return len(self.item_ids) + _FIRST_KNOWN

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        span = f", built from {self.days[0]} to {self.days[-1]}" if self.days else ""
        return f"Vocabulary({len(self.item_ids)} items{span})"

    def encode(self, items: Array) -> Int32Array:
        """Indexes of item ids, of the same shape; int32. Padding stays 0, others unknown are 1."""
        table: Int32Array | None = getattr(self, "_table", None)
        if table is not None:
            return np.take(table, items, mode="clip")
        if not len(self.item_ids):
            return np.where(items == PADDING, PADDING, UNKNOWN).astype(np.int32)
        place = np.searchsorted(self.item_ids, items).clip(max=len(self.item_ids) - 1)
        is_known = self.item_ids[place] == items
        unknown = np.where(items == PADDING, PADDING, UNKNOWN)
        return np.where(is_known, place + _FIRST_KNOWN, unknown).astype(np.int32)

    def decode(self, indexes: Array) -> Int64Array:
        """Item ids of indexes, of the same shape; int64. Padding is 0, unknown is -1."""
        ids = np.concatenate([np.array([PADDING, -1], np.int64), self.item_ids])
        return ids[indexes]

    def save(self, location: Location) -> None:
        """Write a Parquet file with columns item_id and index, and the days in its metadata."""
        filesystem, path = _file_at(location)
        index = np.arange(_FIRST_KNOWN, self.size, dtype=np.int32)
        table = pa.table({"item_id": self.item_ids, "index": index})
        about = {"version": 1, "days": [day.isoformat() for day in self.days]}
        table = table.replace_schema_metadata({_METADATA_KEY: json.dumps(about).encode()})
        pq.write_table(table, path, filesystem=filesystem, compression="zstd")

    @classmethod
    def load(cls, location: Location) -> "Vocabulary":
        """Read what ``save`` wrote. Raises SchemaError when the file is something else."""
        filesystem, path = _file_at(location)
        table = pq.read_table(path, filesystem=filesystem)
        metadata = table.schema.metadata or {}
        if _METADATA_KEY not in metadata or table.column_names != ["item_id", "index"]:
            raise SchemaError(
                f"{path}: not a vocabulary, columns are {', '.join(table.column_names)}; expected "
                "a file written by Vocabulary.save. Build the vocabulary again."
            )
        days = json.loads(metadata[_METADATA_KEY])["days"]
        ids = viewed(table.column("item_id").combine_chunks())
        return cls(ids, tuple(date.fromisoformat(day) for day in days))


def _count_items(files: DayFiles, column: str) -> Iterator[tuple[Array, Array]]:
    for index in range(len(files.paths)):
        with files.open(index) as file:
            for batch in file.iter_batches(_ROWS_PER_READ, columns=[column]):
                values = batch.column(0)
                if column == "action_items":
                    values = values.flatten()
                counted = pc.value_counts(values)
                yield viewed(counted.field("values")), viewed(counted.field("counts"))


class _Tally:
    """Adds up counts, merging only when as much has gathered as is already merged."""

    def __init__(self) -> None:
        self._merged: tuple[Int64Array, Int64Array] = (np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._pending: list[tuple[Array, Array]] = []
        self._num_pending = 0

    def add(self, ids: Array, counts: Array) -> None:
        self._pending.append((ids, counts))
        self._num_pending += len(ids)
        if self._num_pending > max(len(self._merged[0]), _LEAST_MERGED):
            self.total()

    def total(self) -> tuple[Int64Array, Int64Array]:
        """Ids ascending, and how often each was added; int64."""
        parts = [self._merged, *self._pending]
        ids, place = np.unique(np.concatenate([ids for ids, _ in parts]), return_inverse=True)
        counts = np.concatenate([counts for _, counts in parts])
        sums = np.bincount(place, counts, minlength=len(ids))
        self._merged = ids.astype(np.int64), sums.astype(np.int64)
        self._pending, self._num_pending = [], 0
        return self._merged


def _file_at(location: Location) -> tuple[pafs.FileSystem, str]:
    filesystem, path = locate(os.fspath(location))
    return filesystem or pafs.LocalFileSystem(), path
