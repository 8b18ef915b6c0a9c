"""Late data in the hands of Dagster and of the command line: what they report and rebuild."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession

from training_assets.assets.outdated import SENSOR
from training_assets.cli import main
from training_assets.cli.console import console
from training_assets.lake import Lake
from training_assets.pipeline import build_days
from training_assets.settings import Settings
from training_assets.tables import (
    DAILY_GROUPS,
    TableSpec,
    specs_of,
)
from training_assets_tests.support.frames import DAY, before
from training_assets_tests.support.lakes import (
    IMPRESSION_DAYS,
    LAPSED,
    SETTINGS,
    SHORT,
)
from training_assets_tests.support.late_lakes import (
    CH,
    TI,
    UA,
    Days,
    late_click,
    outdated,
    raw_file,
    root_of,
    rows_of,
)
from training_assets_tests.unit.assets.test_daily import SharedSpark, definitions

on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True)
LAST = IMPRESSION_DAYS
Before = Sequence[tuple[TableSpec, Sequence[date]]]


@pytest.fixture
def lake(tiny_copy: Lake) -> Lake:
    return tiny_copy


# --- Dagster --------------------------------------------------------------------------------------


def tick(defs: dg.Definitions, instance: dg.DagsterInstance) -> Any:
    context = dg.build_sensor_context(instance=instance, definitions=defs, sensor_name=SENSOR)
    return defs.resolve_sensor_def(SENSOR).evaluate_tick(context)


def execute(defs: dg.Definitions, instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    """As the daemon does: with the request's tags, and those that it adds."""
    tags = {"dagster/run_key": request.run_key, "dagster/sensor_name": SENSOR}
    job = defs.resolve_job_def("backfill_training_input")
    return job.execute_in_process(
        instance=instance,
        asset_selection=list(request.asset_selection or ()),
        tags={**request.tags, **tags},
        run_config=request.run_config,
        raise_on_error=False,
    ).success


def requested(data: Any) -> list[tuple[str, str, str]]:
    return [
        (
            request.asset_selection[0].to_user_string(),
            request.tags["dagster/asset_partition_range_start"],
            request.tags["dagster/asset_partition_range_end"],
        )
        for request in data.run_requests or []
    ]


@on_sail_only
def test_sensor_requests_exactly_the_out_of_date_days_until_none_is_left(
    spark: SparkSession, lake: Lake
) -> None:
    knobs = {"history_length": 6, "lookback_days": 20}
    defs = definitions(spark, root_of(lake), **knobs)
    assert SharedSpark.shared is spark
    with dg.DagsterInstance.ephemeral() as instance:
        data = tick(defs, instance)
        assert (data.run_requests, data.skip_message) == (
            [],
            "Every published day is up to date.",
        )
        late_click(SHORT, 5, before(22))(root_of(lake))
        late_click(SHORT, 5, before(20))(root_of(lake))
        seen = []
        while requests := tick(defs, instance).run_requests:
            # The same state is asked for with the same keys.
            again = tick(defs, instance).run_requests
            assert [r.run_key for r in again] == [r.run_key for r in requests]
            for request in requests:
                seen += requested(type("", (), {"run_requests": [request]}))
                assert execute(defs, instance, request)
        assert seen == [
            (UA, str(before(22)), str(before(22))),
            (UA, str(before(20)), str(before(20))),
            (CH, str(LAST[0]), str(LAST[4])),
            (TI, str(LAST[0]), str(LAST[4])),
        ]
        assert outdated(lake) == ({}, {})
        assert instance.get_materialized_partitions(dg.AssetKey(UA)) == {
            str(before(22)),
            str(before(20)),
        }


@on_sail_only
def test_sensor_waits_for_its_run_and_leaves_alone_what_failed(
    spark: SparkSession, lake: Lake
) -> None:
    defs = definitions(spark, root_of(lake), history_length=6, lookback_days=20)
    file = raw_file(root_of(lake), "clicks", before(8))
    content = file.read_bytes()
    file.write_bytes(content[:4] + b"\xff" * 40 + content[44:])
    shutil.rmtree(raw_file(root_of(lake), "clicks", before(9)).parent)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,) = tick(defs, instance).run_requests
        assert not execute(defs, instance, request)
        data = tick(defs, instance)
        assert data.run_requests == []
        assert "2 out of date, of which none can be built now" in data.skip_message
        # Other inputs are another state.
        file.write_bytes(content)
        (request,) = tick(defs, instance).run_requests
        run = instance.create_run_for_job(
            defs.resolve_job_def("backfill_training_input"),
            tags={"dagster/sensor_name": SENSOR},
            status=dg.DagsterRunStatus.STARTED,
        )
        assert (
            tick(defs, instance).skip_message == f"2 out of date; run {run.run_id} is not done yet."
        )


# --- the command line -----------------------------------------------------------------------------


def built_by_a_run(
    spark: SparkSession,
    lake: Lake,
    settings: Settings,
    days: Sequence[date],
    specs: Sequence[TableSpec],
    before: Before = (),
) -> bool:
    further = {spec.name: found for spec, found in before}
    reports = list(build_days(spark, lake, settings, specs, days, before=further))
    lake.refresh()
    return not any(report.problem for report in reports)


@pytest.fixture
def invoke(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Commands in this process and on its engine; returns exit code and output."""
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", lake.store.url)
    monkeypatch.setenv("TRAINING_ASSETS_HISTORY_LENGTH", "6")
    monkeypatch.setenv("TRAINING_ASSETS_LOOKBACK_DAYS", "20")
    for module in ("run", "staleness"):
        monkeypatch.setattr(
            f"training_assets.cli.{module}.dagster_run",
            lambda *asked: built_by_a_run(spark, lake, SETTINGS, *asked),
        )
    SharedSpark.shared = spark
    monkeypatch.setattr("training_assets.engine.resource.SparkResource", SharedSpark)
    monkeypatch.setattr(console, "width", 200)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result.exit_code, result.output

    return run


@on_sail_only
def test_commands_report_plan_and_rebuild(
    invoke: Callable[..., tuple[int, str]], lake: Lake
) -> None:
    current = "Every published day is up to date.\n"
    assert [invoke("outdated"), invoke("rebuild")] == [(0, current)] * 2
    late_click(LAPSED, 5, before(22))(root_of(lake))
    code, text = invoke("outdated")
    assert (code, text.splitlines()) == (
        1,
        [
            f"unified_actions {before(22)}: raw files added: "
            f"raw/clicks/dt={before(22)}/late.parquet",
            f"customer_history: 3 days may change with them: {LAST[0]}..{LAST[2]}",
            f"training_input: 3 days may change with them: {LAST[0]}..{LAST[2]}",
            "Days out of date: unified_actions 1.",
        ],
    )
    assert invoke("outdated", "--start-date", str(before(21))) == (0, current)
    assert invoke("outdated", "--end-date", str(before(23))) == (0, current)
    code, text = invoke("outdated", "--customers")
    assert code == 1
    assert f"For example customers {LAPSED}." in text
    code, text = invoke("rebuild", "--dry-run")
    assert (code, text.splitlines()) == (
        0,
        [
            f"unified_actions: {before(22)}",
            f"customer_history, if the days before it change: {LAST[0]}..{LAST[2]}",
            f"training_input, if the days before it change: {LAST[0]}..{LAST[2]}",
        ],
    )
    assert outdated(lake)[0] == {UA: [before(22)]}
    code, text = invoke("rebuild")
    assert code == 0
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    sizes = [lake.manifest(CH, day)["bytes"] for day in LAST[:3]]
    assert [CH, "3", "3", f"{sum(sizes):,}", "0"] in cells
    assert invoke("outdated") == (0, current)


@on_sail_only
def test_command_fails_while_a_day_cannot_be_rebuilt(
    invoke: Callable[..., tuple[int, str]], lake: Lake
) -> None:
    shutil.rmtree(raw_file(root_of(lake), "clicks", before(8)).parent)
    assert "cannot be built: clicks: raw day" in invoke("rebuild", "--dry-run")[1]
    code, text = invoke("rebuild")
    assert code == 1
    assert f"unified_actions {before(8)}: clicks: raw day {before(8)} is missing" in text


@on_sail_only
def test_run_rebuilds_days_of_other_settings(
    invoke: Callable[..., tuple[int, str]],
    spark: SparkSession,
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = replace(SETTINGS, history_length=4)
    monkeypatch.setenv("TRAINING_ASSETS_HISTORY_LENGTH", "4")
    built: list[tuple[Days, list[str]]] = []

    def record(days: Sequence[date], specs: Sequence[TableSpec], before: Before = ()) -> bool:
        built.append((list(days), [spec.name for spec in specs]))
        return built_by_a_run(spark, lake, settings, days, specs, before)

    monkeypatch.setattr("training_assets.cli.run.dagster_run", record)
    monkeypatch.setattr("training_assets.cli.run.print_days", lambda *_: None)
    code, _ = invoke("run", "--start-date", str(LAST[0]), "--end-date", str(DAY))
    assert code == 0
    # No day of the others is delivered.
    others = {"items", "users", "interactions"}
    expected = [spec.name for spec in specs_of(DAILY_GROUPS) if spec.name not in others]
    assert built == [(LAST, expected)]
    lengths = {len(row["action_items"]) for day in LAST for row in rows_of(lake, TI, day)}
    assert lengths == {4}
    assert outdated(lake, settings) == ({}, {})
