"""Sums, minima and counts per customer or item, kept by stretches of 1 to 256 days.

A window is put together from few of them, ends in single days, and is longer by a few when it is
twice as long. A stretch is made when a day first needs it: of smaller ones, where they are there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from training_assets.features import Plan, fold_names, merge_folds
from training_assets.kernels import WRITTEN_DDL, Written, write_folds, write_state
from training_assets.tables.build import Build, by_day, number_of
from training_assets.tables.feature_state import (
    Kept,
    StateStore,
    Stretch,
    actions_at_once,
    in_batches,
    num_actions,
    read_files,
)

# Each a multiple of the next; the last is 1.
_LENGTHS: Final = (256, 64, 16, 4, 1)


def folds_of_days(
    build: Build,
    plan: Plan,
    window: Mapping[date, Any],
    fold: Callable[[Sequence[date]], DataFrame],
    num_parts: int,
) -> DataFrame:
    """(key, day) and a column per fold, for the days of ``plan``.

    ``window``: what the folds of each day of the look-backs are made from, as JSON has it. ``fold``
    gives the key, ``day`` and folds of given days, from their actions.
    """
    first = min(map(number_of, window), default=plan.edges[-1])
    edges = [max(edge, first) for edge in plan.edges]
    kind = fold([]).schema
    definition = [plan.engagement, [repr(f) for f in fold_names(plan.names)], kind.simpleString()]

    def stretch(begin: int, end: int) -> Stretch:
        return Stretch.of(plan.table.name, begin, end, window, definition)

    wanted = [stretch(*span) for begin, end in pairwise(edges) for span in _spans(begin, end)]
    wanted = [s for s in wanted if s.contents]
    folding = _Folding(build, plan, StateStore(build.lake), stretch, kind, fold, num_parts)
    kept = folding.store.find(wanted)
    if missing := [s for s in wanted if s not in kept]:
        smaller = folding.store.find([s for one in missing for s in _inside(one, stretch)])
        kept |= _make(folding, missing, smaller)
    files = [(s.first, uri) for s in wanted for uri in kept[s].uris]
    return read_files(build, files, kind)


@dataclass(frozen=True)
class _Folding:
    """What making a stretch takes; ``kind`` are the columns of what ``fold`` gives."""

    build: Build
    plan: Plan
    store: StateStore
    stretch: Callable[[int, int], Stretch]
    kind: T.StructType
    fold: Callable[[Sequence[date]], DataFrame]
    num_parts: int


def _make(
    folding: _Folding, missing: Sequence[Stretch], smaller: Mapping[Stretch, Kept]
) -> dict[Stretch, Kept]:
    """Fold and keep stretches: from smaller ones that are kept, and the actions of other days.

    Only so many actions are looked at together; a stretch of more is made of smaller ones, which
    are made before it.
    """
    build, stretch = folding.build, folding.stretch
    rest = {one: _cover(one, smaller, stretch)[1] for one in missing}
    most = actions_at_once(build)
    parted = [one for one in missing if one.end - one.first > 1]
    long = [one for one in parted if num_actions(build, rest[one]) > most]
    if long:
        children = [c for one in long for c in _children(one, stretch) if c not in smaller]
        smaller = {**smaller, **_make(folding, children, smaller)}
        rest |= {one: [] for one in long}
    kept: dict[Stretch, Kept] = {}
    for batch in in_batches(missing, lambda one: num_actions(build, rest[one]), most):
        kept |= _make_together(folding, batch, smaller)
    return kept


def _make_together(
    folding: _Folding, missing: Sequence[Stretch], smaller: Mapping[Stretch, Kept]
) -> dict[Stretch, Kept]:
    build, plan, store, stretch = folding.build, folding.plan, folding.store, folding.stretch
    (key,) = plan.table.key
    files: list[tuple[int, str]] = []
    days: dict[date, int] = {}
    for number, one in enumerate(missing):
        parts, rest = _cover(one, smaller, stretch)
        files += [(number, uri) for part in parts for uri in smaller[part].uris]
        days |= dict.fromkeys(rest, number)
    frames = []
    if days:
        told = F.date_from_unix_date("day")
        counted = folding.fold(sorted(days)).withColumn("dt", told)
        frames.append(counted.withColumn("dt", by_day(days)).drop("day"))
    if files:
        frames.append(read_files(build, files, folding.kind).withColumnRenamed("day", "dt"))
    rows = frames[0] if len(frames) == 1 else frames[0].unionByName(frames[1])
    merged = merge_folds(rows.withColumn("dt", F.col("dt").cast("int")), plan.names, key, "dt")
    stored = [field for field in folding.kind if field.name != "day"]
    typed = merged.select("dt", *(F.col(f.name).cast(f.dataType).alias(f.name) for f in stored))
    num_parts = folding.num_parts
    parted = typed.withColumn("part", F.pmod(F.xxhash64(key), F.lit(num_parts)).cast("int"))
    roots, run = {n: store.root(one) for n, one in enumerate(missing)}, build.run

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return write_folds(batches, key, roots, run)

    place = F.col("dt") * F.lit(num_parts) + F.col("part")
    spread = build.partitioning.spread(parted, place, of=len(missing) * num_parts)
    written: dict[Stretch, list[Written]] = {one: [] for one in missing}
    for row in spread.mapInArrow(write, WRITTEN_DDL).collect():
        written[missing[row["day"]]].append(Written(*row))
    empty = [one for one, found in written.items() if not found]
    for one in empty:
        # Days of which nothing counts: a file all the same, so that it is not made again.
        table = to_arrow_schema(T.StructType(stored)).empty_table()
        written[one] = [write_state(table, store.root(one), 0, 0, run)]
    return store.add(written)


def _cover(
    one: Stretch, kept: Mapping[Stretch, Kept], stretch: Callable[[int, int], Stretch]
) -> tuple[list[Stretch], list[date]]:
    """The largest kept stretches that lie in one, and its other days."""
    parts, rest = [], []
    for smaller in _children(one, stretch):
        if smaller in kept:
            parts.append(smaller)
        elif smaller.end - smaller.first > 1:
            further = _cover(smaller, kept, stretch)
            parts += further[0]
            rest += further[1]
        else:
            rest += smaller.contents
    if one.end - one.first == 1:
        rest += one.contents
    return parts, rest


def _inside(one: Stretch, stretch: Callable[[int, int], Stretch]) -> Iterator[Stretch]:
    for smaller in _children(one, stretch):
        yield smaller
        yield from _inside(smaller, stretch)


def _children(one: Stretch, stretch: Callable[[int, int], Stretch]) -> Iterator[Stretch]:
    """The stretches of the next length that have days of it."""
    length = one.end - one.first
    if length == 1:
        return
    step = next(smaller for smaller in _LENGTHS if smaller < length)
    for begin in range(one.first, one.end, step):
        if (found := stretch(begin, begin + step)).contents:
            yield found


def _spans(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Days from ``begin`` to ``end`` (not included) in as few aligned stretches as there can be."""
    while begin < end:
        length = next(n for n in _LENGTHS if begin % n == 0 and begin + n <= end)
        yield begin, begin + length
        begin += length
