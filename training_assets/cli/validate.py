"""The command that holds a raw day against the rules."""

import sys
from collections.abc import Sequence
from datetime import datetime

import click
from rich.table import Table as Grid

from training_assets.cli.console import DAY, as_text, console, open_lake
from training_assets.errors import SettingsError
from training_assets.schemas import SHOP_TABLES
from training_assets.sources import source_days
from training_assets.sources.validation import Report


@click.command()
@click.option("--date", "day", type=DAY, required=True, help="The raw day.")
@click.option("--source", type=click.Choice(list(SHOP_TABLES)), help="One; all of the day if not.")
@click.option("--path", help="A lake, or a folder of raw tables; the lake by default.")
@click.option("--all", "show_all", is_flag=True, help="Show rules that nothing breaks, too.")
def validate(day: datetime, source: str | None, path: str | None, show_all: bool) -> None:
    """Hold a raw day of interactions, items and users against the rules; builds nothing.

    Prints what is broken, writes a report beside the data, and exits 1 if a rule of error level is
    broken.
    """
    from training_assets.engine.resource import SparkResource
    from training_assets.pipeline.validation import lake_of, validate_day, write_report

    lake = lake_of(path) if path else open_lake()
    sources = [source] if source else _delivered(lake, day)
    is_error = False
    with SparkResource.from_env().session() as spark:
        for name in sources:
            report = validate_day(spark, lake, name, day.date())
            place = write_report(lake, report)
            _print(report, show_all=show_all)
            console.print(place, markup=False, soft_wrap=True)
            is_error |= report.verdict == "error"
    if is_error:
        sys.exit(1)


def _delivered(lake: object, day: datetime) -> Sequence[str]:
    from training_assets.lake import Lake

    assert isinstance(lake, Lake)
    found = [n for n, t in SHOP_TABLES.items() if day.date() in source_days(lake, t).days]
    if not found:
        raise SettingsError(
            f"validate: {lake.raw.url} has no day {day.date()} of {', '.join(SHOP_TABLES)}; "
            "expected folders <table>/dt=YYYY-MM-DD. Name another day or path."
        )
    return found


def _print(report: Report, *, show_all: bool) -> None:
    console.print(
        f"{report.table} of {report.day}: {report.verdict}; {report.rows:,} rows, "
        f"{report.rejected:,} of them not usable"
    )
    lines = list(report.lines.values()) if show_all else report.broken()
    if not lines:
        return
    grid = Grid("rule", "rows", "broken", "share", "allowed", "verdict", "examples")
    for line in lines:
        grid.add_row(
            as_text(line.rule),
            f"{line.rows:,}",
            f"{line.broken:,}",
            f"{line.share * 100:.3g} %",
            f"{line.threshold * 100:g} %",
            line.verdict,
            as_text(", ".join(line.examples)),
        )
    console.print(grid)
