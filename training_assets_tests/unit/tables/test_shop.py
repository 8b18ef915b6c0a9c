"""interactions, items and users as they are published, and what unified_actions has of them."""

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.pipeline import DayReport, build_days
from training_assets.provenance import Provenance, find_outdated
from training_assets.settings import Settings
from training_assets.sources import ids
from training_assets.sources.kinds import kinds_taken
from training_assets.tables import BUILT_FROM, SPECS
from training_assets_tests.support.frames import click
from training_assets_tests.support.lakes import write_raw_lake
from training_assets_tests.support.shops import (
    DAYS,
    interactions,
    item,
    items,
    put,
    users,
    write_shop,
)

NAMES = ("items", "users", "interactions", "unified_actions")
Row = dict[str, Any]


def build(spark: SparkSession, root: Path, *days: date, **knobs: Any) -> list[DayReport]:
    lake, settings = Lake.at(root), Settings(lake=str(root), **knobs)
    return list(build_days(spark, lake, settings, [SPECS[n] for n in NAMES], list(days or DAYS)))


def published(root: Path, table: str, day: date) -> list[Row]:
    files = Lake.at(root).snapshot(table).uris(day)
    return [row for file in files for row in SealedParquet(file).read().to_pylist()]


def problems(reports: list[DayReport]) -> list[str]:
    return [report.problem for report in reports if report.problem]


def item_numbers(root: Path) -> dict[str, int]:
    snapshot = Lake.at(root).snapshot("item_ids")
    rows = [row for day in snapshot.days for row in published(root, "item_ids", day)]
    return {row["text"]: row["id"] for row in rows}


on_sail = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")


@on_sail
def test_a_shop_with_integer_ids_keeps_them(spark: SparkSession, tmp_path: Path) -> None:
    require_shop(spark, tmp_path, text=False)


def test_a_shop_with_text_ids_is_published_with_integers(
    spark: SparkSession, tmp_path: Path
) -> None:
    require_shop(spark, tmp_path, text=True)


def require_shop(spark: SparkSession, tmp_path: Path, *, text: bool) -> None:
    write_shop(tmp_path, text=text)
    reports = build(spark, tmp_path)
    assert problems(reports) == []
    absent = {(r.table, r.day) for r in reports if r.is_absent}
    assert absent == {("items", DAYS[1]), ("users", DAYS[1]), ("users", DAYS[2])}
    rows = published(tmp_path, "interactions", DAYS[0])
    assert len(rows) == 50
    expected = {ids.hash_text(f"user-{n}") for n in range(7)} if text else set(range(7))
    assert {row["customer_id"] for row in rows} == expected
    assert {row["item_id"] for row in rows} == set(range(1, 6))
    kinds = Counter(row["action_type"] for row in published(tmp_path, "unified_actions", DAYS[2]))
    assert kinds == dict.fromkeys(range(1, 6), 10)
    catalogue = {row["item_id"]: row for row in published(tmp_path, "items", DAYS[2])}
    assert {n for n, row in catalogue.items() if not row["is_active"]} == {1}
    assert {row["category"] for row in catalogue.values()} == {"shoes"}
    settings = Settings(lake=str(tmp_path))
    assert find_outdated(Provenance(Lake.at(tmp_path), settings), BUILT_FROM).days == ()


@on_sail
def test_ids_stay_the_same_over_late_days_and_new_runs(spark: SparkSession, tmp_path: Path) -> None:
    write_shop(tmp_path, text=True)
    assert problems(build(spark, tmp_path, DAYS[2])) == []
    before = item_numbers(tmp_path)
    late = [{**row, "item_id": "aaa"} for row in interactions(DAYS[0], text=True)]
    put(tmp_path / "raw", "interactions", DAYS[0], late)
    put(tmp_path / "raw", "items", DAYS[0], [*items(text=True), *items(text=True, first=9, last=9)])
    build(spark, tmp_path, *DAYS)
    after = item_numbers(tmp_path)
    assert {text: after[text] for text in before} == before
    assert sorted(after.values()) == list(range(1, len(after) + 1))
    assert set(after) - set(before) == {"aaa", "prod_9"}


@on_sail
def test_two_customers_with_one_hash_are_an_error(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shop(tmp_path, text=True)
    real = ids.hash_text
    monkeypatch.setattr(ids, "hash_text", lambda text: real(text.replace("user-6", "user-5")))
    (problem, *_) = problems(build(spark, tmp_path, DAYS[0]))
    assert "'user-5' and 'user-6' have the same hash" in problem
    assert Lake.at(tmp_path).days("users") == []


@on_sail
def test_a_new_customer_with_the_hash_of_a_known_one_is_an_error(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shop(tmp_path, text=True)
    assert problems(build(spark, tmp_path, DAYS[0])) == []
    rows = interactions(DAYS[1], text=True)
    put(tmp_path / "raw", "interactions", DAYS[1], [*rows, {**rows[0], "user_id": "late"}])
    real = ids.hash_text
    monkeypatch.setattr(ids, "hash_text", lambda text: real(text.replace("late", "user-5")))
    (problem, *_) = problems(build(spark, tmp_path, DAYS[1]))
    assert "'late' and 'user-5' have the same hash" in problem
    assert DAYS[1] not in Lake.at(tmp_path).days("interactions")


@on_sail
def test_integers_and_texts_in_one_lake_are_an_error(spark: SparkSession, tmp_path: Path) -> None:
    write_shop(tmp_path, text=True)
    rows = interactions(DAYS[1], text=True)
    put(tmp_path / "raw", "interactions", DAYS[1], [*rows[1:], {**rows[0], "user_id": 7}])
    found = {r.day: r.problem for r in build(spark, tmp_path) if r.table == "interactions"}
    assert found[DAYS[0]] is None
    assert "the id '7' is of another kind than the lake's other ids" in str(found[DAYS[1]])
    write_raw_lake(tmp_path, [], [click(1, 7, DAYS[0])], action_days=DAYS, impression_days=DAYS)
    (problem, *_) = problems(build(spark, tmp_path, DAYS[0]))
    assert "raw/" in problem
    assert "which are texts" in problem


@on_sail
def test_rows_are_cleaned_set_aside_or_known_to_come_again(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_shop(tmp_path)
    rows = interactions(DAYS[0])
    odd = [
        {**rows[1], "interaction_id": "odd", "interaction_type": " Click ", "device_type": "  "},
        {**rows[2], "interaction_id": "blank", "user_id": " "},
        {**rows[3], "interaction_id": "kind", "interaction_type": "buy"},
        {**rows[4], "interaction_id": "far", "timestamp": "2025-01-01T00:00:00Z"},
        rows[5],
    ]
    put(tmp_path / "raw", "interactions", DAYS[0], [*rows, *odd])
    put(tmp_path / "raw", "interactions", DAYS[0], [*rows, *odd], "b.jsonl")
    (report,) = (
        r for r in build(spark, tmp_path, DAYS[0], min_valid_share=0.0) if r.table == "interactions"
    )
    assert report.problem is None
    assert report.manifest["figures"]["quarantined"] == {
        "interactions": 3,
        "interactions.re_delivered": 1,
    }
    found = {row["interaction_id"]: row for row in published(tmp_path, "interactions", DAYS[0])}
    assert len(found) == 51
    assert (found["odd"]["interaction_type"], found["odd"]["device_type"]) == ("click", "unknown")
    (path,) = tmp_path.glob(f"interactions/_validation/dt={DAYS[0]}/*.json")
    assert path.with_suffix(".md").read_text().startswith(f"# interactions of {DAYS[0]}: error")


@on_sail
def test_a_snapshot_that_shrinks_too_much_deletes_nothing(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_shop(tmp_path)
    put(tmp_path / "raw", "items", DAYS[2], items(first=3))
    reports = build(spark, tmp_path)
    assert problems(reports) == []
    assert all(row["is_active"] for row in published(tmp_path, "items", DAYS[2]))
    (report,) = (r for r in reports if (r.table, r.day) == ("items", DAYS[2]))
    assert [c.check.name for c in report.checks if not c.passed] == ["snapshot_size"]


@on_sail
def test_a_range_gives_the_states_of_single_days(spark: SparkSession, tmp_path: Path) -> None:
    one, other = write_shop(tmp_path / "one"), write_shop(tmp_path / "other")
    put(one / "raw", "items", DAYS[1], items(last=5))
    put(other / "raw", "items", DAYS[1], items(last=5))
    build(spark, one)
    for day in DAYS:
        assert problems(build(spark, other, day)) == []
    for day in DAYS:
        assert published(one, "items", day) == published(other, "items", day)


@on_sail
def test_unknown_ids_warn_below_one_percent_and_block_from_there(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_shop(tmp_path)
    rows = interactions(DAYS[0], count=200)
    put(
        tmp_path / "raw",
        "interactions",
        DAYS[0],
        [*rows, {**rows[0], "interaction_id": "x", "item_id": 77}],
    )
    assert problems(build(spark, tmp_path, DAYS[0])) == []
    more = [{**rows[0], "interaction_id": f"x{n}", "item_id": 77} for n in range(3)]
    put(tmp_path / "raw", "interactions", DAYS[0], [*rows, *more])
    (problem, _) = problems(build(spark, tmp_path, DAYS[0]))
    assert "interactions.item_id.known: 3 of 203 rows" in problem


@on_sail
def test_kinds_with_a_source_of_their_own_are_not_counted_twice(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_shop(tmp_path)
    write_raw_lake(tmp_path, [], [click(1, 7, DAYS[1])], action_days=DAYS[1:], impression_days=[])
    assert problems(build(spark, tmp_path)) == []
    kinds = [
        Counter(row["action_type"] for row in published(tmp_path, "unified_actions", day))
        for day in DAYS
    ]
    assert kinds[0] == dict.fromkeys(range(1, 6), 10)
    assert kinds[1] == {1: 1, 3: 10, 4: 10, 5: 10}
    assert problems(build(spark, tmp_path, interaction_kinds="none")) == []
    assert len(published(tmp_path, "unified_actions", DAYS[1])) == 1


def test_kinds_are_left_out_from_the_day_on_which_their_source_begins() -> None:
    firsts = {1: DAYS[1], 2: None, 3: DAYS[2]}
    taken = [kinds_taken("missing", day, DAYS[0], firsts) for day in DAYS]
    assert taken == [(1, 2, 3, 4, 5), (2, 3, 4, 5), (2, 4, 5)]
    assert kinds_taken("all", DAYS[2], DAYS[0], firsts) == (1, 2, 3, 4, 5)
    assert kinds_taken("missing", DAYS[0], DAYS[1], firsts) == ()
    assert kinds_taken("none", DAYS[2], DAYS[0], firsts) == ()
    assert kinds_taken("missing", DAYS[2], None, firsts) == ()


@on_sail
def test_a_shop_without_a_stream_has_none_of_the_tables(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_raw_lake(tmp_path, [], [click(1, 7, DAYS[0])], action_days=DAYS, impression_days=[])
    reports = build(spark, tmp_path)
    assert problems(reports) == []
    assert {r.table for r in reports if r.is_absent} == {"items", "users", "interactions"}
    assert not (tmp_path / "interactions").exists()
    assert item(1, text=False) == 1
    assert users()
