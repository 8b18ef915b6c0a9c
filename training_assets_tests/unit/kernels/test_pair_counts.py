"""Days that share a core are counted as if the pairs of each were looked at alone."""

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from training_assets.kernels import (
    Categories,
    count_by_customer,
    count_by_item,
    pair_counts,
    write_pairs,
)

Row = dict[str, Any]

PARTS, DAYS, CORE_DAYS = 3, range(20, 28), range(10, 20)
# The windows of two days: both have the core, and each some days of its own.
WINDOWS = {24: 8, 26: 10}
DAY_MICROS = 86_400_000_000
NAMES = ("a", "b", "c")


def pairs(rng: random.Random, days: range, num_rows: int) -> list[Row]:
    """Each pair once a day; few customers, items and times, so that ties are common."""
    found = {}
    for _ in range(num_rows):
        day, customer, item = rng.choice(days), rng.randrange(12), rng.randrange(1, 15)
        found[day, customer, item] = {
            "part": customer % PARTS,
            "day": day,
            "customer_id": customer,
            "item_id": item,
            "_actions": rng.randrange(1, 4),
            "_newest": rng.choice(days) * DAY_MICROS + rng.randrange(2),
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


@pytest.mark.parametrize("seed", range(12))
def test_counts_are_those_of_plain_loops(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    # A place for each category of a customer, or only for those that are there.
    monkeypatch.setattr(pair_counts, "_MAX_PLACES", seed % 2 * 100)
    monkeypatch.setattr(pair_counts, "_MAX_HELD", seed % 3 * 10)
    core = pairs(rng, CORE_DAYS, rng.choice((0, 60)))
    newer = pairs(rng, range(8, 10), 10) + pairs(rng, DAYS, rng.choice((0, 40)))
    items = list(range(1, 13))
    of_days = [[rng.choice((*NAMES, None)) for _ in items] for _ in WINDOWS]
    files: dict[int, list[str]] = {}
    if core:
        once = [{**row, **key} for row, key in _once(core)]
        for row in (
            r for b in write_pairs(batches(once), {}, str(tmp_path), "r") for r in b.to_pylist()
        ):
            files[row["part"]] = [f"{tmp_path}/{row['name']}"]
    categories = {
        dt: Categories.of(pa.table({"item_id": items, "category": pa.array(names, pa.string())}))
        for dt, names in zip(WINDOWS, of_days, strict=True)
    }
    given = batches(newer)
    found = [
        row
        for batch in count_by_customer(given, files, WINDOWS, categories, 3)
        for row in batch.to_pylist()
    ]
    by_item = [row for batch in count_by_item(given, files, WINDOWS) for row in batch.to_pylist()]
    for (dt, first), names in zip(WINDOWS.items(), of_days, strict=True):
        counted = merged(core + [row for row in newer if first <= row["day"] < dt])
        known = {i: name for i, name in zip(items, names, strict=True) if name is not None}
        expected = {}
        for who in {who for who, _ in counted}:
            own = {item: row for (other, item), row in counted.items() if other == who}
            expected[who] = {"dt": dt, "customer_id": who, **customer(own, known, 3)}
        here = [row for row in found if row["dt"] == dt]
        assert {row["customer_id"]: row for row in here} == expected
        assert len(here) == len(expected)
        met = {row["item_id"]: row["_pairs"] for row in by_item if row["dt"] == dt}
        items_met = [item for _, item in counted]
        assert met == {item: items_met.count(item) for item in items_met}


def _once(rows: list[Row]) -> list[tuple[Row, Row]]:
    """Pairs of all days as one, as a core has them."""
    return [
        (row, {"part": who % PARTS, "day": 0, "customer_id": who, "item_id": item})
        for (who, item), row in merged(rows).items()
    ]
