"""Commands that build days and check them."""

import sys
import time
from datetime import date, datetime
from pathlib import Path

import click
from rich.table import Table as Grid

from training_assets.cli.console import DAY, console, open_lake
from training_assets.cli.instance import build_seconds, dagster_run
from training_assets.cli.sample import generate
from training_assets.errors import RawDataError
from training_assets.lake import Lake
from training_assets.pipeline import (
    look_back_days,
    requested_days,
    span,
    stale_days,
)
from training_assets.provenance import Provenance
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    RAW_TABLES,
    TABLES,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
)
from training_assets.settings import Settings
from training_assets.sources import printable, raw_days


@click.command()
@click.option("--start-date", type=DAY, help="First day; 13 days before the last by default.")
@click.option("--end-date", type=DAY, help="Last day; the last raw impressions by default.")
@click.option("--force", is_flag=True, help="Build days again that are up to date.")
def run(start_date: datetime | None, end_date: datetime | None, force: bool) -> None:
    """Build all three tables for a range of days, and what of their look-back is missing.

    Days that are published and up to date are left alone. An empty lake gets sample data first.
    """
    lake, settings = open_lake(), Settings.from_env()
    started = time.monotonic()
    if not any(raw_days(lake.root, table) for table in RAW_TABLES.values()):
        _require_no_files(lake.root / "raw")
        console.print(f"{lake.root / 'raw'} is empty: generating sample data")
        click.get_current_context().invoke(generate)
    days = requested_days(lake, start_date, end_date)
    provenance = Provenance(lake, settings)
    before = look_back_days(lake, settings, days)
    stale_before = provenance.outdated(UNIFIED_ACTIONS, before)
    stale = days if force else stale_days(provenance, days, bool(stale_before))
    is_ok = True
    if stale_before:
        is_ok &= dagster_run(stale_before, (UNIFIED_ACTIONS,))
    if stale:
        is_ok &= dagster_run(stale, tuple(TABLES.values()))
    else:
        console.print(f"{days[0]} to {days[-1]}: all days are published and up to date")
    _print_days(lake, days)
    console.print(
        f"{lake.table_path(TRAINING_INPUT.name)} ({time.monotonic() - started:.1f} s)",
        soft_wrap=True,
    )
    if not is_ok:
        sys.exit(1)


@click.command()
@click.option("--start-date", type=DAY, required=True)
@click.option("--end-date", type=DAY, required=True)
@click.option("--asset", type=click.Choice(list(TABLES)), help="One table; all by default.")
def check(start_date: datetime, end_date: datetime, asset: str | None) -> None:
    """Run the checks over what is published; exit 1 if one of error level fails."""
    from training_assets.checks import CheckResult
    from training_assets.engine.resource import SparkResource
    from training_assets.pipeline import check_days

    days = span(start_date.date(), end_date.date())
    tables = [TABLES[asset]] if asset else list(TABLES.values())
    spark = SparkResource.from_env()
    found: dict[tuple[str, str, str], list[CheckResult]] = {}
    started = time.monotonic()
    with spark.session() as session:
        for result in check_days(session, open_lake(), Settings.from_env(), tables, days):
            key = (result.check.table, result.check.name, result.check.severity)
            found.setdefault(key, []).append(result)
    grid = Grid("table", "check", "level", "passed", "failed")
    problems = []
    for (table, name, severity), results in found.items():
        failed = [result for result in results if not result.passed]
        grid.add_row(table, name, severity, str(len(results) - len(failed)), str(len(failed)))
        problems += [(severity, f"{table}.{name} {r.day}: {r.message}") for r in failed]
    console.print(grid)
    for severity, message in problems:
        console.print(f"{severity}: {message}", markup=False, soft_wrap=True)
    console.print(f"{len(days)} days in {time.monotonic() - started:.1f} s")
    if any(severity == "error" for severity, _ in problems):
        sys.exit(1)


def _require_no_files(raw: Path) -> None:
    """Raise where sample data would be mixed with data that lies in no folder of a day."""
    names = (path.relative_to(raw) for path in sorted(raw.rglob("*")) if path.is_file())
    found = next((n for n in names if not any(p.startswith((".", "_")) for p in n.parts)), None)
    if found is not None:
        raise RawDataError(
            f"{raw}: there is no day, but there is {printable(str(found))}; expected folders "
            "<table>/dt=YYYY-MM-DD. Put the files into such folders, or move them away."
        )


def _print_days(lake: Lake, days: list[date]) -> None:
    """One row per day: what is published, and the seconds that building it took."""
    grid = Grid("day", "training rows", "customers", "positives", "median history", "seconds")
    for column in grid.columns[1:]:
        column.justify = "right"
    published = {
        name: set(lake.days(name)) for name in (CUSTOMER_HISTORY.name, TRAINING_INPUT.name)
    }
    seconds = build_seconds()
    for day in days:
        if not all(day in found for found in published.values()):
            grid.add_row(str(day), "not published", "", "", "", "")
            continue
        rows = lake.manifest(TRAINING_INPUT.name, day)["figures"]
        history = lake.manifest(CUSTOMER_HISTORY.name, day)["figures"]
        grid.add_row(
            str(day),
            f"{rows['rows']:,}",
            f"{rows['customers']:,}",
            f"{rows['positives']:,}",
            f"{history['median_length']:g}",
            f"{seconds[str(day)]:.2f}" if str(day) in seconds else "",
        )
    console.print(grid)
