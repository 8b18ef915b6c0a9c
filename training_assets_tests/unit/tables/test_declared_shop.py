"""Text ids beside the four tables, snapshots of changes, equal rows: as a shop declares them."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.pipeline import DayReport, build_days
from training_assets.provenance import Provenance
from training_assets.settings import Settings
from training_assets.sources import engagement_of, ids
from training_assets.tables import SPECS
from training_assets_tests.support.shops import DAYS, interactions, items, put, write_shop

Row = dict[str, Any]
on_sail = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")


def build(
    spark: SparkSession, root: Path, names: tuple[str, ...], days: list[date], **knobs: Any
) -> list[DayReport]:
    settings = Settings(lake=str(root), **knobs)
    return list(build_days(spark, Lake.at(root), settings, [SPECS[n] for n in names], days))


def published(root: Path, table: str, day: date) -> list[Row]:
    files = Lake.at(root).snapshot(table).uris(day)
    return [row for file in files for row in SealedParquet(file).read().to_pylist()]


def problems(reports: list[DayReport]) -> list[str]:
    return [report.problem for report in reports if report.problem]


def write_texts(root: Path) -> Path:
    """Clicks of two days, and impressions on the third, all with text ids."""
    raw = root / "raw"
    for n, day in enumerate(DAYS[:2]):
        rows = [{"customer_id": f"u{k}", "item_id": f" prod_{k + n}"} for k in range(3)]
        put(raw, "clicks", day, [{**row, "click_time": f"{day}T10:00:00Z"} for row in rows])
    shown = [
        {"item_id": "prod_1", "is_order": True},
        {"item_id": "prod_9", "is_order": False},
        {"item_id": " ", "is_order": False},
    ]
    ranking = {"ranking_id": "r", "customer_id": "u1", "impressions": shown}
    put(raw, "impressions", DAYS[2], [ranking])
    put(raw, "clicks", DAYS[2], [{"customer_id": "u1", "item_id": "prod_2"}])
    return root


TABLES = ("unified_actions", "customer_history", "training_input")


def test_text_ids_of_actions_and_impressions_get_their_integers(
    spark: SparkSession, tmp_path: Path
) -> None:
    root = write_texts(tmp_path)
    assert problems(build(spark, root, TABLES[:1], DAYS)) == []
    assert problems(build(spark, root, TABLES[1:], DAYS[2:], min_valid_share=0.0)) == []
    snapshot = Lake.at(root).snapshot("item_ids")
    rows = [row for day in snapshot.days for row in published(root, "item_ids", day)]
    numbers = {row["text"]: row["id"] for row in rows}
    assert set(numbers) == {"prod_0", "prod_1", "prod_2", "prod_3", "prod_9"}
    assert sorted(numbers.values()) == [1, 2, 3, 4, 5]
    found = published(root, "training_input", DAYS[2])
    assert {row["customer_id"] for row in found} == {ids.hash_text("u1")}
    labels = {row["impression_item_id"]: row["is_order"] for row in found}
    assert labels == {numbers["prod_1"]: 1, numbers["prod_9"]: 0}
    (history,) = published(root, "customer_history", DAYS[2])
    assert history["action_items"] == [numbers["prod_2"], numbers["prod_1"]]


@on_sail
def test_an_integer_beside_text_ids_is_an_error(spark: SparkSession, tmp_path: Path) -> None:
    root = write_texts(tmp_path)
    put(root / "raw", "clicks", DAYS[1], [{"customer_id": 7, "item_id": "prod_1"}])
    reports = {r.day: r.problem for r in build(spark, root, TABLES[:1], DAYS[:2])}
    assert reports[DAYS[0]] is None
    assert "the id '7' is of another kind than the lake's other ids" in str(reports[DAYS[1]])


@on_sail
def test_ids_that_are_declared_to_be_texts_may_be_digits(
    spark: SparkSession, tmp_path: Path
) -> None:
    declared = '[interactions]\ncolumns.item_id = { from = "item_id", id = "text" }\n'
    (tmp_path / "sources.toml").write_text(declared)
    rows = [*interactions(DAYS[0]), {**interactions(DAYS[0])[0], "item_id": "85123A"}]
    put(tmp_path / "raw", "interactions", DAYS[0], [{**r, "interaction_id": None} for r in rows])
    assert problems(build(spark, tmp_path, ("interactions",), DAYS[:1])) == []
    found = {row["text"]: row["id"] for row in published(tmp_path, "item_ids", DAYS[0])}
    assert found == {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "85123A": 6}


@on_sail
def test_a_snapshot_of_changes_says_nothing_of_others(spark: SparkSession, tmp_path: Path) -> None:
    root = write_shop(tmp_path)
    (root / "sources.toml").write_text('[items]\nsnapshot = "changes"\n')
    (changed,) = items(first=2, last=2)
    put(root / "raw", "items", DAYS[1], [{**changed, "price": "9"}])
    put(root / "raw", "items", DAYS[2], [{**items()[0], "is_active": False}])
    reports = build(spark, root, ("items",), DAYS)
    assert problems(reports) == []
    # Not even a warning of its size.
    assert [c.check.name for r in reports for c in r.checks if not c.passed] == []
    rows = {row["item_id"]: row for row in published(root, "items", DAYS[2])}
    assert {n for n, row in rows.items() if not row["is_active"]} == {1}
    assert str(rows[2]["price"]) == "9.0000"
    assert len(rows) == 6
    settings = Settings(lake=str(root))
    (root / "sources.toml").write_text("")
    built = SPECS["items"].built_from
    assert Provenance(Lake.at(root), settings).outdated(built, DAYS) == DAYS


@on_sail
def test_of_equal_rows_one_counts_where_that_is_declared(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = [{**row, "interaction_id": None} for row in interactions(DAYS[0])]
    put(tmp_path / "raw", "interactions", DAYS[0], [*rows, *rows[:3]])
    assert problems(build(spark, tmp_path, ("interactions",), DAYS[:1])) == []
    assert len(published(tmp_path, "interactions", DAYS[0])) == 53
    (tmp_path / "sources.toml").write_text('[interactions]\ndedupe = "exact"\n')
    (report,) = build(spark, tmp_path, ("interactions",), DAYS[:1])
    assert report.problem is None
    assert report.manifest["figures"]["quarantined"]["interactions.re_delivered"] == 3
    assert len(published(tmp_path, "interactions", DAYS[0])) == 50


@on_sail
def test_a_catalogue_that_is_not_complete_makes_no_id_unknown(
    spark: SparkSession, tmp_path: Path
) -> None:
    root = write_shop(tmp_path)
    put(root / "raw", "items", DAYS[0], items(last=1))
    names = ("items", "users", "interactions")
    (problem,) = problems(build(spark, root, names, DAYS[:1]))
    assert "interactions.item_id.known" in problem
    assert "complete = false" in problem
    (root / "sources.toml").write_text("[items]\ncomplete = false\n")
    assert problems(build(spark, root, names, DAYS[:1])) == []


def test_engagement_is_as_declared_else_what_the_shop_delivers(tmp_path: Path) -> None:
    assert engagement_of(Lake.at(tmp_path)) == "click"
    (tmp_path / "sources.toml").write_text('[seen]\nkind = "view"\n')
    put(tmp_path / "raw", "seen", DAYS[0], [{"customer_id": 1, "item_id": 2}])
    assert engagement_of(Lake.at(tmp_path)) == "view"
    (tmp_path / "sources.toml").write_text('[clicks]\nengagement = "click"\n')
    put(tmp_path / "raw", "interactions", DAYS[0], interactions(DAYS[0]))
    assert engagement_of(Lake.at(tmp_path)) == "click"
    values = Provenance(Lake.at(tmp_path), Settings(lake=str(tmp_path))).recorded(
        SPECS["user_features"].built_from
    )
    assert values["engagement"] == "click"
