"""How often each customer met each item in a window: its core kept, its few other days counted.

Windows of days that follow each other have nearly all days in common. What eight of them share is
kept as their core, what 64 share as the core of these:

    days of the look-back   |<---------------- core of 64 ---------------->|
    of a day              |<-------------------- core of 8 ------------------->|
                        |<------------------------ window ------------------------>|

So a day counts the actions of 7 days beside its core, and days of the same core are counted
together. A core is made from the next greater one
and the actions of at most 63 days, and only every 64th looks at all actions.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets.features import count_pairs
from training_assets.features.actions import read_actions
from training_assets.kernels import (
    CUSTOMERS_DDL,
    ITEMS_DDL,
    PAIRS_DDL,
    WRITTEN_DDL,
    Categories,
    Written,
    count_by_customer,
    count_by_item,
    write_pairs,
)
from training_assets.lake.frames import read_days
from training_assets.schemas import UNIFIED_ACTIONS
from training_assets.tables.build import Build, number_of
from training_assets.tables.feature_inputs import num_files
from training_assets.tables.feature_state import (
    PAIRS,
    Kept,
    StateStore,
    Stretch,
    actions_at_once,
    in_batches,
    num_actions,
)

_STEPS: Final = (8, 64)
_ACTIONS_PER_PART: Final = 1_000_000
_NOTHING: Final = Kept({})


def days_together(build: Build, days: Sequence[date]) -> Iterator[list[date]]:
    """Days that have a core in common, in order; fewer of them where a day has more rows."""
    step = _STEPS[0]
    for _, found in groupby(sorted(days), lambda day: number_of(day) // step):
        block = list(found)
        at_once = max(1, step // num_files(build, block[0]))
        yield from (block[at : at + at_once] for at in range(0, len(block), at_once))


def pairs_of_customers(
    build: Build,
    days: Sequence[date],
    window: Mapping[date, str],
    categories: Mapping[int, Categories],
    length: int,
) -> DataFrame:
    """What the pairs of each day's window come to for each customer; its ``length`` newest items.

    ``days`` have a core in common, ``window`` has the contents of all that one of them looks back
    to, ``categories`` are those as of each day.
    """
    rows, core = _pairs(build, days, window)
    files, windows = core.files, _windows(build, days, window)

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return count_by_customer(batches, files, windows, categories, length)

    return rows.mapInArrow(count, CUSTOMERS_DDL)


def pairs_of_items(build: Build, days: Sequence[date], window: Mapping[date, str]) -> DataFrame:
    """How many customers each item has in each day's window; rows of an item are to be added up.

    ``days`` and ``window`` as above.
    """
    rows, core = _pairs(build, days, window)
    files, windows = core.files, _windows(build, days, window)

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return count_by_item(batches, files, windows)

    return rows.mapInArrow(count, ITEMS_DDL)


def _windows(build: Build, days: Sequence[date], window: Mapping[date, str]) -> dict[int, int]:
    """The first day that counts for each of the days, as numbers."""
    lookback = build.settings.lookback_days
    first = min(map(number_of, window), default=0)
    return {n: first if lookback is None else n - lookback for n in map(number_of, days)}


def _pairs(
    build: Build, days: Sequence[date], window: Mapping[date, str]
) -> tuple[DataFrame, Kept]:
    """Pairs of the days that are not in the core, by day, and the core."""
    stretch, core = _core(build, StateStore(build.lake), number_of(days[0]), window, _STEPS)
    others = [of for of in window if of not in stretch.contents]
    return _rows(build, others, max(core.num_parts, 1), "day"), core


def _core(
    build: Build, store: StateStore, day: int, window: Mapping[date, str], steps: Sequence[int]
) -> tuple[Stretch, Kept]:
    """What the windows of ``steps[0]`` days in a row have in common; made where it is missing."""
    step, further = steps[0], steps[1:]
    end = day // step * step
    lookback = build.settings.lookback_days
    first = end + step - 1 - lookback if lookback else min(map(number_of, window), default=end)
    stretch = Stretch.of(f"{PAIRS} {step}", first, end, window)
    if not stretch.contents:
        return stretch, _NOTHING
    if found := store.find([stretch]):
        return stretch, found[stretch]
    base, kept = Stretch(PAIRS, 0, 0, {}), _NOTHING
    if further:
        base, kept = _core(build, store, day, window, further)
    days = [of for of in stretch.contents if of not in base.contents]
    num_parts = kept.num_parts or max(1, round(num_actions(build, days) / _ACTIONS_PER_PART))
    root, run = store.root(stretch), build.run

    def write(some: Sequence[date], files: Mapping[int, Sequence[str]]) -> list[Written]:
        def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return write_pairs(batches, files, root, run)

        rows = _rows(build, some, num_parts).mapInArrow(task, WRITTEN_DDL)
        return [Written(*row) for row in rows.collect()]

    weigh, most = lambda of: num_actions(build, [of]), actions_at_once(build)
    batches = list(in_batches(days, weigh, most))
    if len(batches) < 2:
        return stretch, store.add({stretch: write(days, kept.files)})[stretch]
    counted = [file for some in batches for file in write(some, {})]
    files = {part: [*kept.files.get(part, ())] for part in range(num_parts)}
    for file in counted:
        files[file.part].append(f"{root}/{file.name}")
    merged = write([], files)
    whole = store.add({stretch: merged})[stretch]
    # What came into a part at once is there under the same name, which its content gives it.
    names = {file.name for file in merged}
    store.remove(stretch, (file for file in counted if file.name not in names))
    return stretch, whole


def _rows(build: Build, days: Sequence[date], num_parts: int, *by: str) -> DataFrame:
    """Pairs of the days by ``part`` of the customers; each part has a row and one task."""
    snapshot = build.lake.snapshot(UNIFIED_ACTIONS.name)
    actions = read_days(build.spark, snapshot, UNIFIED_ACTIONS, days)
    counted = count_pairs(read_actions(actions, None, where=PAIRS), *by)
    part = F.pmod("customer_id", F.lit(num_parts)).cast("int").alias("part")
    day = F.col("day") if by else F.lit(0).alias("day")
    empty = [(number, *[None] * 6) for number in range(num_parts)]
    rows = counted.select(
        part, day, "customer_id", "item_id", "_actions", "_newest", "_purchases"
    ).unionByName(build.spark.createDataFrame(empty, PAIRS_DDL))
    return build.partitioning.spread(rows, F.col("part"), of=num_parts)
