"""The Dagster instance of the command line, and runs in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

import dagster as dg

from training_assets.cli.console import console, open_lake
from training_assets.cli.run_guard import own_run
from training_assets.schemas import TABLES, Table

_INSTANCE_YAML: Final = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


@contextmanager
def instance_home() -> Iterator[None]:
    """DAGSTER_HOME, by default beside the lake, with telemetry off."""
    home = Path(os.environ.get("DAGSTER_HOME", "").strip() or open_lake().root.parent / "dagster")
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text(_INSTANCE_YAML)
    os.environ["DAGSTER_HOME"] = str(home)
    # Runs that the UI starts must find the same lake, wherever they are started from.
    os.environ["TRAINING_ASSETS_LAKE"] = str(open_lake().root)
    yield


def dagster_run(days: list[date], tables: tuple[Table, ...]) -> bool:
    """One Dagster run over the range that spans ``days``; whether it succeeded."""
    with (
        instance_home(),
        dg.DagsterInstance.get() as instance,
        own_run(instance, open_lake().root) as tags,
    ):
        from training_assets.definitions import BACKFILL_JOB, RUN_CONFIG, defs

        names = ", ".join(table.name for table in tables)
        console.print(f"{days[0]} to {days[-1]}: {names}")
        result = defs.resolve_job_def(BACKFILL_JOB).execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(table.name) for table in tables],
            tags={
                **tags,
                "dagster/asset_partition_range_start": str(days[0]),
                "dagster/asset_partition_range_end": str(days[-1]),
            },
            run_config=dict(RUN_CONFIG),
            raise_on_error=False,
        )
        return result.success


def build_seconds() -> dict[str, float]:
    """By day: the seconds of its latest materializations, over the three tables."""
    totals: dict[str, float] = {}
    with instance_home(), dg.DagsterInstance.get() as instance:
        for name in TABLES:
            latest: dict[str, float] = {}
            for record in instance.fetch_materializations(dg.AssetKey(name), limit=400).records:
                event = record.asset_materialization
                if event is None or event.partition in latest or event.partition is None:
                    continue
                latest[event.partition] = sum(
                    float(str(value.value))
                    for key, value in event.metadata.items()
                    if key.startswith("seconds_")
                )
            for day, value in latest.items():
                totals[day] = totals.get(day, 0.0) + value
    return totals
