"""Feature tables as they are published: rows of the reference, checks that speak, late days."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from training_assets.checks import CheckResult
from training_assets.lake import Lake
from training_assets.online import compare_day, load_day, open_store
from training_assets.pipeline import build_days, check_days
from training_assets.provenance import OutdatedDay, Provenance, find_outdated
from training_assets.schemas import UNIFIED_ACTIONS
from training_assets.tables import BUILT_FROM, SPECS, feature_inputs, feature_state
from training_assets_tests.support import feature_reference as reference
from training_assets_tests.support.feature_frames import assert_same
from training_assets_tests.support.feature_lakes import (
    ACTION_DAYS,
    BOT,
    FEATURE_DAYS,
    LAST,
    SETTINGS,
    Row,
    as_given,
    publish_actions,
    shop_actions,
    shop_items,
    write_shop_lake,
)
from training_assets_tests.support.lakes import IMPRESSION_DAYS, write_tiny_lake
from training_assets_tests.support.lakes import SETTINGS as TINY
from training_assets_tests.support.planting import replant, rows_of, unpublish

TABLES = ("user_features", "item_features", "pair_features")
ONLY_SAIL = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")
BAD_DAY = FEATURE_DAYS[3]


@pytest.fixture(scope="module")
def days(engine: str) -> list[date]:
    """One on Spark, which takes many times as long for it.

    That several days at once have the values of each is shown there by ``test_against_reference``.
    """
    return FEATURE_DAYS if engine == "sail" else FEATURE_DAYS[-1:]


@pytest.fixture(scope="module")
def built(spark: SparkSession, days: list[date], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All days published; not to be changed."""
    root = tmp_path_factory.mktemp("lake")
    lake = write_shop_lake(root, shop_actions(), shop_items())
    assert build(spark, lake, days=days) == []
    return root


@pytest.fixture
def lake(built: Path, tmp_path: Path) -> Lake:
    return Lake.at(shutil.copytree(built, tmp_path / "lake"))


def build(spark: SparkSession, lake: Lake, *tables: str, days: list[date] = FEATURE_DAYS) -> list:
    specs = [SPECS[name] for name in tables or TABLES]
    problems = [r.problem for r in build_days(spark, lake, SETTINGS, specs, days) if r.problem]
    lake.refresh()
    return problems


def failed(spark: SparkSession, lake: Lake, *tables: str) -> list[CheckResult]:
    specs = [SPECS[name] for name in tables or TABLES]
    results = check_days(spark, lake, SETTINGS, specs, [BAD_DAY, BAD_DAY + timedelta(days=1)])
    return [result for result in results if not result.passed and result.severity == "error"]


def published(lake: Lake, table: str, day: date) -> list[Row]:
    return [{"dt": day, **row} for row in rows_of(lake, table, day).to_pylist()]


def test_rows_are_those_of_the_reference(built: Path, days: list[date]) -> None:
    lake, actions, items = Lake.at(built), as_given(shop_actions()), shop_items()
    options: dict[str, Any] = {"days": days, "lookback_days": 10, "engagement": "view"}
    for table, key, expected in (
        ("user_features", "customer_id", reference.user_features(actions, items, **options)),
        ("item_features", "item_id", reference.item_features(actions, items, **options)),
    ):
        found = [row for day in days for row in published(lake, table, day)]
        by_key = {(row["dt"], row[key]): row for row in found}
        assert by_key.keys() == {(row["dt"], row[key]) for row in expected}
        assert len(found) == len(by_key)
        for row in expected:
            assert_same(by_key[row["dt"], row[key]], row, row)


def test_pairs_are_those_of_the_reference(spark: SparkSession, built: Path) -> None:
    actions = as_given(shop_actions())
    of_day = [row for row in actions if row["dt"] == LAST]
    expected = reference.pair_features(of_day, actions, shop_items(), lookback_days=10)

    def order(row: Row) -> tuple:
        rest = repr(sorted(row.items(), key=str))
        return row["customer_id"], row["item_id"], row["time_of_day"] or -1, rest

    columns = list(expected[0])
    found = [{n: row[n] for n in columns} for row in published(Lake.at(built), TABLES[2], LAST)]
    assert len(found) == len(expected)
    for left, right in zip(sorted(found, key=order), sorted(expected, key=order), strict=True):
        assert_same(left, right, [name for name in columns if name != "session_position"])
    positions = [sorted(row["session_position"] or 0 for row in rows) for rows in (found, expected)]
    assert positions[0] == positions[1]


@ONLY_SAIL
def test_pairs_of_more_actions_than_are_held_are_built_in_parts(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(day: date) -> list[Row]:
        return sorted(published(lake, "pair_features", day), key=repr)

    days = FEATURE_DAYS[-2:]
    before = {day: rows(day) for day in days}
    monkeypatch.setattr(feature_state, "_ACTIONS_PER_CORE", 40)
    assert build(spark, lake, "pair_features", days=days) == []
    assert {day: rows(day) for day in days} == before
    files = lake.snapshot("pair_features").files
    assert all(len([file for file in files[day] if file.rows]) > 1 for day in days)


@ONLY_SAIL
def test_nothing_fails_on_good_data(spark: SparkSession, built: Path) -> None:
    assert failed(spark, Lake.at(built)) == []


def outdated(lake: Lake) -> tuple[OutdatedDay, ...]:
    return find_outdated(Provenance(Lake(lake.store), SETTINGS), BUILT_FROM).days


def _first(name: str, value: Any) -> Callable[[list[Row]], None]:
    return lambda rows: rows[0].update({name: value})


def _all(name: str, value: Any) -> Callable[[list[Row]], None]:
    return lambda rows: [row.update({name: value}) for row in rows]  # type: ignore[return-value]


def _drop(rows: list[Row]) -> None:
    del rows[0]


FAULTS: list[tuple[str, str, Callable[[list[Row]], None]]] = [
    ("user_features", "leakage", _first("total_interactions", 77)),
    ("user_features", "leakage", _first("favorite_category", "hats")),
    ("user_features", "leakage", _first("monetary_value", Decimal("0.0001"))),
    ("user_features", "leakage", _first("recent_items", [1])),
    ("user_features", "leakage", _first("customer_id", -5)),
    ("user_features", "leakage", _drop),
    ("user_features", "nulls", _all("share_view", float("nan"))),
    ("user_features", "nulls", _all("avg_price_point", None)),
    ("user_features", "ranges", _first("share_view", 1.5)),
    ("item_features", "leakage", _first("unique_users", 77)),
    ("item_features", "leakage", _first("category_popularity", 0.12345)),
    ("item_features", "leakage", _first("price", Decimal("3.0000"))),
    ("item_features", "leakage", _drop),
    ("item_features", "nulls", _all("popularity_score", None)),
    ("item_features", "ranges", _first("price_percentile", -0.5)),
    ("pair_features", "leakage", _first("user_item_affinity", 0.98765)),
    ("pair_features", "leakage", _first("price_ratio", 9.0)),
    ("pair_features", "nulls", _all("category_match", None)),
    ("pair_features", "ranges", _first("time_of_day", 24)),
    ("pair_features", "row_counts", _drop),
]


@ONLY_SAIL
@pytest.mark.parametrize(("table", "check", "edit"), FAULTS, ids=lambda v: str(v)[:20])
def test_a_planted_fault_fails_its_check(
    spark: SparkSession, lake: Lake, table: str, check: str, edit: Callable[[list[Row]], None]
) -> None:
    rows = rows_of(lake, table, BAD_DAY).to_pylist()
    edit(rows)
    rows.sort(key=lambda row: [row[name] or 0 for name in SPECS[table].table.key[:1]])
    replant(lake, table, BAD_DAY, pa.Table.from_pylist(rows, SPECS[table].table.arrow_schema))
    found = {(r.check.name, r.day) for r in failed(spark, lake, table)}
    assert (check, BAD_DAY) in found
    assert {day for _, day in found} == {BAD_DAY}


@ONLY_SAIL
def test_a_leak_of_the_day_itself_keeps_the_day_from_being_published(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build is given a look at the day: its actions as if they were of the day before."""
    tables = SPECS["user_features"], SPECS["item_features"]
    real = feature_inputs.read_actions

    def leaking(build: Any, days: list[date], **options: Any) -> Any:
        from pyspark.sql import functions as F

        return real(build, [*days, days[-1] + timedelta(days=1)]).withColumn(
            "dt", F.when(F.col("dt") == days[-1], F.date_sub("dt", 1)).otherwise(F.col("dt"))
        )

    for module in ("user_features", "item_features"):
        monkeypatch.setattr(f"training_assets.tables.{module}.read_actions", leaking)
    publish_actions(lake, ACTION_DAYS[0], shop_actions(8))
    for spec in tables:
        [report] = build_days(spark, lake, SETTINGS, [spec], [LAST])
        assert "leakage" in (report.problem or "")
        assert "are not what the days before give" in (report.problem or "")


@ONLY_SAIL
def test_a_late_day_makes_exactly_the_days_out_of_date_that_look_back_to_it(
    spark: SparkSession, lake: Lake
) -> None:
    late = FEATURE_DAYS[2]
    recorded = lake.manifest(UNIFIED_ACTIONS.name, late)["settings"]
    changed = [{**row, "item_id": 7} if row["dt"] == late else row for row in shop_actions()]
    publish_actions(lake, late, changed, {"settings": recorded})
    by_table = {name: [f.day for f in outdated(lake) if f.table == name] for name in TABLES}
    after = FEATURE_DAYS[3:]
    # Pairs are of the day's own actions too.
    assert by_table == {TABLES[0]: after, TABLES[1]: after, TABLES[2]: [late, *after]}

    for name, days in by_table.items():
        assert build(spark, lake, name, days=days) == []
    assert not {f.table for f in outdated(lake)} & set(TABLES)
    expected = reference.user_features(
        as_given(changed), shop_items(), days=[LAST], lookback_days=10, engagement="view"
    )
    rows = {row["customer_id"]: row for row in published(lake, TABLES[0], LAST)}
    for row in expected:
        assert_same(rows[row["customer_id"]], row, row)


@ONLY_SAIL
def test_a_day_alone_is_the_same_as_in_a_range(spark: SparkSession, lake: Lake) -> None:
    before = {name: lake.snapshot(name).content(BAD_DAY) for name in TABLES}
    for name in TABLES:
        unpublish(lake, name, BAD_DAY)
    assert build(spark, lake, days=[BAD_DAY]) == []
    assert {name: lake.snapshot(name).content(BAD_DAY) for name in TABLES} == before


@ONLY_SAIL
def test_bots_are_left_out_and_another_engagement_makes_days_out_of_date(
    built: Path,
) -> None:
    lake = Lake.at(built)
    assert all(row["customer_id"] != BOT for row in published(lake, TABLES[0], LAST))
    other = Provenance(lake, replace(SETTINGS, engagement="click"))
    reasons = {
        f.table: f.reasons
        for f in find_outdated(other, BUILT_FROM).days
        if f.day == LAST and f.table in TABLES
    }
    assert reasons == dict.fromkeys(TABLES[:2], ("setting engagement changed from view to click",))


@ONLY_SAIL
def test_without_a_catalogue_and_with_rankings(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake.at(write_tiny_lake(tmp_path))
    actions, shown = SPECS["unified_actions"], SPECS["items_shown"]
    from training_assets_tests.support.lakes import ACTION_DAYS as DAYS

    day = IMPRESSION_DAYS[-1]
    incomplete = list(build_days(spark, lake, TINY, [SPECS["user_features"]], [day]))
    assert "days of the look-back of" in (incomplete[0].problem or "")
    lake.refresh()
    for specs, days in (([actions], DAYS), ([shown], IMPRESSION_DAYS)):
        assert [r.problem for r in build_days(spark, lake, TINY, specs, days) if r.problem] == []
    specs = [SPECS[name] for name in TABLES]
    reports = list(build_days(spark, lake, TINY, specs, [day]))
    assert [r.problem for r in reports] == [None] * 3
    lake.refresh()
    rows = {row["item_id"]: row for row in published(lake, "item_features", day)}
    assert {row["price"] for row in rows.values()} == {None}
    pairs = published(lake, "pair_features", day)
    assert {row["action_type"] for row in pairs} >= {0, 1}
    assert {row["time_of_day"] for row in pairs if row["action_type"] == 0} == {None}


@ONLY_SAIL
def test_online_is_what_was_published(built: Path, tmp_path: Path) -> None:
    lake = Lake.at(built)
    with open_store(f"sqlite:{tmp_path}", expires_after=date.max - date.min) as store:
        for table in ("users", "items"):
            assert load_day(store, lake, table).version.dt == LAST  # type: ignore[arg-type]
            found = compare_day(store, lake, table, LAST)  # type: ignore[arg-type]
            assert found.rows
            assert not found.different
