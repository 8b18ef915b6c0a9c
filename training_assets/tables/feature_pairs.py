"""How often each customer met each item in a window: what windows have in common is kept.

Windows of days that follow each other have nearly all days in common. What eight of them share is
their core; what 64 share is the base of these cores:

    days of the look-back   |<---------------- base of 64 ---------------->|
    of a day              |<-------------------- core of 8 ------------------->|
                        |<------------------------ window ------------------------>|

The pairs of a base are kept with what they come to (``pair_bases.py``), and beside it the further
pairs of a core, of at most 56 days. A day adds to these the pairs of 7 days, and days of the same
core are counted together. So only every 64th day looks at all actions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets.features import count_pairs
from training_assets.features.actions import read_actions
from training_assets.kernels import (
    PAIRS_DDL,
    WRITTEN_DDL,
    CoreFiles,
    Written,
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
from training_assets.tables.pair_bases import Base

# Days whose windows have a core, and a base, in common.
_STEPS: Final = (8, 64)
_ACTIONS_PER_PART: Final = 1_000_000


def days_together(build: Build, days: Sequence[date]) -> Iterator[list[date]]:
    """Days that have a core in common, in order; fewer of them where a day has more rows."""
    step = _STEPS[0]
    for _, found in groupby(sorted(days), lambda day: number_of(day) // step):
        block = list(found)
        at_once = max(1, step // num_files(build, block[0]))
        yield from (block[at : at + at_once] for at in range(0, len(block), at_once))


@dataclass(frozen=True)
class Core:
    """What the windows of days have in common, and the pairs of their other days, by day."""

    base: Base
    further: Kept
    others: DataFrame

    def files(self, length: int) -> CoreFiles:
        """With lists of at least so many of the newest items."""
        return CoreFiles(self.base.files(length), self.further.files)


def core_of(build: Build, days: Sequence[date], window: Mapping[date, str]) -> Core:
    """The core of days that have one in common; made where it is missing."""
    store = StateStore(build.lake)
    core, *larger = (_common(build, step, number_of(days[0]), window) for step in _STEPS)
    common = larger[0] if larger else Stretch(PAIRS, 0, 0, {})
    kept = _kept(build, store, common, _num_parts(build, common.contents))
    base = Base(build, store, common, kept)
    own = {day: content for day, content in core.contents.items() if day not in common.contents}
    others = [day for day in window if day not in core.contents]
    # Parts are those of the base, so that a task has all that is known of its customers.
    num_parts = kept.num_parts or _num_parts(build, own)
    # Which of these pairs are new is for this base alone.
    definition = [num_parts, common.hash]
    rest = Stretch(core.kind, core.first, core.end, own, definition)
    further = _kept(build, store, rest, num_parts, base)
    rows = _rows(build, others, num_parts, "day")
    return Core(base, further, rows)


def _common(build: Build, step: int, day: int, window: Mapping[date, str]) -> Stretch:
    """The days that the windows of ``step`` days in a row have in common."""
    end = day // step * step
    lookback = build.settings.lookback_days
    first = end + step - 1 - lookback if lookback else min(map(number_of, window), default=end)
    return Stretch.of(f"{PAIRS} {step}", first, end, window)


def _num_parts(build: Build, days: Iterable[date]) -> int:
    return max(1, round(num_actions(build, days) / _ACTIONS_PER_PART))


def _kept(
    build: Build, store: StateStore, stretch: Stretch, num_parts: int, base: Base | None = None
) -> Kept:
    """The pairs of a stretch, counted from its actions where they are not kept.

    Those of a core say whether they are new to its base.
    """
    if not stretch.contents:
        return Kept({})
    if found := store.find([stretch]):
        return found[stretch]
    root, run = store.root(stretch), build.run
    known = base.files(0) if base else None

    def write(some: Sequence[date], files: Mapping[int, Sequence[str]]) -> list[Written]:
        def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return write_pairs(batches, files, root, run, known)

        rows = _rows(build, some, num_parts).mapInArrow(task, WRITTEN_DDL)
        return [Written(*row) for row in rows.collect()]

    weigh, most = lambda of: num_actions(build, [of]), actions_at_once(build)
    batches = list(in_batches(stretch.contents, weigh, most))
    if len(batches) < 2:
        return store.add({stretch: write(list(stretch.contents), {})})[stretch]
    counted = [file for some in batches for file in write(some, {})]
    files: dict[int, list[str]] = {part: [] for part in range(num_parts)}
    for file in counted:
        files[file.part].append(f"{root}/{file.name}")
    merged = write([], files)
    whole = store.add({stretch: merged})[stretch]
    # What came into a part at once is there under the same name, which its content gives it.
    names = {file.name for file in merged}
    store.remove(stretch, (file for file in counted if file.name not in names))
    return whole


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
