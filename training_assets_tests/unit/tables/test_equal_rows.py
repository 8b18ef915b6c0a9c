"""dedupe = "exact": of equal rows of a source one counts, wherever they stand."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from training_assets.kernels import equal_rows
from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.pipeline import build_days, check_days
from training_assets.schemas import CLICKS, PREVIOUS_ORDERS
from training_assets.settings import Settings
from training_assets.tables import SPECS, unified_actions
from training_assets.tables import build as tables_build

DAYS = (date(2026, 3, 1), date(2026, 3, 2))
DECLARED = """
clicks = { dedupe = "exact" }
previous_orders = { dedupe = "exact" }
app_clicks = { kind = "click", dedupe = "exact" }
"""
TIMES = (None, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-01T00:00:00.000001Z")
ONCE = ("clicks", "previous_orders", "app_clicks")
Row = dict[str, Any]


def random_rows(seed: int) -> dict[str, dict[date, list[Row]]]:
    """Few values, so that many rows are equal, in one source and in several."""
    dice = random.Random(seed)

    def row(source: str) -> Row:
        item = "item_id" if source.endswith("clicks") else "config_id"
        time = {"clicks": "click_time"}.get(source, "occurred_at")
        made: Row = {"customer_id": dice.choice((-1, 1, 2**40)), item: dice.choice((1, 2))}
        made[time] = dice.choice(TIMES)
        if item == "config_id":
            made["simple_id"] = dice.choice((None, 0, 7))
        return made

    names = (*ONCE, "add_to_carts")
    return {name: {day: [row(name) for _ in range(60)] for day in DAYS} for name in names}


def deliver(root: Path, found: dict[str, dict[date, list[Row]]], seed: int) -> None:
    """Each day as three files, in any order."""
    dice = random.Random(seed)
    for source, days in found.items():
        day_column = "order_date" if source == "previous_orders" else "dt"
        for day, rows in days.items():
            folder = root / "raw" / source / f"{day_column}={day}"
            folder.mkdir(parents=True, exist_ok=True)
            texts = [json.dumps(row) + "\n" for row in rows]
            dice.shuffle(texts)
            for number in range(3):
                (folder / f"{number}.jsonl").write_text("".join(texts[number::3]))


def expected(found: dict[str, dict[date, list[Row]]], day: date) -> tuple[Counter[Any], Any]:
    """What is published and what is set aside, by its source, counted row by row."""
    kept: Counter[Any] = Counter()
    again: dict[str, Counter[str]] = {name: Counter() for name in ONCE}
    for source, days in found.items():
        seen = set()
        kind = {"add_to_carts": 2, "previous_orders": 3}.get(source, 1)
        for row in days[day]:
            customer, item, time, *_ = values = tuple(row.values())
            if source in ONCE and values in seen:
                again[source][json.dumps(values)] += 1
                continue
            seen.add(values)
            kept[customer, item, kind, time or f"{day}T00:00:00Z"] += 1
    return kept, again


def published(lake: Lake, day: date) -> Counter[Any]:
    rows = [
        row
        for uri in lake.snapshot("unified_actions").uris(day)
        for row in SealedParquet(uri).read().to_pylist()
    ]

    def time_of(at: datetime) -> str:
        return at.astimezone(UTC).isoformat().replace("+00:00", "Z")

    return Counter(
        (r["customer_id"], r["item_id"], r["action_type"], time_of(r["occurred_at"])) for r in rows
    )


def set_aside(lake: Lake, day: date) -> Any:
    """Rows of the quarantine by source, as they were delivered."""
    store, found = lake.table_store("unified_actions"), {name: Counter[str]() for name in ONCE}
    folder = lake.snapshot("unified_actions").quarantine_path(day)
    for entry in store.list(folder):
        source = entry.path.partition("source=")[2].partition(".re_delivered/")[0]
        for row in SealedParquet(store.uri(entry.path)).read().to_pylist():
            assert "equal to another row" in row["reason"]
            told = json.loads(row["content"])
            for name in ("click_time", "occurred_at"):
                if told.get(name):
                    told[name] = datetime.fromisoformat(told[name]).isoformat()
                    told[name] = told[name].replace("+00:00", "Z")
            order = ("customer_id", "item_id", "config_id", "click_time", "occurred_at")
            values = [told[n] for n in (*order, "simple_id") if n in told]
            found[source][json.dumps(values)] += 1
    return found


def test_of_equal_rows_of_a_source_one_counts_and_the_others_are_kept(
    spark: SparkSession, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory, and by way of the disk, of files in another order."""
    monkeypatch.setattr(unified_actions, "_ACTIONS_PER_FILE", 60)
    found = random_rows(seed=1)
    for goes_by_disk in (False, True):
        if goes_by_disk:
            monkeypatch.setattr(tables_build, "_MANY_ROWS", 0)
        root = tmp_path / str(goes_by_disk)
        deliver(root, found, seed=goes_by_disk)
        (root / "sources.toml").write_text(DECLARED)
        lake, specs = Lake.at(root), [SPECS["unified_actions"]]
        settings = Settings(lake=str(root), min_valid_share=0)
        reports = list(build_days(spark, lake, settings, specs, DAYS))
        assert [report.problem for report in reports] == [None, None]
        for day in DAYS:
            kept, again = expected(found, day)
            assert published(lake, day) == kept
            assert set_aside(lake, day) == again
    if engine == "sail":
        failed = [r.message for r in check_days(spark, lake, settings, specs, DAYS) if not r.passed]
        assert failed == []


def rows_of(values: Sequence[tuple[Any, ...]]) -> pa.Table:
    kinds = {"customer_id": "int64", "item_id": "int32", "occurred_at": "us", "has_time": "bool_"}
    kinds |= {"source": "int8", "simple_id": "int32"}
    columns = zip(*values, strict=True)
    types = {
        name: pa.timestamp("us", "UTC") if k == "us" else getattr(pa, k)()
        for name, k in kinds.items()
    }
    arrays = [pa.array(list(c), t) for c, t in zip(columns, types.values(), strict=True)]
    return pa.table(arrays, list(types))


@pytest.mark.parametrize("odd", [0, int(equal_rows._ODD)])
def test_rows_that_only_share_a_hash_both_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: int
) -> None:
    monkeypatch.setattr(equal_rows, "_ODD", np.uint64(odd))
    dice = random.Random(odd)
    choices = ((1, -1, 2**62), (1, 2), (0, 1), (True, False), (0, 1, None), (None, 3))
    values = [tuple(dice.choice(of) for of in choices) for _ in range(500)]
    left = equal_rows.without_equal_rows(
        rows_of(values), (CLICKS, PREVIOUS_ORDERS), str(tmp_path), "0" * 12, 20_513, 3
    )
    wanted = Counter({v: n if v[4] is None else 1 for v, n in Counter(values).items()})
    plain = left.set_column(2, "occurred_at", left["occurred_at"].cast(pa.int64()))
    assert Counter(tuple(row.values()) for row in plain.to_pylist()) == wanted
    folder = tmp_path / "_quarantine/dt=2026-03-01" / ("0" * 12)
    kept = {
        path.parent.name: len(SealedParquet(path).read()) for path in folder.rglob("part-00003-*")
    }
    for number, name in enumerate(("clicks", "previous_orders")):
        of = Counter(v for v in values if v[4] == number)
        assert kept[f"source={name}.re_delivered"] == of.total() - len(of)
