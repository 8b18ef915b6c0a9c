"""Features from what is kept are those from all actions, whatever came when."""

import json
import random
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.lake.frames import read_days
from training_assets.pipeline import build_days
from training_assets.provenance import Provenance
from training_assets.schemas import UNIFIED_ACTIONS, Table
from training_assets.settings import Settings
from training_assets.tables import (
    SPECS,
    feature_folds,
    feature_inputs,
    feature_pairs,
    feature_state,
    item_features,
    pair_days,
    user_features,
)
from training_assets.tables.build import Build
from training_assets.tables.feature_pairs import days_together
from training_assets_tests.support.feature_lakes import (
    ACTION_DAYS,
    LAST,
    SETTINGS,
    publish_actions,
    publish_catalogue,
    shop_actions,
    shop_items,
    write_shop_lake,
)

ONLY_SAIL = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")
TABLES = {"user_features": user_features, "item_features": item_features}


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a window of ten days has cores and stretches of all lengths, made in steps."""
    monkeypatch.setattr(feature_folds, "_LENGTHS", (4, 2, 1))
    monkeypatch.setattr(feature_pairs, "_STEPS", (2, 4))
    monkeypatch.setattr(feature_pairs, "_ACTIONS_PER_PART", 60)
    monkeypatch.setattr(feature_state, "_MIN_DAYS", 1)
    monkeypatch.setattr(feature_state, "_ACTIONS_PER_CORE", 45)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing is kept there; not to be changed."""
    lake = write_shop_lake(tmp_path_factory.mktemp("shop"), shop_actions(), shop_items())
    return Path(lake.store.url)


@pytest.fixture
def lake(shop: Path, tmp_path: Path) -> Lake:
    return Lake.at(shutil.copytree(shop, tmp_path / "shop"))


@pytest.fixture(scope="module")
def kept(spark: SparkSession, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the last day needs is kept; not to be changed."""
    lake = Lake.at(shutil.copytree(shop, tmp_path_factory.mktemp("kept") / "shop"))
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        assert_same_both_ways(a_build(spark, lake), LAST)
    return Path(lake.store.url)


@pytest.fixture
def copied(kept: Path, tmp_path: Path) -> Lake:
    return Lake.at(shutil.copytree(kept, tmp_path / "kept"))


def a_build(spark: SparkSession, lake: Lake, settings: Settings = SETTINGS) -> Build:
    lake = Lake(lake.store)
    return Build(spark, settings, Provenance(lake, settings), lambda _: None)


def assert_same_both_ways(build: Build, *days: date) -> None:
    for name, module in TABLES.items():
        blocks = [module.from_state(build, some) for some in days_together(build, days)]
        scanned = module.from_actions(build, list(days))
        others = scanned if isinstance(scanned, list) else [scanned]
        found = [_sorted([frame.toArrow() for frame in one], name) for one in (blocks, others)]
        assert found[0].num_rows
        # Bit by bit: doubles too.
        assert found[0].equals(found[1]), (name, days)


def _sorted(tables: list[pa.Table], name: str) -> pa.Table:
    table = SPECS[name].table
    rows = pa.concat_tables(found.select(table.column_names) for found in tables)
    return rows.sort_by([("dt", "ascending"), (table.key[0], "ascending")]).combine_chunks()


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["build", "build", "late actions", "late catalogue", "gone"]),
        st.integers(0, len(ACTION_DAYS) - 1),
    ),
    min_size=2,
    max_size=5,
)


@ONLY_SAIL
@settings(max_examples=3)
@given(events=EVENTS, seed=st.integers(0, 99), look_back=st.sampled_from([10, 10, 13, None]))
def test_what_is_kept_gives_the_same_after_any_order_of_days(
    spark: SparkSession,
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[str, int]],
    seed: int,
    look_back: int | None,
) -> None:
    root = tmp_path_factory.mktemp("lake")
    lake = write_shop_lake(root, _shifted(shop_actions(seed), seed), shop_items(seed))
    options = replace(SETTINGS, lookback_days=look_back)
    for number, (event, place) in enumerate([*events, ("build", len(ACTION_DAYS) - 1)]):
        day = ACTION_DAYS[place]
        if event == "late actions":
            publish_actions(lake, day, _shifted(shop_actions(seed + number + 1), seed))
        elif event == "late catalogue":
            publish_catalogue(lake, day, shop_items(seed + number + 1))
        elif event == "gone":
            publish_actions(lake, day, [])
        elif place > 6:
            days = ACTION_DAYS[place - number % 3 : place + 1]
            assert_same_both_ways(a_build(spark, lake, options), *days)
        lake.refresh()


def _shifted(actions: list[dict], seed: int) -> list[dict]:
    """Some times lie on another day than that under which they are filed."""
    rng = random.Random(seed)
    return [
        {**row, "occurred_at": row["occurred_at"] + timedelta(days=rng.choice((0, 0, 0, 2, -5)))}
        for row in actions
    ]


def test_what_is_kept_gives_the_same_on_every_engine(
    spark: SparkSession, lake: Lake, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, days = SETTINGS, [LAST - timedelta(days=1), LAST]
    if engine == "spark":
        # Each stretch takes seconds there: one core, and stretches of two lengths beside it.
        options, days = replace(SETTINGS, lookback_days=5), [LAST]
        monkeypatch.setattr(feature_folds, "_LENGTHS", (2, 1))
        monkeypatch.setattr(feature_pairs, "_STEPS", (4,))
        monkeypatch.setattr(feature_state, "_ACTIONS_PER_CORE", 1_000)
    assert_same_both_ways(a_build(spark, lake, options), *days)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[date]:
    """Days of actions that are read from now on."""
    days: set[date] = set()

    def noted(spark: Any, snapshot: Any, table: Table, some: Iterable[date], *rest: Any) -> Any:
        found = list(some)
        if table == UNIFIED_ACTIONS:
            days.update(found)
        return read_days(spark, snapshot, table, found, *rest)

    for module in (feature_pairs, feature_inputs):
        monkeypatch.setattr(module, "read_days", noted)
    return days


@ONLY_SAIL
def test_a_day_reads_the_actions_of_few_days(
    spark: SparkSession, lake: Lake, read: set[date]
) -> None:
    specs = [SPECS[name] for name in TABLES]

    def build(day: date) -> set[date]:
        read.clear()
        reports = list(build_days(spark, Lake(lake.store), SETTINGS, specs, [day]))
        assert [report.problem for report in reports] == [None, None]
        return set(read)

    before = LAST - timedelta(days=1)
    assert build(before) == {before - timedelta(days=n) for n in range(1, 11)}
    assert build(before) <= {before - timedelta(days=n) for n in (1, 10)}
    assert len(build(LAST)) <= 4


@ONLY_SAIL
def test_a_range_of_many_actions_is_made_day_by_day_from_what_is_kept(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = ACTION_DAYS[-2:]
    build = a_build(spark, lake)
    monkeypatch.setattr(feature_state, "_MIN_DAYS", 64)
    assert not feature_state.is_kept(build, days)
    monkeypatch.setattr(feature_state, "_MAX_SCANNED", 100)
    for name, module in TABLES.items():
        monkeypatch.setattr(module, "from_actions", None)
        written = SPECS[name].build(build, days)
        assert {day for day, new in written.items() if sum(f.rows for f in new.files)} == set(days)


@ONLY_SAIL
def test_what_is_of_other_days_is_vacuumed(spark: SparkSession, copied: Lake) -> None:
    lake = copied
    now = timedelta(0)
    assert feature_state.vacuum_state(Lake(lake.store), keep=now, dry_run=True) == (0, 0)
    publish_actions(lake, LAST - timedelta(days=2), shop_actions(9))
    files, _ = feature_state.vacuum_state(Lake(lake.store), keep=now, dry_run=False)
    assert files > 4
    left = {entry.path.partition("/")[0] for entry in lake.store.child("_feature_state").list()}
    assert left
    assert_same_both_ways(a_build(spark, lake), LAST)


@ONLY_SAIL
def test_a_damaged_or_half_written_stretch_is_made_again(spark: SparkSession, copied: Lake) -> None:
    lake = copied
    store = lake.store.child("_feature_state")
    seals = [entry.path for entry in store.list() if entry.path.endswith("state.json")]
    store.put(seals[0], b"{")
    files = [e.path for e in store.list() if e.path.startswith(seals[1].partition("/")[0])]
    store.delete(path for path in files if path.endswith(".parquet"))
    assert_same_both_ways(a_build(spark, lake), LAST)


def kinds(lake: Lake) -> dict[str, int]:
    """How many stretches of each kind of pairs are kept."""
    found = feature_state.kept_stretches(Lake(lake.store))
    return {kind: of["stretches"] for kind, of in found.items() if kind.startswith("pairs")}


@ONLY_SAIL
def test_what_a_base_comes_to_is_made_again_where_it_is_gone(
    spark: SparkSession, copied: Lake
) -> None:
    before = kinds(copied)
    of_base = {"pairs 4 categories", "pairs 4 items", "pairs 4 lists"}
    assert {kind for kind in before if len(kind.split()) == 3} >= of_base
    store = copied.store.child("_feature_state")
    seals = [entry.path for entry in store.list() if entry.path.endswith("state.json")]
    for path in seals:
        if len(json.loads(store.read(path))["kind"].split()) == 3:
            store.delete([path])
    assert kinds(copied) == {"pairs 2": 1, "pairs 4": 1}
    assert_same_both_ways(a_build(spark, copied), LAST)
    assert kinds(copied) == before


@ONLY_SAIL
def test_only_other_categories_of_items_of_the_base_are_counted_anew(
    spark: SparkSession, copied: Lake
) -> None:
    before = LAST - timedelta(days=1)
    rows = [row for row in shop_items() if row["dt"] == before]
    # The pairs are of items 1 to 11.
    publish_catalogue(copied, before, [*rows, {**rows[0], "item_id": 15, "category": "aprons"}])
    assert_same_both_ways(a_build(spark, copied), LAST)
    assert kinds(copied)["pairs 4 categories"] == 1
    publish_catalogue(copied, before, [{**row, "category": "aprons"} for row in rows])
    assert_same_both_ways(a_build(spark, copied), LAST)
    assert kinds(copied)["pairs 4 categories"] == 2
    assert kinds(copied)["pairs 4 lists"] == 1


@ONLY_SAIL
@pytest.mark.parametrize("first", list(TABLES))
def test_pairs_of_a_day_are_counted_once_for_customers_and_items(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    days = [LAST - timedelta(days=1), LAST]
    TABLES[first].from_state(a_build(spark, lake), days)
    # Whoever comes second finds all that there is to know of pairs.
    monkeypatch.setattr(pair_days, "core_of", None)
    assert_same_both_ways(a_build(spark, lake), *days)


@ONLY_SAIL
def test_parts_may_have_no_customers(spark: SparkSession, tmp_path: Path) -> None:
    # All of them come into the first part.
    rows = [{**row, "customer_id": 2520 * row["customer_id"]} for row in shop_actions()]
    lake = write_shop_lake(tmp_path, rows, shop_items())
    assert_same_both_ways(a_build(spark, lake), LAST)
    # Now from what is kept.
    assert_same_both_ways(a_build(spark, lake), LAST)


@ONLY_SAIL
def test_nothing_is_before_the_first_day(spark: SparkSession, lake: Lake) -> None:
    build = a_build(spark, lake, replace(SETTINGS, lookback_days=None))
    assert user_features.from_state(build, ACTION_DAYS[:1]).count() == 0
    item_features.from_state(build, ACTION_DAYS[:1]).count()
