"""The pairs of a base, kept with what they come to: so a day need not count them again.

    pairs 64             how often each customer met each item, in parts of the customers
    pairs 64 items       by item, how many customers met it
    pairs 64 lists       by customer, how many items it met, and the newest of them
    pairs 64 categories  by customer and category, what was done there; for the categories that
                         the items of the base have as of a day

Each is found by the content of the days, and made of the pairs when a day first needs it. Items
that are not in the base may come into the catalogue without anything being counted anew.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets.kernels import (
    ITEMS_DDL,
    PARTS_DDL,
    WRITTEN_DDL,
    BaseFiles,
    Categories,
    DayCategories,
    Written,
    count_items,
    read_item_counts,
    write_categories,
    write_item_counts,
    write_lists,
)
from training_assets.tables.build import Build
from training_assets.tables.feature_state import Kept, StateStore, Stretch

# Who asks for fewer gets so many, so that customers and items share one file.
_LENGTH: Final = 10

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class Base:
    """The pairs of a stretch; of one without days there are none, and nothing is kept of them."""

    build: Build
    store: StateStore
    stretch: Stretch
    pairs: Kept

    def items(self) -> list[str]:
        """The file of how many customers met each item."""
        return self._items.uris

    @cached_property
    def _items(self) -> Kept:
        files, run = self.pairs.files, self.build.run

        def count(batches: Batches) -> Batches:
            return count_items(batches, files)

        def write(parts: DataFrame, root: str) -> list[Written]:
            found = parts.mapInArrow(count, ITEMS_DDL).toArrow()
            counted = [tuple(column.to_numpy() for column in found.columns)]
            return [write_item_counts(counted, root, run)]

        return self._kept("items", None, write)

    def files(self, length: int) -> BaseFiles:
        """The pairs, and lists of at least the ``length`` newest items of each customer."""
        return BaseFiles(self.pairs.files, self._lists(max(length, _LENGTH)).files)

    def _lists(self, length: int) -> Kept:
        files, run = self.pairs.files, self.build.run

        def write(parts: DataFrame, root: str) -> list[Written]:
            def task(batches: Batches) -> Batches:
                return write_lists(batches, files, length, root, run)

            return _written(parts.mapInArrow(task, WRITTEN_DDL))

        return self._kept("lists", length, write)

    def categories(self, as_of: Categories) -> DayCategories:
        """What was done in the categories as of a day."""
        if not self.stretch.contents:
            return DayCategories(as_of, {}, np.empty(0, np.int64))
        items, _ = read_item_counts(self.items())
        own, places = as_of.only(items)
        files, run = self.pairs.files, self.build.run

        def write(parts: DataFrame, root: str) -> list[Written]:
            def task(batches: Batches) -> Batches:
                return write_categories(batches, files, own, root, run)

            return _written(parts.mapInArrow(task, WRITTEN_DDL))

        return DayCategories(as_of, self._kept("categories", own.hash, write).files, places)

    def _kept(self, name: str, of: Any, write: Callable[[DataFrame, str], list[Written]]) -> Kept:
        if not self.stretch.contents:
            return Kept({})
        num_parts, pairs = self.pairs.num_parts, self.stretch
        kind = f"{pairs.kind} {name}"
        stretch = Stretch(kind, pairs.first, pairs.end, pairs.contents, [num_parts, of])
        if found := self.store.find([stretch]):
            return found[stretch]
        rows = self.build.spark.createDataFrame([(n,) for n in range(num_parts)], PARTS_DDL)
        parts = self.build.partitioning.spread(rows, F.col("part"), of=num_parts)
        return self.store.add({stretch: write(parts, self.store.root(stretch))})[stretch]


def _written(rows: DataFrame) -> list[Written]:
    return [Written(*row) for row in rows.collect()]
