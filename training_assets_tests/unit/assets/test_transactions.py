"""The assets of transactions: one run takes all that waits; the sensor asks for one run."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

pytest.importorskip("psycopg", reason="needs the extra training-assets[transactions]")

from training_assets.assets.transactions import (
    DETECT_JOB,
    FEED_JOB,
    SENSOR,
    transaction_definitions,
)
from training_assets.definitions import with_transactions
from training_assets.engine.resource import SparkResource
from training_assets.lake import open_store
from training_assets.transactions.feed import Feed, feed_all
from training_assets.transactions.settings import TransactionSettings
from training_assets_tests.unit.transactions.banks import line, write_lines, write_weights

CHECK_NAMES = {
    "transaction_chunks": {"chunks_are_contiguous", "volume"},
    "pattern_state": {"ledger_and_inbox_agree", "state_equals_chunks", "importance_covers_pairs"},
    "detections": {"detections_hold", "detections_are_in_files"},
}


@pytest.fixture
def settings(tmp_path: Path) -> TransactionSettings:
    source, importance = tmp_path / "transactions.csv", tmp_path / "importance.csv"
    write_lines(source, [line("C0", "M")] * 90)
    write_weights(importance, [])
    return TransactionSettings(
        workdir=str(tmp_path / "work"),
        transactions=str(source),
        importance=str(importance),
        chunk_rows=30,
    )


@pytest.fixture
def defs(settings: TransactionSettings) -> dg.Definitions:
    return dg.Definitions.merge(
        transaction_definitions(settings),
        dg.Definitions(resources={"spark": SparkResource()}, executor=dg.in_process_executor),
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_the_three_assets_follow_one_another_in_a_group(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "transaction_chunks": set(),
        "pattern_state": {"transaction_chunks"},
        "detections": {"pattern_state"},
    }
    assert {graph.get(dg.AssetKey(name)).group_name for name in parents} == {"transactions"}


def test_errors_block_and_warnings_do_not(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    found: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        found.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
        is_blocking = graph.get_check_spec(key).blocking
        assert is_blocking == (key.name not in ("importance_covers_pairs", "volume"))
    assert found == CHECK_NAMES


def test_one_run_feeds_detects_exports_and_checks(
    defs: dg.Definitions, settings: TransactionSettings, instance: dg.DagsterInstance
) -> None:
    result = defs.resolve_job_def(FEED_JOB).execute_in_process(instance=instance)
    assert result.success
    assert all(
        check.passed or check.check_name == "importance_covers_pairs"
        for check in result.get_asset_check_evaluations()
    )
    values = {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    assert values["transaction_chunks"]["new_chunks"] == 3
    assert values["transaction_chunks"]["rows_per_chunk"] == 30
    assert values["pattern_state"]["new_rows"] == 90
    assert values["pattern_state"]["latency_p99"] > 0
    assert values["detections"]["PatId2"] == 1
    assert values["detections"]["files"] == 1
    again = defs.resolve_job_def(DETECT_JOB).execute_in_process(instance=instance)
    state = again.asset_materializations_for_node("pattern_state")[0]
    assert state.metadata["new_chunks"].value == 0


def test_the_sensor_asks_for_one_run_for_all_chunks_that_wait(
    defs: dg.Definitions, settings: TransactionSettings, instance: dg.DagsterInstance
) -> None:
    sensor = defs.resolve_sensor_def(SENSOR)

    def tick(cursor: str | None) -> dg.RunRequest | dg.SkipReason:
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        found = sensor(context)
        assert isinstance(found, dg.RunRequest | dg.SkipReason)
        return found

    assert isinstance(tick(None), dg.SkipReason)
    feed_all(Feed(open_store(settings.workdir), settings), print)
    found = tick(None)
    assert isinstance(found, dg.RunRequest)
    assert found.run_key == "rows-to-89"
    assert isinstance(tick("89"), dg.SkipReason)


def test_definitions_have_them_where_the_extra_is_installed() -> None:
    spark = dg.Definitions(resources={"spark": SparkResource()})
    keys = with_transactions(spark).resolve_asset_graph().get_all_asset_keys()
    assert {key.to_user_string() for key in keys} == set(CHECK_NAMES)
