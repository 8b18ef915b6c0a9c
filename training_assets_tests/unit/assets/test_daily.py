"""The assets through Dagster on a small generated lake, on both engines."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from training_assets.assets.daily import before_tag
from training_assets.assets.freshness import LAST_UPDATED
from training_assets.checks import CheckContext
from training_assets.definitions import BACKFILL_JOB, CHECK_JOB, DAILY_JOB, build_definitions
from training_assets.engine.resource import SparkResource
from training_assets.lake import Lake, day_range
from training_assets.list_format import SealedParquet
from training_assets.sample.generate import SampleSpec, generate
from training_assets.schemas import RAW_TABLES
from training_assets.settings import Settings
from training_assets.tables import SPECS, training_input
from training_assets_tests.support import reference
from training_assets_tests.support.late_lakes import tables_of
from training_assets_tests.support.planting import unpublish
from training_assets_tests.support.tables import SEQUENCE

# A shop may be without the others.
EVERY_DAY = {name: spec for name, spec in SPECS.items() if spec.built_from.days == "every"}

# What Dagster adds does not depend on the engine, and what the engine gives is held to be the same
# by the tests of contract/; on Spark each such run takes half a minute.
ONLY_SAIL = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")

LAST = date(2024, 3, 1)
DAYS = day_range(LAST - timedelta(days=4), LAST)
WARM_UP = day_range(LAST - timedelta(days=29), LAST - timedelta(days=5))
POISONED = DAYS[2]


class SharedSpark(SparkResource):
    """The test run's session, which runs must not stop."""

    # Of the class, because Dagster makes a new resource for each run.
    shared: ClassVar[Any] = None

    def _init_session(self) -> None:
        self._spark_session = self.shared

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        pass


def definitions(spark: SparkSession, lake: Path, **knobs: Any) -> dg.Definitions:
    SharedSpark.shared = spark
    settings = replace(Settings(lake=lake, history_length=20, lookback_days=25), **knobs)
    return build_definitions(settings, SharedSpark())


def run(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    days: list[date],
    tables: list[str] | None = None,
    job: str = BACKFILL_JOB,
    before: dict[str, list[date]] | None = None,
) -> dg.ExecuteInProcessResult:
    if len(days) == 1:
        tags = {"dagster/partition": str(days[0])}
    else:
        tags = {
            "dagster/asset_partition_range_start": str(days[0]),
            "dagster/asset_partition_range_end": str(days[-1]),
        }
    tags |= before_tag(before or {})
    keys = [dg.AssetKey(name) for name in tables] if tables else None
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, tags=tags, asset_selection=keys, raise_on_error=False
    )


def materialized(instance: dg.DagsterInstance, table: str) -> set[str]:
    return set(instance.get_materialized_partitions(dg.AssetKey(table)))


def failed_partitions(instance: dg.DagsterInstance, table: str) -> set[str]:
    """What the UI shows as failed: planned, and not materialized since."""
    log = instance.event_log_storage
    find = log.get_latest_asset_partition_materialization_attempts_without_materializations
    return set(find(dg.AssetKey(table)))


def evaluations(instance: dg.DagsterInstance, table: str, check: str) -> dict[str, bool]:
    """The latest outcome by day."""
    key = dg.AssetCheckKey(dg.AssetKey(table), check)
    found: dict[str, bool] = {}
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=100):
        if record.partition is not None:
            found.setdefault(record.partition, record.status.value == "SUCCEEDED")
    return found


def files(lake: Path) -> dict[str, bytes]:
    """What is published, with manifests and quarantine, whatever else lies there."""
    found = {}
    for name in EVERY_DAY:
        snapshot = Lake.at(lake).snapshot(name)
        for day in snapshot.days:
            names = [file.name for file in snapshot.files_of(day)]
            names += [entry.path for entry in snapshot.store.list(snapshot.quarantine_path(day))]
            for path in (*names, snapshot.manifest_path(day)):
                found[f"{name}/{path}"] = snapshot.store.read(path)
    return found


def rows_of(lake: Path, table: str, day: date) -> list[dict[str, Any]]:
    """With the day, in the order of the columns."""
    found = [row for file in tables_of(Lake.at(lake), table, day) for row in file.to_pylist()]
    return [{"dt": str(day), **row} for row in found]


@pytest.fixture(scope="session")
def raw_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("raw")
    spec = SampleSpec(customers=60, items=40, interactions=2500, days=30, end_date=LAST, seed=3)
    generate(lake, spec, with_stream=False)
    return lake


@pytest.fixture(scope="session")
def built(
    spark: SparkSession, engine: str, raw_lake: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dg.DagsterInstance]]:
    """A lake with all five days published, and the instance that knows of it.

    On Spark without the features, whose tests build them there, and with two days to look back to.
    """
    actions, *others = SEQUENCE
    first, tables = (WARM_UP, None) if engine == "sail" else ([*WARM_UP[-2:], *DAYS], others)
    lake = tmp_path_factory.mktemp("built") / "lake"
    shutil.copytree(raw_lake, lake)
    for day in (day for day in WARM_UP if day not in first):
        for name in RAW_TABLES:
            shutil.rmtree(lake / "raw" / name / f"dt={day}")
    with dg.DagsterInstance.ephemeral() as instance:
        defs = definitions(spark, lake)
        assert run(defs, instance, first, [actions]).success
        assert run(defs, instance, DAYS, tables).success
        yield lake, instance


@pytest.fixture
def lake(built: tuple[Path, dg.DagsterInstance], tmp_path: Path) -> Path:
    """A copy to plant faults in."""
    copy = tmp_path / "lake"
    shutil.copytree(built[0], copy)
    return copy


def raw_rows(lake: Path, table: str) -> list[dict]:
    folder = lake / "raw" / table
    found = []
    for file in sorted(folder.rglob("*.parquet")):
        day = date.fromisoformat(file.parent.name.removeprefix("dt="))
        rows = pq.read_table(file).to_pylist()
        found += [{RAW_TABLES[table].day_column: day, **row} for row in rows]
    return found


def test_published_training_input_is_that_of_the_reference(built) -> None:
    lake, _ = built
    expected = reference.training_input(
        [row for row in raw_rows(lake, "impressions") if row["dt"] in DAYS],
        *(raw_rows(lake, name) for name in ("clicks", "add_to_carts", "previous_orders")),
        history_length=20,
        lookback_days=25,
    )
    rows = [tuple(row.values()) for day in DAYS for row in rows_of(lake, "training_input", day)]
    assert sorted(rows, key=repr) == expected


def test_a_run_shows_of_each_source_what_it_found_there(built) -> None:
    _, instance = built
    for name in RAW_TABLES:
        (record,) = instance.fetch_observations(dg.AssetKey(["raw", name]), limit=1).records
        metadata = record.asset_observation.metadata
        assert metadata["newest_day"].value == str(LAST)
        at = datetime.fromtimestamp(metadata[LAST_UPDATED].value, UTC)
        assert LAST <= at.date() <= LAST + timedelta(days=1)


def test_published_histories_are_those_of_the_reference(built) -> None:
    lake, _ = built
    names = ("clicks", "add_to_carts", "previous_orders")
    actions = reference.unified_actions(*(raw_rows(lake, name) for name in names))
    for day in DAYS:
        for row in rows_of(lake, "customer_history", day):
            newest = reference.history(actions, row["customer_id"], day, 20, 25)
            assert row["action_items"] == [a.item_id for a in newest]
            assert row["action_types"] == [a.action_type for a in newest]
            assert row["action_days_ago"] == [(day - a.day).days for a in newest]


def test_files_have_the_declared_schema_and_are_sorted_by_their_key(built) -> None:
    lake, _ = built
    for name, spec in EVERY_DAY.items():
        snapshot = Lake.at(lake).snapshot(name)
        for path in (path for day in snapshot.days for path in snapshot.uris(day)):
            found = SealedParquet(path).read()
            assert found.schema.equals(spec.table.arrow_schema)
            by = "customer_id" if "customer_id" in found.column_names else spec.table.key[0]
            keys = found[by].to_pylist()
            assert keys == sorted(keys)
            column = pq.read_metadata(path).row_group(0).column(0)
            assert column.compression == "ZSTD"


def test_every_day_is_a_materialized_partition_with_figures(built, engine: str) -> None:
    _, instance = built
    for name in EVERY_DAY if engine == "sail" else SEQUENCE:
        assert {str(day) for day in DAYS} <= materialized(instance, name)
    (record,) = instance.fetch_materializations(dg.AssetKey("training_input"), limit=1).records
    assert record.asset_materialization is not None
    metadata = {k: v.value for k, v in record.asset_materialization.metadata.items()}
    assert metadata["rows"] == metadata["dagster/partition_row_count"] > 0
    assert 0 <= metadata["positives_rate"] < 1
    assert metadata["bytes"] > 0
    assert metadata["seconds_build"] >= 0


def test_every_check_is_recorded_for_every_day(built) -> None:
    _, instance = built
    for check in ("leakage", "padding", "sequence_length", "order_and_ties", "row_counts"):
        found = evaluations(instance, "training_input", check)
        assert found == {str(day): True for day in DAYS}


def versions_of(lake: Path) -> list[int]:
    return [Lake.at(lake).snapshot(name).version for name in EVERY_DAY]


@ONLY_SAIL
def test_building_again_changes_no_byte_and_commits_nothing(
    spark: SparkSession, lake: Path
) -> None:
    before, versions = files(lake), versions_of(lake)
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(definitions(spark, lake), instance, DAYS[-2:]).success
    assert (files(lake), versions_of(lake)) == (before, versions)


@ONLY_SAIL
def test_one_day_alone_gives_the_same_rows_as_in_a_range(spark: SparkSession, lake: Path) -> None:
    before = rows_of(lake, "training_input", DAYS[3])
    unpublish(Lake.at(lake), "training_input", DAYS[3])
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(definitions(spark, lake), instance, [DAYS[3]], job=DAILY_JOB).success
        assert materialized(instance, "training_input") == {str(DAYS[3])}
    assert rows_of(lake, "training_input", DAYS[3]) == before


@ONLY_SAIL
def test_a_day_with_a_broken_raw_file_fails_alone(spark: SparkSession, lake: Path) -> None:
    before = files(lake)
    broken = lake / "raw" / "impressions" / f"dt={POISONED}" / "part-0.parquet"
    broken.write_bytes(broken.read_bytes()[:100])
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(definitions(spark, lake), instance, DAYS, list(SEQUENCE))
        assert not result.success
        others = {str(day) for day in DAYS if day != POISONED}
        assert materialized(instance, "unified_actions") == {str(day) for day in DAYS}
        assert materialized(instance, "customer_history") == others
        assert materialized(instance, "training_input") == others
        (failure,) = [event for event in result.all_events if event.is_step_failure]
        text = str(failure.step_failure_data.error)
        assert str(POISONED) in text
        assert "part-0.parquet" in text
        planned = instance.event_log_storage
        failed = (
            planned.get_latest_asset_partition_materialization_attempts_without_materializations(
                dg.AssetKey("training_input")
            )
        )
        assert set(failed) == {str(POISONED)}
        # The others keep what was found of them, each under its day.
        for check in SPECS["training_input"].checks:
            found = evaluations(instance, "training_input", check.name)
            assert {day for day, has_passed in found.items() if has_passed} == others
    assert files(lake) == before


@ONLY_SAIL
def test_checks_run_alone_over_what_is_published(spark: SparkSession, lake: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        defs = definitions(spark, lake)
        assert run(defs, instance, DAYS, job=CHECK_JOB).success
        assert evaluations(instance, "customer_history", "leakage") == {str(d): True for d in DAYS}
        assert materialized(instance, "customer_history") == set()
        unpublish(Lake.at(lake), "training_input", POISONED)
        assert not run(defs, instance, DAYS, job=CHECK_JOB).success
        found = evaluations(instance, "training_input", "row_counts")
        assert [day for day, passed in found.items() if not passed] == [str(POISONED)]


@ONLY_SAIL
def test_changed_settings_are_recorded_with_the_day(spark: SparkSession, lake: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        defs = definitions(spark, lake, history_length=5)
        assert run(defs, instance, [DAYS[0]], list(SEQUENCE)).success
    manifest = Lake.at(lake).manifest("training_input", DAYS[0])
    assert manifest["settings"] == {"history_length": 5, "lookback_days": 25}


@ONLY_SAIL
def test_a_missing_raw_day_is_named(spark: SparkSession, lake: Path) -> None:
    shutil.rmtree(lake / "raw" / "clicks" / f"dt={POISONED}")
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(definitions(spark, lake), instance, [POISONED], list(SEQUENCE))
        (failure,) = [event for event in result.all_events if event.is_step_failure]
        assert f"raw/clicks/dt={POISONED}" in str(failure.step_failure_data.error)


@ONLY_SAIL
def test_a_missing_raw_day_may_be_taken_as_empty(spark: SparkSession, lake: Path) -> None:
    shutil.rmtree(lake / "raw" / "clicks" / f"dt={POISONED}")
    with dg.DagsterInstance.ephemeral() as instance:
        defs = definitions(spark, lake, missing_raw="empty")
        assert run(defs, instance, [POISONED], list(SEQUENCE)).success


@pytest.mark.parametrize("engine", ["sail"], indirect=True)
def test_dagster_knows_what_was_published_before_a_run_broke(
    spark: SparkSession, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_late(context: CheckContext) -> Any:
        raise RuntimeError("the engine died")

    broken = replace(training_input.SPEC, metrics=break_late)
    monkeypatch.setitem(SPECS, "training_input", broken)
    with dg.DagsterInstance.ephemeral() as instance:
        assert not run(definitions(spark, lake), instance, DAYS, list(SEQUENCE)).success
        for name in ("unified_actions", "customer_history"):
            assert materialized(instance, name) == {str(day) for day in DAYS}
        assert failed_partitions(instance, "training_input") == {str(day) for day in DAYS}


@ONLY_SAIL
def test_a_run_builds_what_it_looks_back_to_and_records_it_by_day(
    spark: SparkSession, lake: Path
) -> None:
    shutil.rmtree(lake / "unified_actions")
    with dg.DagsterInstance.ephemeral() as instance:
        before = {"unified_actions": WARM_UP}
        assert run(definitions(spark, lake), instance, DAYS[:1], list(SEQUENCE)[:2], before=before)
        assert materialized(instance, "unified_actions") == {*map(str, WARM_UP), str(DAYS[0])}
        assert materialized(instance, "customer_history") == {str(DAYS[0])}
        passed = evaluations(instance, "unified_actions", "row_counts")
        assert passed.keys() == {*map(str, WARM_UP), str(DAYS[0])}
        assert all(passed.values())
