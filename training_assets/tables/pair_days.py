"""What the pairs of customers and items in the window of a day come to: per customer and per item.

Both are counted together, whichever is asked for first, and kept for the other one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from training_assets.kernels import (
    WRITTEN_DDL,
    Categories,
    Counting,
    DayCategories,
    Written,
    write_counts,
)
from training_assets.tables.build import Build, number_of
from training_assets.tables.feature_pairs import Core, core_of
from training_assets.tables.feature_state import PAIRS, Kept, StateStore, Stretch, read_files

_LONG: Final = T.LongType()
_CUSTOMERS: Final = T.StructType(
    [
        T.StructField("day", _LONG),
        T.StructField("customer_id", _LONG),
        T.StructField("_pairs", _LONG),
        T.StructField("_purchased", _LONG),
        T.StructField("_favorite", T.StringType()),
        T.StructField("_favorite_actions", _LONG),
        T.StructField("_recent", T.ArrayType(_LONG)),
    ]
)
_ITEMS: Final = T.StructType([T.StructField(n, _LONG) for n in ("day", "item_id", "_pairs")])
# Contents of the days that any of the windows has.
Window = Mapping[date, str]
# Of each day its categories, and how many of the newest items of a customer are wanted.
AsOf = tuple[Mapping[int, Categories], int]


def pairs_of_customers(
    build: Build, days: Sequence[date], window: Window, as_of: AsOf
) -> DataFrame:
    """What the pairs of each day's window come to for each customer.

    ``days`` have a core in common, ``window`` has all that one of them looks back to.
    """
    store = StateStore(build.lake)
    wanted = {n: _of_customers(build, n, window, as_of) for n in map(number_of, days)}
    kept = store.find(wanted.values())
    if missing := [n for n, stretch in wanted.items() if stretch not in kept]:
        kept |= _make(build, store, missing, days, window, as_of)
    return _read(build, wanted, kept, _CUSTOMERS)


def pairs_of_items(
    build: Build, days: Sequence[date], window: Window, as_of: Callable[[], AsOf]
) -> DataFrame:
    """How many customers each item has in each day's window; rows of an item are to be added up.

    ``days`` and ``window`` as above.
    """
    store = StateStore(build.lake)
    wanted = {n: _of_items(build, n, window) for n in map(number_of, days)}
    kept = store.find(wanted.values())
    if missing := [n for n, stretch in wanted.items() if stretch not in kept]:
        kept |= _make(build, store, missing, days, window, as_of())
    return _read(build, wanted, kept, _ITEMS)


def _of_customers(build: Build, day: int, window: Window, as_of: AsOf) -> Stretch:
    categories, length = as_of
    definition = [day, length, categories[day].hash]
    kind = f"{PAIRS} of customers"
    return Stretch.of(kind, _first(build, day, window), day, window, definition)


def _of_items(build: Build, day: int, window: Window) -> Stretch:
    return Stretch.of(f"{PAIRS} of items", _first(build, day, window), day, window, [day])


def _first(build: Build, day: int, window: Window) -> int:
    lookback = build.settings.lookback_days
    return min(map(number_of, window), default=0) if lookback is None else day - lookback


def _make(
    build: Build,
    store: StateStore,
    missing: Sequence[int],
    days: Sequence[date],
    window: Window,
    as_of: AsOf,
) -> dict[Stretch, Kept]:
    """Count the pairs of days together, and keep what they come to."""
    core = core_of(build, days, window)
    stretches = {
        day: (_of_customers(build, day, window, as_of), _of_items(build, day, window))
        for day in missing
    }
    categories, length = as_of
    windows = {day: _first(build, day, window) for day in missing}
    known = _known_categories(core, {day: categories[day] for day in missing})
    counting = Counting(core.files(length), core.base.items(), windows, known, length)
    roots = {n: (store.root(of[0]), store.root(of[1])) for n, of in stretches.items()}
    run = build.run

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return write_counts(batches, counting, roots, run)

    written: dict[Stretch, list[Written]] = {one: [] for of in stretches.values() for one in of}
    for row in core.others.mapInArrow(write, WRITTEN_DDL).collect():
        day, of_items = divmod(row["day"], 2)
        written[stretches[day][of_items]].append(Written(*row))
    return store.add(written)


def _known_categories(core: Core, categories: Mapping[int, Categories]) -> dict[int, DayCategories]:
    found: dict[int, DayCategories] = {}
    for day, here in categories.items():
        same = (known for known in found.values() if known.categories is here)
        found[day] = next(same, None) or core.base.categories(here)
    return found


def _read(
    build: Build, wanted: Mapping[int, Stretch], kept: Mapping[Stretch, Kept], kind: T.StructType
) -> DataFrame:
    files = [(day, uri) for day, stretch in wanted.items() for uri in kept[stretch].uris]
    return read_files(build, files, kind).withColumnRenamed("day", "dt")
