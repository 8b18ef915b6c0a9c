"""Events that are stored many at once are those that Dagster stores one by one."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from training_assets.cli.instance_config import write_instance_config
from training_assets.instance import BatchedEventLogStorage
from training_assets.instance import events as module

DAYS = [f"2024-03-{n:02}" for n in range(1, 8)]
TABLES = ["a", "b"]
CHECKS = ["rows", "order"]
TABLES_OF_DAGSTER = ["event_logs", "asset_keys", "asset_event_tags", "asset_check_executions"]
# Of these runs, of now, and of the order in which threads come.
OF_A_RUN = {"run_id", "timestamp", "create_timestamp", "event", "evaluation_event"}
OF_A_RUN |= {"evaluation_event_timestamp", "last_materialization", "last_materialization_timestamp"}
OF_A_RUN |= {"last_run_id", "cached_status_data", "value", "event_timestamp"}


def job(*, fails_on: str = "") -> dg.JobDefinition:
    """Two tables by day, with two checks each, in one step, as the platform's own."""
    partitions = dg.StaticPartitionsDefinition(DAYS)

    @dg.multi_asset(
        name="tables",
        specs=[dg.AssetSpec(name) for name in TABLES],
        check_specs=[dg.AssetCheckSpec(check, asset=name) for name in TABLES for check in CHECKS],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def tables(context: dg.AssetExecutionContext) -> Iterator[Any]:
        for name in TABLES:
            for day in context.partition_keys:
                for check in CHECKS:
                    yield dg.AssetCheckEvaluation(
                        asset_key=dg.AssetKey(name),
                        check_name=check,
                        passed=day != DAYS[2],
                        partition=day,
                        metadata={"rows": 3},
                    )
                if name + day == fails_on:
                    raise dg.Failure("as planned", allow_retries=False)
                context.add_asset_metadata({"rows": 3}, name, day)
            context.log.info(f"{name} is done")
            yield dg.MaterializeResult(asset_key=name)
        for name in TABLES:
            for check in CHECKS:
                yield dg.Output(None, f"{name}_{check}")

    return dg.Definitions(
        assets=[tables], jobs=[dg.define_asset_job("job", selection="*")]
    ).resolve_job_def("job")


@contextmanager
def instance(home: Path, *, batched: bool) -> Iterator[dg.DagsterInstance]:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    if batched:
        (home / "dagster.yaml").unlink()
        write_instance_config(home)
    with dg.DagsterInstance.from_config(str(home)) as opened:
        assert isinstance(opened.event_log_storage, SqliteEventLogStorage)
        assert isinstance(opened.event_log_storage, BatchedEventLogStorage) == batched
        yield opened


def run(opened: dg.DagsterInstance, made: dg.JobDefinition) -> dg.ExecuteInProcessResult:
    return made.execute_in_process(
        instance=opened,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": DAYS[0],
            "dagster/asset_partition_range_end": DAYS[-1],
        },
    )


def stored(home: Path) -> dict[str, list[dict[str, Any]]]:
    """By file and table: rows in their order, without what differs from run to run."""
    found = {}
    for path in (home / "history" / "runs").glob("*.db"):
        with sqlite3.connect(path) as connection:
            connection.row_factory = sqlite3.Row
            for table in TABLES_OF_DAGSTER:
                rows = map(dict, connection.execute(f"select * from {table} order by id"))
                name = "index" if path.stem == "index" else "run"
                found[f"{name} {table}"] = [
                    {key: value for key, value in row.items() if key not in OF_A_RUN}
                    for row in rows
                ]
        connection.close()
    return found


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    found = {}
    for batched in (False, True):
        found[batched] = tmp_path_factory.mktemp("batched" if batched else "stock")
        with instance(found[batched], batched=batched) as opened:
            assert run(opened, job()).success
    return found


def test_rows_of_all_tables_are_those_of_dagsters_own_storage(homes: dict[bool, Path]) -> None:
    found = stored(homes[True])
    assert len(found["index asset_check_executions"]) >= len(DAYS) * len(TABLES) * len(CHECKS)
    assert found == stored(homes[False])


@pytest.mark.parametrize("batched", [False, True])
def test_each_kind_of_storage_reads_what_the_other_wrote(
    homes: dict[bool, Path], batched: bool
) -> None:
    with instance(homes[not batched], batched=batched) as opened:
        for name in TABLES:
            key = dg.AssetKey(name)
            assert opened.get_materialized_partitions(key) == set(DAYS)
            newest = opened.get_latest_materialization_event(key)
            (last,) = opened.fetch_materializations(key, limit=1).records
            assert newest == last.event_log_entry
            for check in CHECKS:
                records = opened.event_log_storage.get_asset_check_execution_history(
                    dg.AssetCheckKey(key, check), limit=100
                )
                evaluated = {r.partition: r.status.value for r in records if r.partition}
                assert evaluated == {d: "FAILED" if d == DAYS[2] else "SUCCEEDED" for d in DAYS}


def test_an_instance_may_be_moved(homes: dict[bool, Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    with instance(tmp_path / "here", batched=True) as opened:
        assert run(opened, job()).success
    (tmp_path / "here").rename(moved)
    with instance(moved, batched=True) as opened:
        assert opened.get_materialized_partitions(dg.AssetKey("a")) == set(DAYS)
    assert not (tmp_path / "here").exists()


def test_what_came_before_a_failure_is_stored(tmp_path: Path) -> None:
    with instance(tmp_path, batched=True) as opened:
        assert not run(opened, job(fails_on=f"b{DAYS[3]}")).success
    with instance(tmp_path, batched=False) as opened:
        assert opened.get_materialized_partitions(dg.AssetKey("a")) == set(DAYS)
        assert not opened.get_materialized_partitions(dg.AssetKey("b"))
        (found,) = opened.get_runs()
        assert found.status.value == "FAILURE"
        evaluated = opened.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("b"), "rows"), limit=100
        )
        assert {record.partition for record in evaluated} - {None} == set(DAYS[:4])


def evaluation(day: str) -> dg.EventLogEntry:
    event = dg.DagsterEvent(
        event_type_value="ASSET_CHECK_EVALUATION",
        job_name="job",
        step_key="tables",
        event_specific_data=dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("a"), check_name="rows", passed=True, partition=day
        ),
    )
    return dg.EventLogEntry(
        error_info=None,
        level=20,
        user_message="",
        run_id="11111111",
        timestamp=1.7e9,
        step_key="tables",
        job_name="job",
        dagster_event=event,
    )


def days_of(storage: Any) -> set[str]:
    history = storage.get_asset_check_execution_history
    return {r.partition for r in history(dg.AssetCheckKey(dg.AssetKey("a"), "rows"), limit=100)}


def test_events_wait_until_somebody_reads_and_no_longer_than_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS", 3600)
    with instance(tmp_path, batched=True) as opened, instance_of_others(tmp_path) as others:
        storage: Any = opened.event_log_storage
        storage.store_event(evaluation(DAYS[0]))
        assert days_of(others) == set()
        assert days_of(storage) == {DAYS[0]} == days_of(others)
        monkeypatch.setattr(module, "_SECONDS", 0.01)
        storage.store_event(evaluation(DAYS[1]))
        storage._timer.join()
        assert days_of(others) == {DAYS[0], DAYS[1]}
        monkeypatch.setattr(module, "_SECONDS", 3600)
        monkeypatch.setattr(module, "_MAX_WAITING", 2)
        storage.store_event(evaluation(DAYS[2]))
        storage.store_event(evaluation(DAYS[3]))
        assert days_of(others) == set(DAYS[:4])
        storage.store_event(evaluation(DAYS[4]))
    with instance_of_others(tmp_path) as others:
        assert days_of(others) == set(DAYS[:5])


@contextmanager
def instance_of_others(home: Path) -> Iterator[SqliteEventLogStorage]:
    storage = SqliteEventLogStorage(str(home / "history" / "runs"))
    yield storage
    storage.dispose()


def test_an_event_that_cannot_be_stored_is_told_and_the_others_are_stored(tmp_path: Path) -> None:
    with instance(tmp_path, batched=True) as opened:
        storage: Any = opened.event_log_storage
        for day in (DAYS[0], "\ud800", DAYS[1]):
            storage.store_event(evaluation(day))
        with pytest.raises(UnicodeEncodeError):
            storage.flush()
        assert days_of(storage) == {DAYS[0], DAYS[1]}
        # Also where nobody waited for it.
        storage.store_event(evaluation("\ud800"))
        storage._timer.join()
        storage.store_event(evaluation(DAYS[2]))
        with pytest.raises(UnicodeEncodeError):
            storage.flush()
        assert days_of(storage) == {DAYS[0], DAYS[1], DAYS[2]}


def test_an_outcome_that_was_stored_before_is_replaced_among_new_ones(tmp_path: Path) -> None:
    with instance(tmp_path, batched=True) as opened:
        storage: Any = opened.event_log_storage
        for days in ([DAYS[0]], [DAYS[1], DAYS[0]], [DAYS[0], DAYS[1]]):
            for day in days:
                storage.store_event(evaluation(day))
            storage.flush()
    rows = stored(tmp_path)["index asset_check_executions"]
    assert [(row["partition"], row["execution_status"]) for row in rows] == [
        (DAYS[0], "SUCCEEDED"),
        (DAYS[1], "SUCCEEDED"),
    ]
    assert [row["evaluation_event_storage_id"] for row in rows] == [4, 5]
