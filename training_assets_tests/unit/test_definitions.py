"""The definitions load, and their keys, dependencies and checks are what the docs say."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from training_assets.assets.online import EQUALS_OFFLINE, ONLINE_ASSETS
from training_assets.assets.retention import RETENTION
from training_assets.assets.training_set import REPORT, TRAINING_SET
from training_assets.assets.vacuum import VACUUM
from training_assets.definitions import DAILY_JOB, FEATURES_JOB, build_definitions
from training_assets.engine.resource import SparkResource
from training_assets.errors import SettingsError
from training_assets.schemas import RAW_TABLES
from training_assets.settings import Settings
from training_assets.tables import SPECS


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    lake = tmp_path_factory.mktemp("lake")
    return build_definitions(Settings(lake=lake, start_date=date(2026, 1, 1)), SparkResource())


def test_lineage_begins_with_the_raw_tables(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "raw/impressions": set(),
        "raw/clicks": set(),
        "raw/add_to_carts": set(),
        "raw/previous_orders": set(),
        "raw/interactions": set(),
        "raw/items": set(),
        "raw/users": set(),
        "interactions": {"raw/interactions"},
        "items": {"raw/items"},
        "users": {"raw/users"},
        "unified_actions": {
            "raw/clicks",
            "raw/add_to_carts",
            "raw/previous_orders",
            "interactions",
        },
        "customer_history": {"raw/impressions", "unified_actions"},
        "training_input": {"raw/impressions", "customer_history"},
        "items_shown": {"raw/impressions"},
        "user_features": {"unified_actions", "items"},
        "item_features": {"unified_actions", "items_shown", "items"},
        "pair_features": {"raw/impressions", "unified_actions", "items"},
        "feature_state": {"unified_actions", "items", "items_shown"},
        "online_users": {"user_features"},
        "online_items": {"item_features"},
        "training_samples": {"unified_actions", "user_features", "item_features", "items"},
        VACUUM: set(),
        RETENTION: set(),
        REPORT: set(SPECS),
        TRAINING_SET: {"training_samples"},
    }


def test_every_check_is_an_asset_check_of_its_table(defs: dg.Definitions) -> None:
    keys = defs.resolve_asset_graph().asset_check_keys
    expected = {(spec.name, check.name) for spec in SPECS.values() for check in spec.checks}
    expected |= {(name, EQUALS_OFFLINE) for name in ONLINE_ASSETS.values()}
    assert {(key.asset_key.to_user_string(), key.name) for key in keys} == expected


def test_assets_say_whose_and_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINING_ASSETS_OWNERS", "team:ranking, ada@shop.example")
    settings = Settings(lake=str(tmp_path), start_date=date(2026, 1, 1))
    graph = build_definitions(settings, SparkResource()).resolve_asset_graph()
    for spec in SPECS.values():
        node = graph.get(dg.AssetKey(spec.name))
        assert node.group_name == node.tags["group"] == spec.group
        assert node.owners == ["team:ranking", "ada@shop.example"]
        assert node.kinds == {"pyspark", "deltalake"}
        assert node.freshness_policy is not None
        assert node.description
    for name in RAW_TABLES:
        node = graph.get(dg.AssetKey(["raw", name]))
        assert (node.group_name, node.kinds) == ("raw", {"parquet", "json", "csv"})
        assert node.owners == ["team:ranking", "ada@shop.example"]
        # Policies see no observations; checks judge these by their newest event.
        assert node.freshness_policy is None


def test_an_owner_that_is_none_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINING_ASSETS_OWNERS", "the ranking team")
    with pytest.raises(SettingsError, match="names the ranking team; expected an e-mail address"):
        build_definitions(Settings(lake=str(tmp_path)), SparkResource())


def test_backfills_are_single_runs_with_identity_partitions(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    for name in SPECS:
        node = graph.get(dg.AssetKey(name))
        assert node.backfill_policy == dg.BackfillPolicy.single_run()
        assert isinstance(node.partitions_def, dg.DailyPartitionsDefinition)


def test_features_have_a_job_of_their_own_which_builds_samples_again(defs: dg.Definitions) -> None:
    def tables(job: str) -> set[str]:
        graph = defs.resolve_job_def(job).asset_layer
        return {key.to_user_string() for key in graph.selected_asset_keys}

    features = {name for name, spec in SPECS.items() if spec.group == "features"}
    assert tables(DAILY_JOB) == set(SPECS) - features
    assert tables(FEATURES_JOB) == features | {"training_samples"}


def test_schedule_asks_for_yesterday(defs: dg.Definitions) -> None:
    schedule = defs.resolve_schedule_def(f"{DAILY_JOB}_schedule")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime(2026, 5, 2, 3, tzinfo=UTC),
            repository_def=defs.get_repository_def(),
        )
        data = schedule.evaluate_tick(context)
    assert data.run_requests is not None
    assert [request.partition_key for request in data.run_requests] == ["2026-05-01"]


def _first_partition(settings: Settings) -> str:
    graph = build_definitions(settings, SparkResource()).resolve_asset_graph()
    partitions = graph.get(dg.AssetKey("training_input")).partitions_def
    assert partitions is not None
    return str(partitions.get_first_partition_key())


def test_partitions_begin_at_the_first_raw_day(tmp_path: Path) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert _first_partition(Settings(lake=str(tmp_path))) == str(yesterday)
    for name, day in (("clicks", "2017-01-02"), ("impressions", "2017-01-01")):
        (tmp_path / "raw" / name / f"dt={day}").mkdir(parents=True)
    assert _first_partition(Settings(lake=str(tmp_path))) == "2017-01-01"


@pytest.mark.parametrize("start", [date(2016, 6, 1), date(2018, 6, 1)])
def test_partitions_begin_at_the_start_date_where_it_is_set(tmp_path: Path, start: date) -> None:
    (tmp_path / "raw" / "clicks" / "dt=2017-01-01").mkdir(parents=True)
    assert _first_partition(Settings(lake=str(tmp_path), start_date=start)) == str(start)
