"""Letting go: only what may go, nothing out of date afterwards, fewer bytes; local and on S3."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from training_assets.definitions import first_partition
from training_assets.errors import SettingsError, ValidationError
from training_assets.lake import Lake, day_range, new_run
from training_assets.lake import publish as commit
from training_assets.pipeline import build_days, check_days
from training_assets.provenance import Provenance, find_outdated
from training_assets.retention import Plan, RetentionSettings, apply_plan, plan_retention
from training_assets.sample.generate import SampleSpec, generate
from training_assets.schemas import (
    ACTION_SOURCES,
    CLICKS,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
)
from training_assets.settings import Settings
from training_assets.tables import BUILT_FROM, SPECS
from training_assets_tests.support.planting import publish_day, table_of, write_day
from training_assets_tests.support.s3 import S3Place

SAMPLE = SampleSpec(customers=60, items=40, interactions=4_000, days=40, end_date=date(2026, 3, 29))
TODAY = date(2026, 3, 30)
# As two years, one year, half a year and 90 days are to each other, and to a look-back of a year.
KEPT = RetentionSettings(
    keep_raw_days=24, cold_after_days=5, keep_features_days=14, keep_training_days=7
)
SETTINGS = Settings(history_length=10, lookback_days=10)
on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="module")


def before(days: int) -> date:
    return TODAY - timedelta(days=days)


def build_lake(spark: SparkSession, root: Path) -> Lake:
    lake = Lake.at(root)
    generate(lake, SAMPLE, with_stream=False)
    # Of features there are as many days as tell those that go from those that stay.
    is_costly = {name: spec.group == "features" for name, spec in SPECS.items()}
    is_costly["training_samples"] = True
    for costly, days in ((False, SAMPLE.dates), (True, SAMPLE.dates[-18:])):
        specs = [spec for name, spec in SPECS.items() if is_costly[name] is costly]
        reports = build_days(spark, lake, SETTINGS, specs, days)
        assert [report.problem for report in reports if report.problem] == []
    lake.refresh()
    return lake


def plan(lake: Lake, kept: RetentionSettings = KEPT) -> Plan:
    return plan_retention(lake, SETTINGS, kept, TODAY)


def size(lake: Lake) -> int:
    """Without the log, to which each commit and each vacuum adds some kilobytes."""
    return sum(e.size for e in lake.store.list() if "_delta_log" not in e.path)


@on_sail_only
def test_what_is_too_old_goes_and_nothing_is_missing(spark: SparkSession, tmp_path: Path) -> None:
    lake = build_lake(spark, tmp_path / "lake")
    (tmp_path / "lake" / "splits.json").write_text(
        json.dumps({"table": TRAINING_INPUT.name, "parts": {"test": {"days": [str(before(9))]}}})
    )
    full, first = size(lake), first_partition(replace(SETTINGS, lake=str(tmp_path / "lake")))
    found = plan(lake)
    by_name = {(step.action, step.name): step for step in found.steps}
    rows = by_name["delete days", TRAINING_INPUT.name]
    assert rows.days == tuple(d for d in day_range(before(40), before(8)) if d != before(9))
    assert by_name["delete days", CUSTOMER_HISTORY.name].days == tuple(
        day_range(before(40), before(15))
    )
    assert by_name["delete days", UNIFIED_ACTIONS.name].days[-1] == before(25)
    assert by_name["delete raw", CLICKS.name].days == tuple(day_range(before(40), before(25)))
    assert by_name["archive raw", CLICKS.name].days == tuple(day_range(before(24), before(6)))
    (held,) = found.held
    assert (held.name, held.days) == (TRAINING_INPUT.name, (before(9),))
    assert "splits.json" in held.why
    # A dry run: nothing has changed.
    assert size(lake) == full

    freed = sum(done.freed for done in apply_plan(lake, SETTINGS, found))
    assert freed > 0
    assert size(lake) <= full - 0.9 * freed
    assert plan(lake).steps == ()
    assert lake.days(TRAINING_INPUT.name) == [before(9), *day_range(before(7), before(1))]
    provenance = Provenance(Lake.at(lake.store), SETTINGS)
    assert find_outdated(provenance, BUILT_FROM).days == ()
    results = check_days(
        spark, lake, SETTINGS, list(SPECS.values()), day_range(before(7), before(1))
    )
    # Few rows vary much, whatever went, and may have more orders than clicks.
    noisy = ("volume", "conversion")
    odd = [r for r in results if not r.passed and r.check.name not in noisy]
    assert [f"{r.check.name}: {r.message}" for r in odd] == []
    moved = first_partition(replace(SETTINGS, lake=str(tmp_path / "lake")))
    assert (first, moved) == (before(40), before(24))
    # An archived day is read like any other: built again, it is the same.
    content = lake.snapshot(UNIFIED_ACTIONS.name).content(before(20))
    (report,) = build_days(spark, lake, SETTINGS, [SPECS[UNIFIED_ACTIONS.name]], [before(20)])
    assert report.problem is None
    lake.refresh()
    assert lake.snapshot(UNIFIED_ACTIONS.name).content(before(20)) == content
    # And rows that it has quarantined are counted as before.
    assert find_outdated(Provenance(Lake.at(lake.store), SETTINGS), BUILT_FROM).days == ()


def publish(lake: Lake, table: str, day: date) -> None:
    schema = SPECS[table].table
    rows = [{c.name: None for c in schema.stored_columns} | {"customer_id": 1}] * 50
    publish_day(lake, schema, day, table_of(schema, rows))


def deliver(lake: Lake, days: list[date]) -> None:
    for source in (*ACTION_SOURCES, IMPRESSIONS):
        for day in days:
            lake.raw.put(f"{source.name}/dt={day}/a.csv", b"customer_id\n" * 10)


def lake_with(lake: Lake, **days: list[date]) -> Lake:
    for table, some in days.items():
        for day in some:
            publish(lake, table, day)
    return lake


def publish_all(lake: Lake, table: str, days: list[date]) -> None:
    """Each with the same rows, in one commit."""
    schema, run, store = SPECS[table].table, new_run(), lake.table_store(table)
    rows = table_of(
        schema, [{c.name: None for c in schema.stored_columns} | {"customer_id": 1}] * 50
    )
    first = write_day(lake, schema, days[0], [rows], run)
    content, new = store.read(first.files[0].name), {days[0]: first}
    for day in days[1:]:
        (file,) = first.files
        name = file.name.replace(str(days[0]), str(day))
        store.put(name, content)
        new[day] = replace(first, files=(file._replace(name=name),))
    commit(store, schema, new, lake.snapshot(table), {"run": run})
    lake.refresh()


def test_two_years_are_kept_as_the_contract_says(tmp_path: Path) -> None:
    lake, everything = Lake.at(tmp_path), day_range(before(800), before(1))
    for day in everything:
        lake.raw.put(f"clicks/dt={day}/a.csv", b"customer_id\n" * 100)
    tables = {"unified_actions": 800, "customer_history": 400}
    tables |= {"training_input": 250, "training_samples": 250}
    for table, days in tables.items():
        publish_all(lake, table, everything[-days:])
    year = Settings(lookback_days=365)
    full, found = size(lake), plan_retention(lake, year, RetentionSettings(), TODAY)
    assert {(step.action, step.name): step.days for step in found.steps} == {
        ("delete days", "unified_actions"): tuple(day_range(before(800), before(731))),
        ("delete days", "customer_history"): tuple(day_range(before(400), before(366))),
        ("delete days", "training_input"): tuple(day_range(before(250), before(184))),
        ("delete days", "training_samples"): tuple(day_range(before(250), before(184))),
        ("delete raw", "clicks"): tuple(day_range(before(800), before(731))),
        ("archive raw", "clicks"): tuple(day_range(before(730), before(91))),
    }
    assert (size(lake), found.held) == (full, ())
    freed = sum(done.freed for done in apply_plan(lake, year, found))
    assert size(lake) <= full - 0.9 * freed < full * 0.9
    assert plan_retention(lake, year, RetentionSettings(), TODAY).steps == ()
    assert lake.days("unified_actions") == everything[-730:]
    assert lake.days("training_samples") == everything[-183:]
    # A history of the oldest day that is kept still needs a year before it.
    with pytest.raises(SettingsError, match="lookback_days 366 and keep_raw_days 730"):
        plan_retention(lake, Settings(lookback_days=366), RetentionSettings(), TODAY)


def test_days_that_a_held_day_is_built_from_are_held_too(tmp_path: Path) -> None:
    lake = Lake.at(tmp_path)
    days = day_range(before(40), before(30))
    deliver(lake, days)
    lake_with(
        lake,
        unified_actions=days,
        customer_history=[before(30)],
        training_input=[before(30)],
    )
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / f"samples-{before(30)}-{before(30)}.csv").write_text("user_id\n")
    found = plan(lake)
    held = {(h.name, day) for h in found.held for day in h.days}
    assert (TRAINING_INPUT.name, before(30)) in held
    assert (CUSTOMER_HISTORY.name, before(30)) in held
    assert {day for name, day in held if name == UNIFIED_ACTIONS.name} == set(days[:-1])
    assert {day for name, day in held if name == "raw/clicks"} == set(days[:-1])
    assert {day for name, day in held if name == "raw/impressions"} == {before(30)}
    gone = {step.name: step.days for step in found.steps if step.action != "archive raw"}
    assert gone[UNIFIED_ACTIONS.name] == (before(30),)


def test_a_table_that_must_be_kept_longer_than_its_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="lookback_days 10 and keep_raw_days 23"):
        plan(Lake.at(tmp_path), replace(KEPT, keep_raw_days=23))


def test_a_clock_that_is_years_ahead_lets_nothing_go(tmp_path: Path) -> None:
    lake = lake_with(Lake.at(tmp_path), training_input=[before(500)])
    with pytest.raises(SettingsError, match="Correct the clock"):
        plan(lake)


def test_raw_interactions_go_too_once_nothing_is_built_from_them(tmp_path: Path) -> None:
    source = "interactions"
    lake = lake_with(Lake.at(tmp_path), training_input=[before(1)])
    for age in (25, 24, 6, 5):
        lake.raw.put(f"{source}/dt={before(age)}/a.csv", b"id\n" * 10)
    actions = [("delete raw", (before(25),)), ("archive raw", (before(24), before(6)))]
    assert [(step.action, step.days) for step in plan(lake).steps] == actions
    publish(lake, source, before(24))
    kept = replace(KEPT, keep_raw_days=23, keep_training_days=1, keep_features_days=8)
    lake.store.put(
        "holds/a.json", json.dumps({"table": source, "days": [str(before(24))]}).encode()
    )
    found = plan_retention(lake, replace(SETTINGS, lookback_days=1), kept, TODAY)
    assert [(s.days, s.name) for s in found.steps if s.action == "delete raw"] == [
        ((before(25),), source)
    ]
    list(apply_plan(lake, SETTINGS, found))
    assert [e.path for e in lake.raw.list(source)] == [f"{source}/dt={before(5)}/a.csv"]


def test_raw_data_of_years_ago_from_which_nothing_is_built_yet_stays(tmp_path: Path) -> None:
    lake = Lake.at(tmp_path)
    deliver(lake, [before(900), before(899)])
    with pytest.raises(SettingsError, match=f"newest raw day {before(899)}"):
        plan(lake)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("splits.json", '{"table": "training_samples", "parts": []}'),
        ("splits.json", '{"table": "training_samples", "parts": {"train": {"days": ["x"]}}}'),
        ("holds/a.json", '{"table": "training_sample", "days": ["2025-01-01"]}'),
        ("holds/a.json", '{"table": "training_samples", "day": ["2025-01-01"]}'),
        ("exports/samples-2025-13-01-2025-13-02.csv", ""),
        ("exports/samples-2025-01-02-2025-01-01.csv", ""),
    ],
)
def test_a_hold_that_is_not_understood_lets_nothing_go(
    tmp_path: Path, path: str, content: str
) -> None:
    lake = Lake.at(tmp_path)
    lake.store.put(path, content.encode())
    with pytest.raises(ValidationError, match="nothing may go that is still needed"):
        plan(lake)


def test_logs_of_reads_go_after_their_days(tmp_path: Path) -> None:
    lake = Lake.at(tmp_path)
    for day in (before(91), before(90)):
        lake.store.put(f"logs/reads/dt={day}/a.jsonl", b"{}\n")
    (step,) = plan(lake).steps
    assert (step.action, step.days, step.bytes) == ("delete logs", (before(91),), 3)
    list(apply_plan(lake, SETTINGS, plan(lake)))
    assert [entry.path for entry in lake.store.list("logs")] == [
        f"logs/reads/dt={before(90)}/a.jsonl"
    ]


def test_on_an_object_store_too(s3_server: S3Place) -> None:
    lake = Lake.at(s3_server.new_url())
    days = day_range(before(28), before(22))
    deliver(lake, days)
    lake_with(lake, unified_actions=days, training_input=[before(8), before(7)])
    full, found = size(lake), plan(lake)
    gone = {(step.action, step.name): step.days for step in found.steps}
    assert gone["delete days", TRAINING_INPUT.name] == (before(8),)
    assert gone["delete days", UNIFIED_ACTIONS.name] == tuple(day_range(before(28), before(25)))
    assert gone["delete raw", CLICKS.name] == tuple(day_range(before(28), before(25)))
    # The store moves raw data by rules of its own.
    assert not any(action == "archive raw" for action, _ in gone)
    freed = sum(done.freed for done in apply_plan(lake, SETTINGS, found))
    assert freed > found.bytes / 2
    assert size(lake) < full
    assert plan(lake).steps == ()
    assert lake.days(TRAINING_INPUT.name) == [before(7)]
    names = [entry.path for entry in lake.table_store(TRAINING_INPUT.name).list()]
    assert not [name for name in names if str(before(8)) in name]
    uri = lake.snapshot(TRAINING_INPUT.name).uris(before(7))
    assert len(uri) == 1


def test_rows_of_days_that_stay_are_untouched(tmp_path: Path) -> None:
    lake = lake_with(Lake.at(tmp_path), training_input=[before(8), before(7)])
    (uri,) = lake.snapshot(TRAINING_INPUT.name).uris(before(7))
    data = Path(uri).read_bytes()
    list(apply_plan(lake, SETTINGS, plan(lake)))
    assert Path(uri).read_bytes() == data
