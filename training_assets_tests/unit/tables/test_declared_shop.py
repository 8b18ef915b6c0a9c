"""Text ids beside the four tables, snapshots of changes, equal rows: as a shop declares them."""

from datetime import date, timedelta
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
from training_assets.tables import build as tables_build
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
        {"item_id": "x" * 256, "is_order": False},
        {"item_id": " cafe\u0301  au\tlait", "is_order": False},
    ]
    ranking = {"ranking_id": "r", "customer_id": "u1", "impressions": shown}
    put(raw, "impressions", DAYS[2], [ranking])
    clicked = ["prod_2", "caf\u00e9 au lait"]
    put(raw, "clicks", DAYS[2], [{"customer_id": "u1", "item_id": item} for item in clicked])
    return root


TABLES = ("unified_actions", "customer_history", "training_input")


@pytest.mark.parametrize("engine", ["sail"], indirect=True)
def test_text_ids_of_actions_and_impressions_get_their_integers(
    spark: SparkSession, tmp_path: Path
) -> None:
    root = write_texts(tmp_path)
    assert problems(build(spark, root, TABLES[:1], DAYS)) == []
    assert problems(build(spark, root, TABLES[1:], DAYS[2:], min_valid_share=0.0)) == []
    snapshot = Lake.at(root).snapshot("item_ids")
    rows = [row for day in snapshot.days for row in published(root, "item_ids", day)]
    numbers = {row["text"]: row["id"] for row in rows}
    # However they are written, as those of other sources.
    cafe = "caf\u00e9 au lait"
    assert set(numbers) == {"prod_0", "prod_1", "prod_2", "prod_3", "prod_9", cafe}
    assert sorted(numbers.values()) == [1, 2, 3, 4, 5, 6]
    found = published(root, "training_input", DAYS[2])
    assert {row["customer_id"] for row in found} == {ids.hash_text("u1")}
    labels = {row["impression_item_id"]: row["is_order"] for row in found}
    assert labels == {numbers["prod_1"]: 1, numbers["prod_9"]: 0, numbers[cafe]: 0}
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
def test_large_days_go_by_way_of_the_disk_and_are_the_same(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for rows in (10**9, 0):
        monkeypatch.setattr(tables_build, "_MANY_ROWS", rows)
        root = write_shop(tmp_path / str(rows), text=True)
        (root / "raw/interactions" / f"dt={DAYS[2]}" / "a.jsonl").write_text("")
        tables = ("items", "users", "interactions", "unified_actions")
        assert problems(build(spark, root, tables, DAYS, min_valid_share=0.0)) == []
        store = Lake.at(root).store
        assert store.list("_runs") == []
        snapshots = [Lake.at(root).snapshot(table).files for table in tables[2:]]
        # Names have the hash of the file, and then the run.
        found.append(
            {d: [f.name.rpartition("-")[0] for f in fs] for s in snapshots for d, fs in s.items()}
        )
    assert found[0] == found[1]
    # What a killed run left goes with the vacuum, what one is at work on stays.
    store.put("_runs/abc/left.arrow", b"x")
    assert tables_build.vacuum_runs(Lake.at(root), keep=timedelta(days=1), dry_run=False) == (0, 0)
    assert tables_build.vacuum_runs(Lake.at(root), keep=timedelta(0), dry_run=False) == (1, 1)
    assert store.list("_runs") == []


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
def test_what_is_returned_lowers_what_was_spent_and_is_no_action(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "sources.toml").write_text('[interactions]\nreturns = "subtract"\n')
    raw = tmp_path / "raw"
    # 2 x 10.00 and 7.50 are bought; of it one of 10.00 comes back, then 2.25 of the others' money.
    # What the catalogue prices at 3.00 comes back without a price; who bought before is not known.
    for day, told in (
        (
            DAYS[0],
            [(1, "purchase", {"quantity": 2, "price": 10}), (2, "purchase", {"amount": 7.5})],
        ),
        (
            DAYS[1],
            [
                (1, "purchase", {"quantity": -1, "price": 10}),
                (2, "purchase", {"amount": -2.25}),
                (3, "purchase", {"quantity": -2}),
                (3, "view", {}),
            ],
        ),
    ):
        rows = [
            {"user_id": 7, "item_id": n, "interaction_type": kind, **worth}
            for n, kind, worth in told
        ]
        put(raw, "interactions", day, [{**r, "timestamp": f"{day}T10:00:00Z"} for r in rows])
    put(raw, "items", DAYS[0], [{"item_id": n, "title": "A", "price": 3} for n in (1, 2, 3, 4)])
    shown = [{"item_id": 3, "is_order": False}]
    put(
        raw,
        "impressions",
        DAYS[2],
        [{"ranking_id": "r", "customer_id": 7, "impressions": shown}],
    )
    put(raw, "interactions", DAYS[2], [{**rows[-1], "timestamp": f"{DAYS[2]}T10:00:00Z"}])
    knobs: dict[str, Any] = {"action_types": (3, 4), "positive_types": (3, 4)}
    tables = ("items", "interactions", "unified_actions")
    assert problems(build(spark, tmp_path, tables, DAYS, **knobs)) == []
    kinds = [row["action_type"] for row in published(tmp_path, "unified_actions", DAYS[1])]
    assert sorted(kinds) == [4, 6, 6, 6]
    tables = ("user_features", "item_features", "customer_history")
    assert problems(build(spark, tmp_path, tables, DAYS[2:], **knobs)) == []
    (user,) = published(tmp_path, "user_features", DAYS[2])
    # 20 + 7.5 - 10 - 2.25 - 2 x 3
    assert str(user["monetary_value"]) == "9.2500"
    assert (user["total_purchases"], user["purchases_without_price"]) == (2, 0)
    (history,) = published(tmp_path, "customer_history", DAYS[2])
    assert (history["action_items"], history["action_types"]) == ([3, 1, 2], [4, 3, 3])
    of_items = {row["item_id"]: row for row in published(tmp_path, "item_features", DAYS[2])}
    # Bought two days ago; never bought.
    assert [of_items[n]["recency_score"] for n in (1, 3)] == [1 / 3, 0.0]


@on_sail
def test_returns_are_no_pairs_and_no_samples(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text('[interactions]\nreturns = "subtract"\n')
    root = write_shop(tmp_path)
    rows = interactions(DAYS[0])
    back = [{**row, "quantity": -1} for row in rows if row["interaction_type"] == "purchase"]
    put(root / "raw", "interactions", DAYS[0], [*back, *rows[:3]])
    tables = ("items", "users", "interactions", "unified_actions", "items_shown")
    assert problems(build(spark, root, tables, DAYS[:1])) == []
    assert problems(build(spark, root, ("pair_features", "training_samples"), DAYS[:1])) == []
    manifest = Lake.at(root).snapshot("unified_actions").manifest(DAYS[0])
    assert manifest["figures"]["num_returns"] == len(back)
    assert manifest["figures"]["num_orders"] == 0
    assert len(published(root, "pair_features", DAYS[0])) == 3
    # The like; an order that came back is nothing to learn from.
    rows = published(root, "training_samples", DAYS[0])
    assert [row["item_id"] for row in rows if row["label"]] == ["3"]


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
