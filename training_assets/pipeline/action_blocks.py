"""Compacted actions: blocks of 32 days as few sorted files, so that a year is quick to read.

    <root>/_compacted/<hash of what it was made from>/dt=<first day of the block>/part-00000.parquet

A block holds the actions of its days by customer, of each customer the newest ``history_length``.
It is a cache: made when a history first needs it, found only by the very content of the days that
it was made from, and may be deleted at any time.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from training_assets.errors import DayNotPublishedError, PublishError
from training_assets.freshness import Freshness, hash_of
from training_assets.kernels.action_files import ActionFile, customer_bounds
from training_assets.kernels.day_files import WRITTEN_DDL
from training_assets.kernels.histories import COMPACTIONS_DDL, compact
from training_assets.lake import MANIFEST, Lake, data_files
from training_assets.schemas import UNIFIED_ACTIONS
from training_assets.slots import Slots
from training_assets.staging import Staging

COMPACTED: Final = "_compacted"
_BLOCK_DAYS: Final = 32
_VERSION: Final = 1
_ACTIONS_PER_FILE: Final = 4_000_000
_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Block:
    """Published days that are read as one."""

    first: date
    contents: Mapping[date, str]
    history_length: int

    @property
    def table(self) -> str:
        """Where it lies: the hash of what it was made from is its name."""
        days = [[day, content] for day, content in self.contents.items()]
        return f"{COMPACTED}/{hash_of([_VERSION, self.history_length, days])}"


def action_files(
    spark: SparkSession,
    slots: Slots,
    staging: Staging,
    freshness: Freshness,
    *,
    days: Sequence[date],
    common: tuple[date, date],
) -> list[ActionFile]:
    """The files that hold the actions of ``days``, which are published; old days compacted.

    Only blocks that lie within ``common`` (first day, day after the last) are used: those that
    count as a whole for every history to be made. Blocks that are missing or out of date are made.
    """
    blocks = _blocks(freshness, days, common)
    lake = staging.lake
    if missing := [block for block in blocks if not _is_whole(lake, block)]:
        _compact(spark, slots, staging, missing)
    covered = {day for block in blocks for day in block.contents}
    files = [
        ActionFile(str(file), None)
        for block in blocks
        for file in data_files(_absolute(lake.day_path(block.table, block.first)))
    ]
    for day in sorted(set(days) - covered):
        files += _day_files(staging, day)
    return files


def _day_files(staging: Staging, day: date) -> list[ActionFile]:
    folder = _absolute(staging.lake.day_path(UNIFIED_ACTIONS.name, day))
    return [ActionFile(str(file), day.toordinal() - _EPOCH) for file in data_files(folder)]


def _absolute(folder: Path) -> Path:
    # Workers may run elsewhere.
    return folder.absolute()


def _blocks(freshness: Freshness, days: Iterable[date], common: tuple[date, date]) -> list[Block]:
    groups: dict[date, list[date]] = {}
    for day in sorted(days):
        first = date.fromordinal(day.toordinal() // _BLOCK_DAYS * _BLOCK_DAYS)
        if first >= common[0] and first + timedelta(days=_BLOCK_DAYS) <= common[1]:
            groups.setdefault(first, []).append(day)
    length = freshness.settings.history_length
    return [
        Block(first, {day: freshness.content(UNIFIED_ACTIONS, day) for day in group}, length)
        for first, group in groups.items()
    ]


def _is_whole(lake: Lake, block: Block) -> bool:
    """Whether the block is there with all the files, of the sizes, that its manifest names."""
    try:
        manifest = lake.manifest(block.table, block.first)
        sizes = [f.stat().st_size for f in data_files(lake.day_path(block.table, block.first))]
        return bool(manifest["files"] == len(sizes) and manifest["bytes"] == sum(sizes))
    except (DayNotPublishedError, KeyError, ValueError, OSError):
        return False


def _compact(spark: SparkSession, slots: Slots, staging: Staging, blocks: Sequence[Block]) -> None:
    files = {
        block.first.toordinal() - _EPOCH: [
            file for day in block.contents for file in _day_files(staging, day)
        ]
        for block in blocks
    }
    rows = [
        (day, part, low, high)
        for day, of_block in files.items()
        for part, (low, high) in enumerate(customer_ranges(of_block, _ACTIONS_PER_FILE))
    ]
    tasks = spark.createDataFrame(
        [(number, *row) for number, row in enumerate(rows)], COMPACTIONS_DDL
    )
    root, length = str(_absolute(staging.table_path(COMPACTED))), blocks[0].history_length

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return compact(batches, files, root, 12 * "0", length)

    slots.spread(tasks, F.col("task"), of=len(rows)).mapInArrow(run, WRITTEN_DDL).collect()
    for block in blocks:
        _publish(staging, block)


def _publish(staging: Staging, block: Block) -> None:
    lake = staging.lake
    for day, content in block.contents.items():
        if lake.manifest(UNIFIED_ACTIONS.name, day)["content"] != content:
            raise PublishError(
                f"{UNIFIED_ACTIONS.name}: day {day} was published anew while it was compacted; "
                "expected it to stay as it was. Run the days again."
            )
    written = staging.day_path(COMPACTED, block.first)
    sealed = staging.day_path(block.table, block.first)
    sealed.parent.mkdir(parents=True)
    if written.exists():
        written.rename(sealed)
    sealed.mkdir(exist_ok=True)
    staging.publish(block.table, block.first, {"history_length": block.history_length})
    _remove_older(lake, block)


def _remove_older(lake: Lake, block: Block) -> None:
    """Blocks of the same days with other content; a run that reads one of them tries again."""
    own = lake.day_path(block.table, block.first)
    for other in lake.table_path(COMPACTED).glob(f"*/{own.name}"):
        try:
            length = json.loads((other / MANIFEST).read_text())["history_length"]
        except (OSError, ValueError, KeyError):
            length = block.history_length
        if other != own and length == block.history_length:
            shutil.rmtree(other, ignore_errors=True)


def customer_ranges(files: Sequence[ActionFile], rows_per_range: int) -> list[tuple[int, int]]:
    """Ranges (first, last) of customer ids that cover all, with about equally many actions."""
    cuts = range_boundaries(files, rows_per_range)
    lows = [-(2**63), *cuts]
    return list(zip(lows, [*(cut - 1 for cut in cuts), 2**63 - 1], strict=True))


def range_boundaries(files: Sequence[ActionFile], rows_per_range: int) -> list[int]:
    """Where the ranges after the first begin; from the statistics in the files alone."""
    bounds = [pair for file in files for pair in customer_bounds(file.path)]
    if not bounds:
        return []
    starts, rows = (np.array(column) for column in zip(*bounds, strict=True))
    order = np.argsort(starts, kind="stable")
    total = np.cumsum(rows[order])
    count = -(-int(total[-1]) // rows_per_range)
    # A row group begins at its smallest customer, so its rows come after that boundary.
    before = total - rows[order]
    wanted = np.arange(1, count) * (total[-1] / count)
    found = starts[order][np.minimum(np.searchsorted(before, wanted), len(starts) - 1)]
    return [int(cut) for cut in np.unique(found) if cut > starts.min()]
