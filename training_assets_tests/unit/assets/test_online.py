"""The assets and the commands of the online store, over days published by hand."""

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from click.testing import CliRunner

from training_assets.assets import online_assets
from training_assets.assets.online import EQUALS_OFFLINE
from training_assets.cli.online import online
from training_assets.lake import Lake
from training_assets.online import open_store
from training_assets.settings import Settings
from training_assets_tests.support.online_cases import DAY, ROWS, SCHEMA, days_before
from training_assets_tests.support.planting import publish_day
from training_assets_tests.unit.online.test_loading import USERS


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(tmp_path))
    monkeypatch.delenv("TRAINING_ASSETS_ONLINE", raising=False)
    found = Lake.at(tmp_path)
    for number in (1, 0):
        publish_day(found, USERS, days_before(number), pa.Table.from_pylist(ROWS, SCHEMA))
    return found


def test_a_materialized_day_is_served_and_compared(lake: Lake) -> None:
    settings = Settings(lake=lake.store.url)
    partitions = dg.DailyPartitionsDefinition(start_date=str(days_before(9)))
    users = online_assets(settings, partitions)[0]
    for day, is_new in ((DAY, True), (days_before(1), False)):
        result = dg.materialize([users], partition_key=str(day))
        [event] = result.asset_materializations_for_node("online_users")
        assert event.metadata["changed"].value is is_new
        assert event.metadata["day"].value == str(DAY)
        [check] = result.get_asset_check_evaluations()
        assert (check.check_name, check.passed) == (EQUALS_OFFLINE, True)
    with open_store() as store:
        assert [version.dt for version in store.versions("users")] == [DAY]


def test_commands_load_look_and_go_back(lake: Lake) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(online, list(arguments), env={"COLUMNS": "200"})
        assert result.exit_code == code, result.output
        return result.output

    assert "nothing was loaded" in run("status")
    run("load", "--table", "users", "--date", str(days_before(1)))
    assert f"3 rows of {DAY}" in run("load", "--table", "users")
    assert "stays at the newer day" in run("load", "--table", "users", "--date", "2026-03-09")
    # Days of a test are long over.
    assert "expired" in run("status", code=1)
    assert "17: expired of 2026-03-10" in run("get", "users", "17", code=1)
    assert "2026-03-09" in run("rollback", "--table", "users")
    assert "was rolled back" in run("load", "--table", "users")
