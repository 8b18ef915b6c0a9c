"""The command that writes the report of a day."""

from datetime import datetime
from pathlib import Path

import click

from training_assets.assets.training_set import page_of
from training_assets.cli.console import DAY, console, open_lake
from training_assets.monitoring.report import report_path
from training_assets.settings import Settings


@click.command()
@click.option("--date", "day", type=DAY, help="Which day; the newest published one by default.")
@click.option("--output", type=click.Path(dir_okay=False), help="Another file than the lake's.")
def report(day: datetime | None, output: str | None) -> None:
    """Write what the watches see of a day as one HTML page: reports/DAY.html in the lake."""
    lake, settings = open_lake(), Settings.from_env()
    found, page = page_of(lake, settings, day.date() if day else None)
    path = report_path(found.day)
    if output:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        Path(output).write_bytes(page)
    else:
        lake.store.put(path, page)
    for result in found.failed:
        text = f"{result.severity}: {result.check.table}.{result.check.name}: {result.message}"
        console.print(text, markup=False, soft_wrap=True)
    place = output or lake.store.uri(path)
    console.print(f"{place} ({len(page):,} bytes)", markup=False, soft_wrap=True)
