"""Days that share a core are counted as if the pairs of each were looked at alone."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from training_assets.kernels import (
    BaseFiles,
    Categories,
    CoreFiles,
    Counting,
    DayCategories,
    category_places,
    count_items,
    pair_counts,
    write_categories,
    write_counts,
    write_item_counts,
    write_lists,
    write_pairs,
)

Row = dict[str, Any]
Files = dict[int, list[str]]

PARTS, BASE_DAYS, LENGTH = 3, range(12, 18), 3
# Of the core: days before and after its base.
FURTHER_DAYS = (10, 11, 18, 19)
# The windows of three days: all have the core, and each some days of its own.
WINDOWS = {24: 8, 25: 9, 26: 10}
DAYS = (8, 9, *range(20, 26))
DAY_MICROS = 86_400_000_000
NAMES = ("a", "b", "c", "d")
ITEMS = range(1, 15)


def pairs(rng: random.Random, days: Sequence[int], num_rows: int) -> list[Row]:
    """Each pair once a day; few customers, items and times, so that ties are common."""
    found = {}
    for _ in range(num_rows):
        day, customer, item = rng.choice(days), rng.randrange(12), rng.choice(ITEMS)
        found[day, customer, item] = {
            "part": customer % PARTS,
            "day": day,
            "customer_id": customer,
            "item_id": item,
            "_actions": rng.randrange(1, 4),
            # Times may lie on other days than those under which they are filed.
            "_newest": rng.choice((*days, 9, 15, 22)) * DAY_MICROS + rng.randrange(2),
            "_purchases": rng.randrange(2),
        }
    return list(found.values())


def batches(rows: list[Row]) -> list[pa.RecordBatch]:
    empty = dict.fromkeys(("day", "customer_id", "item_id", "_actions", "_newest", "_purchases"))
    every_part = [{"part": part, **empty} for part in range(PARTS)]
    names = ("part", *empty)
    schema = pa.schema([(name, pa.int32() if name in names[:2] else pa.int64()) for name in names])
    return pa.Table.from_pylist([*rows, *every_part], schema).to_batches()


def merged(rows: list[Row]) -> dict[tuple[int, int], Row]:
    found: dict[tuple[int, int], Row] = {}
    for row in rows:
        key = row["customer_id"], row["item_id"]
        had = found.get(key, {"_actions": 0, "_newest": 0, "_purchases": 0})
        found[key] = {
            "_actions": had["_actions"] + row["_actions"],
            "_newest": max(had["_newest"], row["_newest"]),
            "_purchases": had["_purchases"] + row["_purchases"],
        }
    return found


def customer(own: dict[int, Row], category: dict[int, str], length: int) -> Row:
    actions: dict[str, int] = defaultdict(int)
    newest: dict[str, int] = defaultdict(int)
    bought = set()
    for item, row in own.items():
        name = category.get(item)
        if name is not None:
            actions[name] += row["_actions"]
            newest[name] = max(newest[name], row["_newest"])
            bought |= {name} if row["_purchases"] else set()
    best = min(actions, key=lambda name: (-actions[name], -newest[name], name), default=None)
    return {
        "_pairs": len(own),
        "_purchased": len(bought),
        "_favorite": best,
        "_favorite_actions": None if best is None else actions[best],
        "_recent": sorted(own, key=lambda item: (-own[item]["_newest"], item))[:length],
    }


@pytest.mark.parametrize("seed", range(24))
def test_counts_are_those_of_plain_loops(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    # A place for each category of a customer, or only for those that are there.
    monkeypatch.setattr(category_places, "_MAX_PLACES", seed % 2 * 100)
    base = pairs(rng, BASE_DAYS, rng.choice((0, 20, 60, 120)))
    further = pairs(rng, FURTHER_DAYS, rng.choice((0, 20)))
    newer = pairs(rng, DAYS, rng.choice((0, 10, 50)))
    categories = catalogues(rng)
    length = rng.choice((0, 1, LENGTH))
    of_base = written(base, tmp_path)
    lists = write_lists(all_parts(), of_base, LENGTH, str(tmp_path), "r")
    known = BaseFiles(of_base, by_part(lists, tmp_path))
    files = CoreFiles(known, written(further, tmp_path, known))
    given, counts = batches(newer), item_counts(of_base, tmp_path)
    as_of = {dt: kept_categories(here, of_base, base, tmp_path) for dt, here in categories.items()}
    monkeypatch.setattr(pair_counts, "_ROWS_PER_FILE", rng.choice((1, 5, 100)))
    counting = Counting(files, counts, WINDOWS, as_of, length)
    roots = dict.fromkeys(WINDOWS, (f"{tmp_path}/of customers", f"{tmp_path}/of items"))
    found: list[Row] = []
    by_item: dict[tuple[int, int], int] = defaultdict(int)
    # Two tasks: one has a part, the other one has two.
    for some in ((0,), (1, 2)):
        own = [batch.filter(pc.is_in(batch["part"], pa.array(some))) for batch in given]
        for batch in write_counts(own, counting, roots, "r"):
            for file in batch.to_pylist():
                dt, of_items = divmod(file["day"], 2)
                rows = pq.read_table(f"{roots[dt][of_items]}/{file['name']}").to_pylist()
                if of_items:
                    for row in rows:
                        by_item[dt, row["item_id"]] += row["_pairs"]
                else:
                    found += [{"dt": dt, **row} for row in rows]
    for dt, first in WINDOWS.items():
        inside = [row for row in newer if first <= row["day"] < dt]
        counted = merged(base + further + inside)
        named = dict(as_told(categories[dt]))
        expected = {}
        for who in {who for who, _ in counted}:
            own_rows = {item: row for (other, item), row in counted.items() if other == who}
            expected[who] = {"dt": dt, "customer_id": who, **customer(own_rows, named, length)}
        here = [row for row in found if row["dt"] == dt]
        assert {row["customer_id"]: row for row in here} == expected
        assert len(here) == len(expected)
        met = {item: pairs for (day, item), pairs in by_item.items() if day == dt}
        items_met = [item for _, item in counted]
        assert met == {item: items_met.count(item) for item in items_met}


def catalogues(rng: random.Random) -> dict[int, Categories]:
    """As of each day; of two days the same, and without some items, or names that others have."""
    names = {item: rng.choice((*NAMES, None)) for item in ITEMS if rng.random() < 0.9}
    found: dict[int, Categories] = {}
    for dt in WINDOWS:
        if rng.random() < 0.5 or not found:
            names |= {rng.choice(ITEMS): rng.choice((*NAMES[1:], None)) for _ in range(3)}
            told = {"item_id": [*names], "category": pa.array([*names.values()], pa.string())}
            found[dt] = Categories.of(pa.table(told))
        else:
            found[dt] = found[dt - 1]
    return found


def as_told(categories: Categories) -> Iterator[tuple[int, str]]:
    for item, place in zip(categories.items, categories.places, strict=True):
        if place >= 0:
            yield int(item), categories.names[place]


def kept_categories(
    categories: Categories, files: Files, base: list[Row], root: Path
) -> DayCategories:
    items = np.array(sorted({row["item_id"] for row in base}), np.int64)
    own, places = categories.only(items)
    written = write_categories(all_parts(), files, own, str(root), "r")
    return DayCategories(categories, by_part(written, root), places)


def item_counts(files: Files, root: Path) -> list[str]:
    found = pa.Table.from_batches(count_items(all_parts(), files))
    counted = [tuple(column.to_numpy() for column in found.columns)]
    return [f"{root}/{write_item_counts(counted, str(root), 'r').name}"]


def all_parts() -> list[pa.RecordBatch]:
    return [pa.record_batch({"part": pa.array(range(PARTS), pa.int32())})]


def written(rows: list[Row], root: Path, base: BaseFiles | None = None) -> Files:
    """Pairs of all days as one, as they are kept; nothing is kept of none."""
    once = [
        {**row, "part": who % PARTS, "day": 0, "customer_id": who, "item_id": item}
        for (who, item), row in merged(rows).items()
    ]
    return by_part(write_pairs(batches(once), {}, str(root), "r", base), root) if rows else {}


def by_part(written: Iterable[pa.RecordBatch], root: Path) -> Files:
    rows = [row for batch in written for row in batch.to_pylist()]
    return {row["part"]: [f"{root}/{row['name']}"] for row in rows}
