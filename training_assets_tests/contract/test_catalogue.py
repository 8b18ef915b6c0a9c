"""Features and samples over a catalogue that is delivered now and then, once long ago, or never."""

import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.pipeline import build_days
from training_assets.provenance import Provenance, find_outdated
from training_assets.sample.generate import SampleSpec, generate
from training_assets.settings import Settings
from training_assets.tables import BUILT_FROM, SPECS, specs_of
from training_assets_tests.support import feature_reference as reference
from training_assets_tests.support.feature_frames import assert_same
from training_assets_tests.support.feature_lakes import Row, as_given
from training_assets_tests.support.planting import rows_of

pytestmark = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")

SPEC = SampleSpec(customers=25, items=30, interactions=900, days=9, end_date=date(2024, 3, 9))
DAYS = SPEC.dates
LOOKBACK = 3
# One before the only old catalogue, one whose look-back begins after it.
EARLY, LATE = DAYS[1], DAYS[8]
ONCE = DAYS[2]
FEATURES = ("user_features", "item_features")
SAMPLES = "training_samples"
SETTINGS = Settings(lookback_days=LOOKBACK)
DELIVERIES: dict[str, list[date]] = {
    "as generated": [DAYS[0], DAYS[7]],
    "once": [ONCE],
    "never": [],
}


def build(spark: SparkSession, root: Path, names: Sequence[str], days: Sequence[date]) -> None:
    specs = [SPECS[name] for name in names]
    reports = build_days(spark, Lake.at(root), SETTINGS, specs, list(days))
    assert [(r.table, r.day, r.problem) for r in reports if r.problem] == []


def raw_items(root: Path, day: date) -> Path:
    return root / "raw" / "items" / f"dt={day}" / "part-0.parquet"


def deliver(root: Path, kept: Sequence[date]) -> None:
    """The newest catalogue of the sample on each of the days, with items that are not for sale."""
    rows = pq.ParquetFile(raw_items(root, DAYS[7])).read()
    shutil.rmtree(root / "raw" / "items")
    names = [n for n in rows.column_names if n != "is_active"]
    is_active = pa.array([n % 4 > 0 for n in range(len(rows))])
    rows = rows.select(names).append_column("is_active", is_active)
    for day in kept:
        raw_items(root, day).parent.mkdir(parents=True)
        pq.write_table(rows, raw_items(root, day))


@pytest.fixture(scope="module")
def lakes(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By delivery of the catalogue; not to be changed."""
    found, without = {}, tmp_path_factory.mktemp("without") / "lake"
    generate(without, SPEC)
    others = [s.name for s in specs_of(["shop"]) if s.name != "items"]
    build(spark, without, [*others, "unified_actions"], DAYS)
    build(spark, without, ["items_shown"], DAYS)
    for name, kept in DELIVERIES.items():
        root = shutil.copytree(without, tmp_path_factory.mktemp(name) / "lake")
        if name != "as generated":
            deliver(root, kept)
        build(spark, root, ["items"], kept)
        build(spark, root, [*FEATURES, "pair_features", SAMPLES], [EARLY, LATE])
        found[name] = root
    return found


def published(root: Path, table: str, days: Sequence[date] | None = None) -> list[Row]:
    lake = Lake.at(root)
    chosen = lake.days(table) if days is None else days
    return [{"dt": d, **row} for d in chosen for row in rows_of(lake, table, d).to_pylist()]


def shown(root: Path) -> list[Row]:
    return [row for row in published(root, "items_shown") for _ in range(row["times"])]


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_features_are_those_of_the_reference(lakes: dict[str, Path], delivery: str) -> None:
    root = lakes[delivery]
    actions = as_given(published(root, "unified_actions"))
    items = published(root, "items") or None
    assert bool(items) == (delivery != "never")
    options: dict[str, Any] = {
        "days": [EARLY, LATE],
        "lookback_days": LOOKBACK,
        "engagement": "view",
    }
    users = reference.user_features(actions, items, **options)
    by_item = reference.item_features(actions, items, shown(root), **options)
    for table, key, expected in zip(
        FEATURES, ("customer_id", "item_id"), (users, by_item), strict=True
    ):
        found = {(row["dt"], row[key]): row for row in published(root, table)}
        assert found.keys() == {(row["dt"], row[key]) for row in expected}
        for row in expected:
            assert_same(found[row["dt"], row[key]], row, row)
    priced = {row["dt"] for row in by_item if row["price"] is not None}
    assert priced == {day for day in (EARLY, LATE) for of in DELIVERIES[delivery] if of < day}


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_negatives_are_of_the_catalogue_where_there_is_one(
    lakes: dict[str, Path], delivery: str
) -> None:
    root = lakes[delivery]
    actions, items = as_given(published(root, "unified_actions")), published(root, "items")
    for day in (EARLY, LATE):
        rows = published(root, SAMPLES, [day])
        negatives = {row["item_number"] for row in rows if row["label"] == 0.0}
        ids = {row["item_id"] for row in items}
        newest = {n: reference.as_of(items, n, day) for n in ids}
        candidates = {n for n, row in newest.items() if row and reference.is_active(row)}
        if not candidates:
            window = reference.in_window(actions, day, LOOKBACK)
            candidates = {row["item_id"] for row in window}
        assert negatives
        assert negatives <= candidates
        first = next(row for row in rows if row["label"] == 0.0)
        seen = {
            row["item_id"]
            for row in reference.in_window(actions, day, LOOKBACK)
            + [row for row in reference.valid(actions) if row["day"] == day]
            if row["customer_id"] == first["customer_id"]
        }
        assert first["sampling_probability"] == pytest.approx(1 / len(candidates - seen))


def outdated(root: Path) -> dict[str, set[date]]:
    found = find_outdated(Provenance(Lake.at(root), SETTINGS), BUILT_FROM).days
    return {name: {f.day for f in found if f.table == name} for name in (*FEATURES, SAMPLES)}


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_what_was_built_is_up_to_date(lakes: dict[str, Path], delivery: str) -> None:
    assert outdated(lakes[delivery]) == {name: set() for name in (*FEATURES, SAMPLES)}


def test_an_old_catalogue_that_changes_makes_days_out_of_date_that_it_holds_for(
    spark: SparkSession, lakes: dict[str, Path], tmp_path: Path
) -> None:
    root = shutil.copytree(lakes["once"], tmp_path / "lake")
    rows = pq.ParquetFile(raw_items(root, ONCE)).read()
    pq.write_table(
        rows.set_column(rows.column_names.index("title"), "title", pa.repeat("other", len(rows))),
        raw_items(root, ONCE),
    )
    found = find_outdated(Provenance(Lake.at(root), SETTINGS), BUILT_FROM)
    assert {f.table for f in found.days} == {"items"}
    assert [found.touched[name] for name in FEATURES] == [(LATE,), (LATE,)]
    build(spark, root, ["items"], [ONCE])
    assert outdated(root) == {name: {LATE} for name in (*FEATURES, SAMPLES)}


def test_features_wait_for_an_old_catalogue_that_is_not_built(
    spark: SparkSession, lakes: dict[str, Path], tmp_path: Path
) -> None:
    root = shutil.copytree(lakes["once"], tmp_path / "lake")
    shutil.rmtree(root / "items")
    specs = [SPECS["user_features"]]
    [report] = build_days(spark, Lake.at(root), SETTINGS, specs, [LATE])
    assert f"not published in items: {ONCE}" in (report.problem or "")


def test_samples_have_text_ids_as_delivered(spark: SparkSession, tmp_path: Path) -> None:
    generate(tmp_path, SPEC, ids="text")
    build(spark, tmp_path, [s.name for s in specs_of(["shop"])] + ["unified_actions"], DAYS)
    build(spark, tmp_path, [SAMPLES], [LATE])
    texts = {
        name: {row["id"]: row["text"] for row in published(tmp_path, name)}
        for name in ("customer_ids", "item_ids")
    }
    rows = published(tmp_path, SAMPLES, [LATE])
    assert {row["label"] for row in rows} == {0.0, 1.0}
    for row in rows:
        assert row["user_id"] == texts["customer_ids"][row["customer_id"]]
        assert row["item_id"] == texts["item_ids"][row["item_number"]]
        assert not row["user_id"].lstrip("-").isdigit()
