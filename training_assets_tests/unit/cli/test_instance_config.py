"""The instance that the command line makes: as Dagster reads it."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from training_assets.cli.instance_config import write_instance_config

OLD = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


def test_a_new_instance_limits_times_and_retries_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_instance_config(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert not instance.telemetry_enabled
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 5
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_start_timeout_seconds == 300
        assert instance.run_monitoring_max_runtime_seconds == 6 * 60 * 60
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure


def test_a_file_of_ones_own_stays(tmp_path: Path) -> None:
    config = tmp_path / "dagster.yaml"
    config.write_text("telemetry:\n  enabled: true\n")
    write_instance_config(tmp_path)
    assert config.read_text() == "telemetry:\n  enabled: true\n"


def test_what_an_older_version_wrote_is_brought_up_to_date(tmp_path: Path) -> None:
    config = tmp_path / "dagster.yaml"
    config.write_text(OLD)
    write_instance_config(tmp_path)
    assert "max_concurrent_runs: 5" in config.read_text()
