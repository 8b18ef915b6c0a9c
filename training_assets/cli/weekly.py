"""The command for the weekly run: everything that a training run needs, in one go."""

import sys
from datetime import datetime

import click

from training_assets.cli.console import DAY, console, open_lake, yesterday
from training_assets.cli.instance import open_instance
from training_assets.cli.run_guard import own_run
from training_assets.provenance import Provenance
from training_assets.schemas import IMPRESSIONS
from training_assets.settings import Settings


@click.command()
@click.option("--end-date", type=DAY, help="Last day; the last raw impressions by default.")
@click.option("--days", type=click.IntRange(min=3), default=14, show_default=True)
def weekly(end_date: datetime | None, days: int) -> None:
    """Build the last days of all tables, split and export the samples, and write the report.

    One Dagster run of the job weekly_training; exit 1 if it fails. Days of the look-back must be
    published: training-assets run --all builds those too.
    """
    lake, settings = open_lake(), Settings.from_env()
    if end_date:
        last = end_date.date()
    else:
        shown = Provenance(lake, settings).source_days(IMPRESSIONS).near
        last = max((day for day in shown if day <= yesterday()), default=yesterday())
    with open_instance() as (instance, home), own_run(instance, home) as tags:
        from training_assets.assets.training_set import TRAINING_SET, range_tags
        from training_assets.definitions import RUN_CONFIG, WEEKLY_JOB, defs

        config = {"config": {"end_date": str(last), "days": days}}
        result = defs.resolve_job_def(WEEKLY_JOB).execute_in_process(
            instance=instance,
            tags={**tags, **range_tags(last, days)},
            run_config={**RUN_CONFIG, "ops": {TRAINING_SET: config}},
            raise_on_error=False,
        )
        if not result.success:
            sys.exit(1)
        for event in result.asset_materializations_for_node(TRAINING_SET):
            for name in ("splits", "export", "report"):
                console.print(f"{name}: {event.metadata[name].value}", soft_wrap=True)
