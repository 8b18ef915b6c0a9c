"""What an instance of Dagster is told when the command line makes it: ``dagster.yaml``."""

from pathlib import Path
from typing import Final

MAX_CONCURRENT_RUNS: Final = 5
MAX_RUNTIME_SECONDS: Final = 6 * 60 * 60

INSTANCE_YAML: Final = f"""\
# Made by training-assets for a new instance; yours to change, it is never written again.
telemetry:
  enabled: false
nux:
  enabled: false

# Runs that the UI, schedules, sensors and backfills ask for; more of them wait their turn.
concurrency:
  runs:
    max_concurrent_runs: {MAX_CONCURRENT_RUNS}

# A run that does not begin, does not end or does not stop when told is ended and marked failed.
# A longer time for a single run: its tag dagster/max_runtime, in seconds.
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  cancel_timeout_seconds: 300
  max_runtime_seconds: {MAX_RUNTIME_SECONDS}
  poll_interval_seconds: 60

# A run whose process died is started again. One that failed on its data would fail again.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false

# Dagster's own files of events, in which many events are stored at once.
event_log_storage:
  module: training_assets.instance
  class: BatchedEventLogStorage
  config: {{}}

# What schedules and sensors said is kept for so many days.
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days:
      skipped: 7
      failure: 30
      success: 90
"""
# As versions before 0.2 wrote it; nobody has changed it, so it may be replaced.
_OLD_YAML: Final = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


def write_instance_config(home: Path, project: Path = Path()) -> None:
    """Make ``dagster.yaml`` in the home of an instance, unless there is one of somebody's own.

    One in the folder of a project is what its instance has, also after a change.
    """
    config, own = home / "dagster.yaml", (project / "dagster.yaml").absolute()
    if own.is_file() and own != config.absolute():
        text = own.read_text()
        if not config.exists() or config.read_text() != text:
            config.write_text(text)
    elif not config.exists() or config.read_text() == _OLD_YAML:
        config.write_text(INSTANCE_YAML)
