"""Action blocks: 32 days of actions as few sorted files, so that a year is quick to read.

    <lake>/_blocks/<hash of what it was made from>/dt=<first day>/part-00000-<hash>-<run>.parquet
                                                  /block.json      put last: the block is whole

A block holds the actions of its days that may stand in a history, by customer, of each customer the
newest ``history_length``. It is a cache: made when a history first needs it, found only by the very
content of the days that it was made from, so it cannot disagree with them, and may be deleted at
any time.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F

from training_assets.kernels import (
    COMPACTIONS_DDL,
    WRITTEN_DDL,
    ActionFile,
    Wanted,
    compact,
    customer_bounds,
)
from training_assets.lake import Lake, Store
from training_assets.provenance import Provenance, hash_of
from training_assets.schemas import UNIFIED_ACTIONS
from training_assets.settings import Settings
from training_assets.tables.build import Build, number_of

BLOCKS: Final = "_blocks"
_SEAL: Final = "block.json"
_BLOCK_DAYS: Final = 32
_VERSION: Final = 3
_ACTIONS_PER_FILE: Final = 4_000_000


@dataclass(frozen=True)
class Block:
    """Published days that are read as one."""

    first: date
    contents: Mapping[date, str]
    history_length: int
    wanted: Wanted

    @property
    def hash(self) -> str:
        """Of what it is made from; the name of its folder."""
        days = [[day, content] for day, content in self.contents.items()]
        return hash_of([_VERSION, self.history_length, self.wanted, days])


def action_files(
    build: Build, *, days: Sequence[date], common: tuple[date, date]
) -> list[ActionFile]:
    """The files that hold the actions of ``days``, which are published; old days in blocks.

    Only blocks that lie within ``common`` (first day, day after the last) are used: those that
    count as a whole for every history to be made. Blocks that are missing are made.
    """
    blocks = _blocks(build.provenance, days, common)
    store = build.lake.store.child(BLOCKS)
    sizes = {entry.path: entry.size for entry in store.list()} if blocks else {}
    names = {block.hash: _names(store, block, sizes) for block in blocks}
    if missing := [block for block in blocks if names[block.hash] is None]:
        names |= _compact(build, store, missing)
    covered = {day for block in blocks for day in block.contents}
    files = [
        ActionFile(store.uri(f"{block.hash}/{name}"), None)
        for block in blocks
        for name in names[block.hash] or ()
    ]
    return files + _day_files(build.lake, sorted(set(days) - covered))


def _day_files(lake: Lake, days: Iterable[date]) -> list[ActionFile]:
    published = lake.snapshot(UNIFIED_ACTIONS.name)
    return [ActionFile(uri, number_of(day)) for day in days for uri in published.uris(day)]


def _blocks(provenance: Provenance, days: Iterable[date], common: tuple[date, date]) -> list[Block]:
    groups: dict[date, list[date]] = {}
    for day in sorted(days):
        first = date.fromordinal(day.toordinal() // _BLOCK_DAYS * _BLOCK_DAYS)
        if first >= common[0] and first + timedelta(days=_BLOCK_DAYS) <= common[1]:
            groups.setdefault(first, []).append(day)
    length, wanted = provenance.settings.history_length, wanted_actions(provenance.settings)
    return [
        Block(
            first, {day: provenance.content(UNIFIED_ACTIONS, day) for day in group}, length, wanted
        )
        for first, group in groups.items()
    ]


def wanted_actions(settings: Settings) -> Wanted:
    """Which actions stand in a history."""
    return Wanted(settings.action_types, settings.bots == "keep")


def _names(store: Store, block: Block, sizes: Mapping[str, int]) -> list[str] | None:
    """The files of a block that is there whole, as its seal says; None for any other."""
    if f"{block.hash}/{_SEAL}" not in sizes:
        return None
    try:
        files: dict[str, int] = json.loads(store.read(f"{block.hash}/{_SEAL}"))["files"]
        is_whole = all(sizes.get(f"{block.hash}/{n}") == size for n, size in files.items())
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return sorted(files) if is_whole else None


def _compact(build: Build, store: Store, blocks: Sequence[Block]) -> dict[str, list[str] | None]:
    files = {number_of(block.first): _day_files(build.lake, block.contents) for block in blocks}
    rows = [
        (day, part, low, high)
        for day, of_block in files.items()
        for part, (low, high) in enumerate(customer_ranges(of_block, _ACTIONS_PER_FILE))
    ]
    tasks = build.spark.createDataFrame(
        [(number, *row) for number, row in enumerate(rows)], COMPACTIONS_DDL
    )
    roots = {number_of(block.first): store.uri(block.hash) for block in blocks}
    run, length, wanted = build.run, blocks[0].history_length, blocks[0].wanted

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return compact(batches, files, roots, run, length, wanted)

    spread = build.partitioning.spread(tasks, F.col("task"), of=len(rows))
    written: dict[int, dict[str, int]] = {day: {} for day in files}
    for row in spread.mapInArrow(make, WRITTEN_DDL).collect():
        written[row["day"]][row["name"]] = row["bytes"]
    found = {block.hash: written[number_of(block.first)] for block in blocks}
    store.sync(f"{name}/{file}" for name, names in found.items() for file in names)
    store.put_all({f"{b.hash}/{_SEAL}": _seal(b, found[b.hash]) for b in blocks})
    return {name: sorted(files) for name, files in found.items()}


def _seal(block: Block, files: Mapping[str, int]) -> bytes:
    seal = {
        "first": str(block.first),
        "contents": {str(day): content for day, content in block.contents.items()},
        "history_length": block.history_length,
        "files": dict(files),
    }
    return json.dumps(seal, indent=1).encode()


def vacuum_blocks(lake: Lake, *, keep: timedelta, dry_run: bool) -> tuple[int, int]:
    """Remove blocks of days that are not published like that any more; (files, bytes).

    One that was written within ``keep`` stays: a run may be reading it.
    """
    store = lake.store.child(BLOCKS)
    cutoff_ns = int((datetime.now(UTC) - keep).timestamp() * 1_000_000_000)
    folders: dict[str, list[Any]] = {}
    for entry in store.list():
        folders.setdefault(entry.path.partition("/")[0], []).append(entry)
    gone = [
        entry
        for name, entries in folders.items()
        if all(entry.modified_ns < cutoff_ns for entry in entries) and not _is_current(lake, name)
        for entry in entries
    ]
    if not dry_run:
        store.delete(entry.path for entry in gone)
    return len(gone), sum(entry.size for entry in gone)


def _is_current(lake: Lake, name: str) -> bool:
    published = lake.snapshot(UNIFIED_ACTIONS.name)
    try:
        seal = json.loads(lake.store.child(BLOCKS).read(f"{name}/{_SEAL}"))
        contents = {date.fromisoformat(day): found for day, found in seal["contents"].items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
    return all(
        day in published.files and published.content(day) == content
        for day, content in contents.items()
    )


def customer_ranges(
    files: Sequence[ActionFile], rows_per_range: int, at_most: int | None = None
) -> list[tuple[int, int]]:
    """Ranges (first, last) of customer ids that cover all, with about equally many actions."""
    cuts = range_boundaries(files, rows_per_range, at_most)
    lows = [-(2**63), *cuts]
    return list(zip(lows, [*(cut - 1 for cut in cuts), 2**63 - 1], strict=True))


def range_boundaries(
    files: Sequence[ActionFile], rows_per_range: int, at_most: int | None = None
) -> list[int]:
    """Where the ranges after the first begin; from the statistics in the files alone.

    ``at_most`` ranges, however many rows each has then.
    """
    bounds = [pair for file in files for pair in customer_bounds(file.path)]
    if not bounds:
        return []
    starts, middles, rows = (np.array(column) for column in zip(*bounds, strict=True))
    order = np.argsort(middles, kind="stable")
    total = np.concatenate([[0], np.cumsum(rows[order])])
    count = -(-int(total[-1]) // rows_per_range)
    count = count if at_most is None else min(count, at_most)
    # Row groups of several files overlap: one lies before a cut if most of its customers do.
    cuts = np.unique(starts)
    before = total[np.searchsorted(middles[order], cuts)]
    wanted = np.arange(1, count) * (total[-1] / count)
    found = cuts[np.minimum(np.searchsorted(before, wanted), len(cuts) - 1)]
    return [int(cut) for cut in np.unique(found) if cut > starts.min()]
