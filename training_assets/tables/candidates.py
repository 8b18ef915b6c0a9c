"""What may be drawn as a negative: items of the catalogue, or acted on in the look-back."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from training_assets.kernels import ActionFile
from training_assets.list_format import SealedParquet
from training_assets.sampling.actions import COUNTS_DDL, count_items
from training_assets.sampling.rules import ItemsOfDays, Window
from training_assets.tables.build import Batches, Build, number_of
from training_assets.tables.feature_inputs import CATALOGUE


def items_of_days(
    build: Build, days: Sequence[date], files: Sequence[ActionFile], window: Window
) -> ItemsOfDays:
    """What may be drawn on each day: active in the catalogue, or acted on in the look-back."""
    active = _active_items(build, days)
    is_uniform = build.settings.negative_strategy == "uniform"
    # Where a catalogue says what may be drawn, and all alike, nobody asks how popular it is.
    asked = [] if is_uniform and len(active) == len(days) else files
    before = [f for f in asked if f.day is not None and f.day < window.days[-1]]
    return ItemsOfDays.of(_counts(build, before, window), active)


def _counts(
    build: Build, files: Sequence[ActionFile], window: Window
) -> dict[int, tuple[Any, Any]]:
    """Items (ascending) and their actions, by bucket."""
    if not files:
        return {}

    def count(batches: Batches) -> Batches:
        return count_items(batches, files, window)

    numbers = build.spark.createDataFrame([(n,) for n in range(len(files))], "number int")
    spread = build.partitioning.spread(numbers, F.col("number"), of=len(files))
    counted = spread.mapInArrow(count, COUNTS_DDL).groupBy("bucket", "item_id")
    found: pa.Table = counted.agg(F.sum("actions").alias("actions")).toArrow()
    found = found.sort_by([("bucket", "ascending"), ("item_id", "ascending")])
    bucket, item, actions = (found[name].to_numpy() for name in ("bucket", "item_id", "actions"))
    # Days of the look-back may be published and hold no action.
    if not len(bucket):
        return {}
    starts: Any = np.flatnonzero(np.diff(bucket, prepend=-1))
    ends = [*starts[1:], len(bucket)]
    return {
        int(bucket[low]): (item[low:high].astype(np.int32), actions[low:high])
        for low, high in zip(starts, ends, strict=True)
    }


def _active_items(build: Build, days: Sequence[date]) -> dict[int, Any]:
    """By day of samples the active items of the newest catalogue of a day before it."""
    if not CATALOGUE:
        return {}
    published = build.lake.snapshot(CATALOGUE[0].name)
    known: dict[date, Any] = {}
    found = {}
    for day in days:
        before = [d for d in published.days if d < day]
        if not before:
            continue
        if before[-1] not in known:
            parts = [np.zeros(0, np.int32)]
            for uri in published.uris(before[-1]):
                with SealedParquet(uri) as parquet:
                    rows = parquet.read(["item_id", "is_active"])
                is_active = np.asarray(rows["is_active"].fill_null(True))
                parts.append(rows["item_id"].to_numpy()[is_active].astype(np.int32))
            known[before[-1]] = np.unique(np.concatenate(parts))
        found[number_of(day)] = known[before[-1]]
    return found
