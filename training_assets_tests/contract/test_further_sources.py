"""Sources of actions that only ``sources.toml`` knows: in tables, counted, blocking."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession

from training_assets.assets import raw_specs
from training_assets.assets.tables import table_specs
from training_assets.checks import CheckResult
from training_assets.cli import main
from training_assets.cli.console import console
from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.pipeline import DayReport, build_days, changed_customers, check_days
from training_assets.provenance import Provenance, find_outdated
from training_assets.retention import RetentionSettings, plan_retention
from training_assets.settings import Settings
from training_assets.tables import BUILT_FROM, SPECS
from training_assets.tables import build as tables_build
from training_assets_tests.support.planting import replant, rows_of

DAYS = [date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)]
NAMES = ("unified_actions", "customer_history")
DECLARED = """
[add_to_carts]
absent = true

[previous_orders]
absent = true

[likes]
kind = "like"
columns = { customer_id = "uid", item_id = "product", occurred_at = "at" }

[app_clicks]
kind = "click"
path = "app/{yyyymmdd}"
format = "jsonl"
dedupe = "exact"
"""
Row = dict[str, Any]


def put(root: Path, path: str, rows: Sequence[Row]) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row) + "\n" for row in rows))


def like(customer: int, product: int | None, day: date) -> Row:
    return {"uid": customer, "product": product, "at": f"{day}T08:00:00Z"}


def write_lake(root: Path) -> None:
    """Clicks on all days; likes and clicks of the app from the second day on."""
    (root / "sources.toml").write_text(DECLARED)
    for day in DAYS:
        put(root, f"raw/clicks/dt={day}/a.jsonl", [{"customer_id": 1, "item_id": 10 + day.day}])
        shown = {"ranking_id": "r", "customer_id": 1}
        shown["impressions"] = [{"item_id": 5, "is_order": False}]
        put(root, f"raw/impressions/dt={day}/a.jsonl", [shown])
    for day in DAYS[1:]:
        put(root, f"raw/likes/dt={day}/a.jsonl", [like(1, 20 + day.day, day), like(2, None, day)])
        clicks = [{"customer_id": 1, "item_id": 30 + day.day}, {"customer_id": 3, "item_id": 0}]
        put(root, f"app/{day:%Y%m%d}/a.jsonl", clicks)


# What is known before an engine is asked, or read without one.
on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")


def settings(root: Path, **knobs: Any) -> Settings:
    return Settings(lake=str(root), **{"min_valid_share": 0, **knobs})


def build(spark: SparkSession, root: Path, *days: date, **knobs: Any) -> list[DayReport]:
    specs = [SPECS[name] for name in NAMES]
    return list(build_days(spark, Lake.at(root), settings(root, **knobs), specs, days or DAYS))


def problems(reports: list[DayReport]) -> list[str]:
    return [report.problem for report in reports if report.problem]


def published(root: Path, table: str, day: date) -> list[Row]:
    return [
        r
        for f in Lake.at(root).snapshot(table).uris(day)
        for r in SealedParquet(f).read().to_pylist()
    ]


def actions(root: Path, day: date) -> Counter[tuple[int, int, int]]:
    rows = published(root, "unified_actions", day)
    return Counter((r["customer_id"], r["item_id"], r["action_type"]) for r in rows)


def checked(spark: SparkSession, root: Path, day: date) -> dict[str, CheckResult]:
    """The outcome of each check of the actions, by its name."""
    found = check_days(spark, Lake.at(root), settings(root), [SPECS["unified_actions"]], [day])
    return {result.check.name: result for result in found}


def late_days(root: Path) -> dict[date, str]:
    found = find_outdated(Provenance(Lake.at(root), settings(root)), BUILT_FROM[:]).days
    return {late.day: "; ".join(late.reasons) for late in found if late.table == "unified_actions"}


@on_sail_only
def test_a_large_day_without_a_valid_row_is_set_aside(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_build, "_MANY_ROWS", 0)
    write_lake(tmp_path)
    put(tmp_path, f"raw/clicks/dt={DAYS[0]}/a.jsonl", [{"customer_id": 1, "item_id": None}] * 9)
    (report, *_) = build(spark, tmp_path, DAYS[0])
    assert "clicks has 0 of 9 valid" in report.problem


def test_further_sources_are_in_the_tables_and_counted(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By way of the disk, as large days are.
    monkeypatch.setattr(tables_build, "_MANY_ROWS", 0)
    write_lake(tmp_path)
    clicks = [{"customer_id": 1, "item_id": 32}, {"customer_id": 3, "item_id": 0}]
    timed = [{**clicks[0], "occurred_at": f"{DAYS[1]}T0{hour}:00:00Z"} for hour in (1, 1, 2)]
    # Of equal rows one, of likes both; a row that is set aside stays as it is.
    put(tmp_path, f"app/{DAYS[1]:%Y%m%d}/a.jsonl", [*clicks, clicks[0], *clicks, *timed])
    assert problems(build(spark, tmp_path)) == []
    assert Lake.at(tmp_path).store.list("_runs") == []
    assert actions(tmp_path, DAYS[0]) == {(1, 11, 1): 1}
    assert actions(tmp_path, DAYS[1]) == {(1, 12, 1): 1, (1, 32, 1): 3, (1, 22, 5): 1}
    (liked,) = [r for r in published(tmp_path, "unified_actions", DAYS[1]) if r["action_type"] == 5]
    assert (liked["has_time"], str(liked["occurred_at"])) == (True, "2026-03-02 08:00:00+00:00")
    (history,) = published(tmp_path, "customer_history", DAYS[2])
    assert sorted(history["action_items"]) == [11, 12, 32, 32, 32]
    found = checked(spark, tmp_path, DAYS[1])
    counted = found["row_counts"]
    assert counted.passed
    expected = {"clicks_in": 1, "app_clicks_in": 8, "app_clicks_quarantined": 2, "click_valid": 4}
    expected |= {"app_clicks_re_delivered": 3}
    expected |= {"likes_in": 2, "likes_valid": 1, "likes_quarantined": 1}
    assert {name: counted.metrics[name] for name in expected} == expected
    share = found["valid_share"].metrics
    wanted = {"clicks": 1, "app_clicks": 0.75, "likes": 0.5}
    assert {name: share[f"{name}_valid_share"] for name in wanted} == wanted
    # A row more than was delivered, and one less.
    rows = rows_of(Lake.at(tmp_path), "unified_actions", DAYS[1])
    is_like = [kind == 5 for kind in rows["action_type"].to_pylist()]
    replant(Lake.at(tmp_path), "unified_actions", DAYS[1], rows.filter([not of for of in is_like]))
    failed = checked(spark, tmp_path, DAYS[1])["row_counts"]
    assert "likes: 2 in, 0 valid + 1 quarantined" in failed.message
    is_app = [item == 32 for item in rows["item_id"].to_pylist()]
    replant(Lake.at(tmp_path), "unified_actions", DAYS[1], rows.filter([not of for of in is_app]))
    failed = checked(spark, tmp_path, DAYS[1])["row_counts"]
    assert "clicks, app_clicks: 6 in, 1 valid + 2 quarantined" in failed.message


@on_sail_only
def test_rows_that_came_again_are_kept(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sources.toml").write_text("[previous_orders]\ndedupe = 'exact'\n")
    orders = [{"order_date": str(day), "customer_id": 1, "config_id": 2} for day in DAYS]
    put(
        tmp_path, "raw/previous_orders/a.jsonl", [*orders, orders[1], {**orders[1], "simple_id": 3}]
    )
    specs = [SPECS["unified_actions"]]
    reports = list(build_days(spark, Lake.at(tmp_path), settings(tmp_path), specs, DAYS))
    assert problems(reports) == []
    aside = [report.manifest["figures"]["quarantined"] for report in reports]
    assert [of.get("previous_orders.re_delivered") for of in aside] == [None, 1, None]
    # Another size of the article is another row.
    assert actions(tmp_path, DAYS[1]) == {(1, 2, 3): 2}
    provenance = Provenance(Lake.at(tmp_path), settings(tmp_path))
    assert changed_customers(spark, provenance, DAYS).customers == {}
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(tmp_path))
    monkeypatch.setattr(console, "width", 200)
    command = ["quarantine", "--source", "previous_orders.re_delivered"]
    shown = CliRunner().invoke(main, command).output
    assert "is equal to another row of the day" in shown
    assert "1 of 1 rows" in shown
    (tmp_path / "sources.toml").unlink()
    assert list(late_days(tmp_path)) == DAYS


@on_sail_only
def test_a_further_source_counts_from_its_first_day_and_then_blocks(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_lake(tmp_path)
    (tmp_path / f"raw/likes/dt={DAYS[2]}/a.jsonl").unlink()
    (tmp_path / f"raw/likes/dt={DAYS[2]}").rmdir()
    later = DAYS[2] + timedelta(days=1)
    put(tmp_path, f"raw/likes/dt={later}/a.jsonl", [like(1, 7, later)])
    problem, *_ = problems(build(spark, tmp_path))
    assert f"likes: raw day {DAYS[2]} is missing" in problem
    assert Lake.at(tmp_path).days("unified_actions") == DAYS[:2]


@on_sail_only
def test_what_is_declared_anew_makes_days_out_of_date(spark: SparkSession, tmp_path: Path) -> None:
    write_lake(tmp_path)
    (tmp_path / "sources.toml").write_text(DECLARED.partition("[app_clicks]")[0])
    build(spark, tmp_path)
    assert late_days(tmp_path) == {}
    (tmp_path / "sources.toml").write_text(DECLARED)
    found = late_days(tmp_path)
    assert list(found) == DAYS[1:]
    assert "raw files added: " in found[DAYS[1]]
    provenance = Provenance(Lake.at(tmp_path), settings(tmp_path))
    changed = changed_customers(spark, provenance, DAYS)
    assert changed.customers == {DAYS[1]: 1, DAYS[2]: 1}
    build(spark, tmp_path)
    assert late_days(tmp_path) == {}
    (tmp_path / "sources.toml").write_text(DECLARED.replace('"like"', '"view"'))
    assert "further_sources" in late_days(tmp_path)[DAYS[2]]
    (tmp_path / "sources.toml").write_text(DECLARED.replace('at = "at"', 'at = "uid"'))
    assert list(late_days(tmp_path)) == DAYS[1:]
    (tmp_path / "sources.toml").write_text(DECLARED.partition("[app_clicks]")[0])
    assert "raw files removed: " in late_days(tmp_path)[DAYS[1]]


@on_sail_only
def test_a_like_of_a_stream_and_of_its_own_source_is_one_like(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_lake(tmp_path)
    for day in DAYS:
        row = {"item_id": 40, "user_id": 4, "timestamp": f"{day}T09:00:00Z"}
        rows = [{**row, "interaction_type": kind} for kind in ("like", "view")]
        put(tmp_path, f"raw/interactions/dt={day}/a.jsonl", rows)
    specs = [SPECS[name] for name in ("interactions", "unified_actions")]
    for mode, likes in (("missing", 1), ("all", 2)):
        knobs = settings(tmp_path, interaction_kinds=mode)
        reports = list(build_days(spark, Lake.at(tmp_path), knobs, specs, DAYS))
        assert problems(reports) == []
        kinds = [Counter(kind for _, _, kind in actions(tmp_path, day)) for day in DAYS]
        assert [of[5] for of in kinds] == [1, likes, likes]
        assert [of[4] for of in kinds] == [1, 1, 1]
        provenance = Provenance(Lake.at(tmp_path), knobs)
        assert changed_customers(spark, provenance, DAYS).customers == {}


@on_sail_only
def test_a_further_source_has_its_quarantine(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lake(tmp_path)
    build(spark, tmp_path)
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(tmp_path))
    monkeypatch.setattr(console, "_width", 300)
    shown = CliRunner().invoke(main, ["quarantine", "--source", "likes"])
    assert shown.exit_code == 0, shown.output
    assert "2 of 2 rows" in shown.output
    assert "app_clicks" not in shown.output
    shown = CliRunner().invoke(main, ["quarantine"])
    assert "4 of 4 rows" in shown.output
    assert "app_clicks" in shown.output
    refused = CliRunner().invoke(main, ["quarantine", "--source", "like"])
    assert refused.exit_code != 0
    assert "likes" in str(refused.output) + str(refused.exception)


def test_a_further_source_is_an_external_asset(tmp_path: Path) -> None:
    write_lake(tmp_path)
    specs = {spec.key.to_user_string(): spec for spec in raw_specs(settings(tmp_path))}
    assert "app/{yyyymmdd}" in str(specs["raw/app_clicks"].metadata["path"])
    assert "raw/likes" in str(specs["raw/likes"].metadata["path"])
    columns = specs["raw/likes"].metadata["dagster/column_schema"].columns
    assert [column.name for column in columns] == ["dt", "customer_id", "item_id", "occurred_at"]
    tables = {spec.key.to_user_string(): spec for spec in table_specs(settings(tmp_path))}
    read = {dep.asset_key.to_user_string() for dep in tables["unified_actions"].deps}
    assert {"raw/clicks", "raw/likes", "raw/app_clicks"} <= read


def test_old_days_of_a_further_source_go_where_they_lie_in_the_lake(tmp_path: Path) -> None:
    write_lake(tmp_path)
    today = DAYS[2] + timedelta(days=300)
    short = RetentionSettings(keep_raw_days=250, keep_features_days=200)
    looking_back = replace(settings(tmp_path), lookback_days=10)
    plan = plan_retention(Lake.at(tmp_path), looking_back, short, today)
    gone = {step.name: list(step.days) for step in plan.steps if step.action == "delete raw"}
    assert gone["likes"] == DAYS[1:]
    assert "app_clicks" not in gone
