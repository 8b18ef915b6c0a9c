"""Commands that build days and check them."""

import sys
import time
from collections.abc import Sequence
from datetime import date, datetime

import click
from rich.table import Table as Grid

from training_assets.cli.closing_table import print_days
from training_assets.cli.console import DAY, console, open_lake, say
from training_assets.cli.instance import dagster_run, instance_made_meanwhile, open_instance
from training_assets.cli.progress import BuildProgress
from training_assets.cli.sample import generate
from training_assets.errors import RawDataError
from training_assets.lake import Lake, days_in_words
from training_assets.pipeline import (
    FailedDay,
    absent_sources,
    by_fault,
    each_day,
    left_out_days,
    plan_run,
    requested_days,
    span,
)
from training_assets.provenance import Provenance
from training_assets.schemas import DELIVERED_TABLES, IMPRESSIONS, TRAINING_INPUT
from training_assets.settings import Settings
from training_assets.sources import further_sources, printable
from training_assets.tables import DAILY_GROUPS, GROUPS, SPECS, TableSpec, specs_of


@click.command()
@click.option("--start-date", type=DAY, help="First day; 13 days before the last by default.")
@click.option("--end-date", type=DAY, help="Last day; the last raw impressions by default.")
@click.option("--force", is_flag=True, help="Build days again that are up to date.")
@click.option(
    "--with",
    "further",
    type=click.Choice([group for group in GROUPS if group not in DAILY_GROUPS]),
    multiple=True,
    help="Build the tables of this group, too.",
)
@click.option("--all", "builds_all", is_flag=True, help="Build all tables.")
def run(
    start_date: datetime | None,
    end_date: datetime | None,
    force: bool,
    further: tuple[str, ...],
    builds_all: bool,
) -> None:
    """Build tables for a range of days, and what of their look-back is missing.

    These are the tables to train on and those of the shop; features where they are asked for.
    Days that are published and up to date are left alone. An empty lake gets sample data first.
    """
    lake, settings = open_lake(), Settings.from_env()
    started = time.monotonic()
    provenance = Provenance(lake, settings)
    tables = (*DELIVERED_TABLES.values(), *further_sources(lake))
    if not any(provenance.source_days(table).days for table in tables):
        _require_no_files(lake)
        console.print(f"{lake.raw.url} is empty: generating sample data")
        with instance_made_meanwhile():
            click.get_current_context().invoke(generate)
        provenance = provenance.again()
    _say_what_is_left_out(provenance)
    first, last = (day.date() if day else None for day in (start_date, end_date))
    days = requested_days(provenance, IMPRESSIONS, first, last)
    asked = _due(provenance, specs_of(GROUPS if builds_all else (*DAILY_GROUPS, *further)))
    plan = plan_run(provenance, days, force=force, specs=asked)
    progress = BuildProgress(
        sum(len(before) for _, before in plan.before) + len(plan.days) * len(asked)
    )
    is_ok = True
    with open_instance():
        if plan.days:
            with progress.shown():
                is_ok = dagster_run(plan.days, asked, plan.before)
        else:
            console.print(f"{days[0]} to {days[-1]}: all days are published and up to date")
        print_days(Lake(lake.store), days, progress.reasons)
    place = lake.table_store(TRAINING_INPUT.name).url
    console.print(f"{place} ({time.monotonic() - started:.1f} s)", soft_wrap=True)
    if not is_ok or not _are_current(provenance.again(), days, asked):
        sys.exit(1)


def _say_what_is_left_out(provenance: Provenance) -> None:
    if absent := absent_sources(provenance):
        console.print(f"{', '.join(f'raw/{name}' for name in absent)}: no days; taken as absent")
    for sentence in left_out_days(provenance):
        console.print(printable(sentence), markup=False, soft_wrap=True)


def _due(provenance: Provenance, specs: Sequence[TableSpec]) -> list[TableSpec]:
    """Without tables that have no day at all, because nothing of what they are made of has one."""
    return [
        spec
        for spec in specs
        if spec.built_from.days == "every"
        or any(provenance.source_days(s).days for s in provenance.sources_of(spec.built_from))
    ]


def _are_current(provenance: Provenance, days: Sequence[date], specs: Sequence[TableSpec]) -> bool:
    """Whether every day is up to date now; says which are not."""
    is_current = True
    for spec in specs:
        if left := provenance.outdated(spec.built_from, days):
            is_current = False
            text = f"{spec.name}: not up to date: {days_in_words(left)}"
            console.print(text, markup=False, soft_wrap=True)
    return is_current


@click.command()
@click.option("--start-date", type=DAY, required=True)
@click.option("--end-date", type=DAY, required=True)
@click.option("--asset", type=click.Choice(list(SPECS)), help="One table.")
@click.option("--list", "lists", is_flag=True, help="A line for each day that failed.")
def check(start_date: datetime, end_date: datetime, asset: str | None, lists: bool) -> None:
    """Run the checks over what is published; exit 1 if one of error level fails.

    Of all tables; features only where any of the days has them.
    """
    from training_assets.checks import CheckResult
    from training_assets.engine.resource import SparkResource
    from training_assets.pipeline import check_days

    days = span(start_date.date(), end_date.date())
    lake = open_lake()
    specs = [SPECS[asset]] if asset else _to_check(lake, days)
    spark = SparkResource.from_env()
    found: dict[tuple[str, str, str], list[CheckResult]] = {}
    started = time.monotonic()
    with spark.session() as session:
        for result in check_days(session, lake, Settings.from_env(), specs, days):
            key = (result.check.table, result.check.name, result.check.severity)
            found.setdefault(key, []).append(result)
    grid = Grid("table", "check", "level", "passed", "failed")
    problems: list[tuple[str, FailedDay]] = []
    for (table, name, severity), results in found.items():
        failed = [result for result in results if not result.passed]
        grid.add_row(table, name, severity, str(len(results) - len(failed)), str(len(failed)))
        problems += [(r.severity, FailedDay(f"{table}.{name}", r.day, r.message)) for r in failed]
    console.print(grid)
    for level in ("error", "warn"):
        failed_days = [problem for severity, problem in problems if severity == level]
        for fault in each_day(failed_days) if lists else by_fault(failed_days):
            say(f"{level}: {fault.sentence('--list lists all')}")
    console.print(f"{len(days)} days in {time.monotonic() - started:.1f} s")
    if any(severity == "error" for severity, _ in problems):
        sys.exit(1)


def _to_check(lake: Lake, days: Sequence[date]) -> list[TableSpec]:
    """The tables that every run builds, and others of which any of the days is published."""
    return [
        spec
        for name, spec in SPECS.items()
        if spec.group in DAILY_GROUPS or not set(days).isdisjoint(lake.days(name))
    ]


def _require_no_files(lake: Lake) -> None:
    """Raise where sample data would be mixed with data that lies in no folder of a day."""
    names = [entry.path for entry in lake.raw.list()]
    found = next(
        (n for n in names if not any(p.startswith((".", "_")) for p in n.split("/"))), None
    )
    if found is not None:
        raise RawDataError(
            f"{lake.raw.url}: there is no day, but there is {printable(found)}; expected folders "
            "<table>/dt=YYYY-MM-DD. Put the files into such folders, or move them away."
        )
