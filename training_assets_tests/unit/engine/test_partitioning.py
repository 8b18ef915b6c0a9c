"""Work numbered 0 to n - 1 is spread evenly, and a number is never torn apart."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from training_assets.engine import Partitioning


def tasks_of(spark: SparkSession, partitioning: Partitioning, numbers: int) -> list[list[int]]:
    """The numbers in each task that has any."""

    def gather(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = sorted({n for batch in batches for n in batch["number"].to_pylist()})
        if found:
            yield pa.RecordBatch.from_arrays([pa.array([found], pa.list_(pa.int64()))], ["found"])

    frame = spark.range(numbers * 10).select((F.col("id") % numbers).alias("number"))
    spread = partitioning.spread(frame, F.col("number"), of=numbers)
    return [row[0] for row in spread.mapInArrow(gather, "found array<long>").collect()]


@pytest.mark.parametrize("numbers", [1, 2, 7])
def test_a_number_is_in_one_task_and_neighbours_share_it(spark: SparkSession, numbers: int) -> None:
    partitioning = Partitioning.of(spark)
    tasks = tasks_of(spark, partitioning, numbers)
    assert Counter(n for task in tasks for n in task) == dict.fromkeys(range(numbers), 1)
    if partitioning.is_exact:
        assert len(tasks) == min(numbers, len(partitioning.keys))
        assert all(task == list(range(task[0], task[-1] + 1)) for task in tasks)
        assert max(map(len, tasks)) - min(map(len, tasks)) <= 1
