"""Spreads work evenly over the tasks of an engine.

An engine puts rows into tasks by a hash of their key: several keys into one task, and none into
another. Sail besides runs all tasks of a stage at once, however few the cores, and they take each
other's cache and memory. So there it gets a task per core, and a key for each that lands in it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

_PARTITION: Final = "_partition"
_MAX_PARTITIONS: Final = 1000
# Candidates for each partition; the more, the less likely that the hash leaves one without.
_CANDIDATES: Final = 32
# Tasks per key where it is not known which lands where.
_SPREAD: Final = 2
_KEYS: Final = pa.schema([("key", pa.int64())])


@dataclass(frozen=True)
class Partitioning:
    """Keys for tasks; ``is_exact`` where of ``len(keys)`` tasks each gets one of them.

    ``engine`` is what computes, with its version: ``sail 0.7.2`` or ``spark 4.2.1``.
    """

    keys: tuple[int, ...]
    is_exact: bool
    engine: str

    @classmethod
    def of(cls, spark: SparkSession) -> "Partitioning":
        """That of a session, which is asked once."""
        if spark not in _known:
            _known[spark] = cls._asked_for(spark)
        return _known[spark]

    @classmethod
    def _asked_for(cls, spark: SparkSession) -> "Partitioning":
        engine = _engine_name(spark)
        if not engine.startswith("sail"):
            return cls(tuple(range(_MAX_PARTITIONS)), is_exact=False, engine=engine)

        def smallest(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            ids = [key for batch in batches for key in batch["id"].to_pylist()]
            if ids:
                yield pa.RecordBatch.from_arrays([pa.array([min(ids)], pa.int64())], schema=_KEYS)

        count = min(_num_cores(), _MAX_PARTITIONS)
        candidates = spark.range(count * _CANDIDATES).repartition(count, "id")
        keys = [row[0] for row in candidates.mapInArrow(smallest, "key long").collect()]
        return cls(tuple(sorted(keys)), is_exact=True, engine=engine)

    def spread(
        self, frame: DataFrame, number: Column, *, of: int, at_most: int = _MAX_PARTITIONS
    ) -> DataFrame:
        """Rows by ``number`` (0 to ``of`` - 1); those of a number share a task, neighbours may."""
        count = min(len(self.keys), of, at_most)
        keys = F.array(*(F.lit(key) for key in self.keys[:count]))
        place = F.floor(number * F.lit(count) / F.lit(of)).cast("int")
        keyed = frame.withColumn(_PARTITION, F.element_at(keys, place + F.lit(1)))
        tasks = len(self.keys) if self.is_exact else min(count * _SPREAD, _MAX_PARTITIONS)
        return keyed.repartition(tasks, _PARTITION).drop(_PARTITION)


_known: Final[WeakKeyDictionary[SparkSession, Partitioning]] = WeakKeyDictionary()


def _engine_name(spark: SparkSession) -> str:
    (row,) = spark.sql("SELECT version()").collect()
    found = str(row[0]).split()[0]
    # Sail answers as the Spark that it speaks, and here as itself.
    return f"{'spark' if found == spark.version else 'sail'} {found}"


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
