"""Commands about days that are out of date: which, why, and to build them again."""

import sys
from collections.abc import Sequence
from datetime import datetime

import click
from pyspark.sql import SparkSession
from rich.table import Table as Grid

from training_assets.cli.console import DAY, console, open_lake, say
from training_assets.cli.instance import dagster_run
from training_assets.lake import days_in_words
from training_assets.pipeline import (
    FailedDay,
    Rebuilt,
    by_fault,
    changed_customers,
    rebuild_outdated,
    span,
)
from training_assets.provenance import Outdated, OutdatedDay, Provenance, find_outdated
from training_assets.settings import Settings
from training_assets.sources import printable
from training_assets.tables import BUILT_FROM, SPECS, unified_actions


@click.command()
@click.option("--start-date", type=DAY, help="First day to look at; all days by default.")
@click.option("--end-date", type=DAY, help="Last day to look at.")
@click.option("--customers", is_flag=True, help="Count whose actions differ; starts the engine.")
@click.option("--list", "lists", is_flag=True, help="A line for each day.")
def outdated(
    start_date: datetime | None, end_date: datetime | None, customers: bool, lists: bool
) -> None:
    """Say which published days are out of date and why; exit 1 if any is."""
    from training_assets.engine.resource import SparkResource

    provenance = Provenance(open_lake(), Settings.from_env())
    first, last = (day.date() if day else None for day in (start_date, end_date))
    if first and last:
        span(first, last)
    found = find_outdated(provenance, BUILT_FROM, first, last)
    _print_outdated(found, lists)
    if customers and found.buildable(unified_actions.BUILT_FROM):
        with SparkResource.from_env().session() as session:
            _print_customers(session, provenance, found)
    if found.days:
        sys.exit(1)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be built.")
def rebuild(dry_run: bool) -> None:
    """Build exactly the published days that are out of date; exit 1 if any stays so."""
    lake, settings = open_lake(), Settings.from_env()
    if dry_run:
        _print_plan(find_outdated(Provenance(lake, settings), BUILT_FROM))
        return
    done = rebuild_outdated(lake, settings, dagster_run)
    _print_rebuilt(done)
    if any(result.failed for result in done):
        sys.exit(1)


def _say_that_all_is_current() -> None:
    lake = open_lake()
    if any(lake.days(name) for name in SPECS):
        console.print("Every published day is up to date.")
    else:
        text = f"No day is published under {lake.store.url}."
        console.print(printable(text), markup=False, soft_wrap=True)


def _print_outdated(found: Outdated, lists: bool) -> None:
    """Each out-of-date day with its reasons, and what a rebuild may change besides."""
    if not found.days:
        _say_that_all_is_current()
        return
    for group in _alike(found.days, lists):
        told = days_in_words(late.day for late in group)
        if len(group) > 1:
            told = f"{len(group)} days, {told} (--list says of each)"
        say(f"{group[0].table} {told}: {'; '.join(group[0].reasons)}")
    for name, days in found.touched.items():
        if days:
            text = f"{len(days)} days may change with them: {days_in_words(days)}"
            console.print(f"{name}: {text}", soft_wrap=True)
    counts = ", ".join(
        f"{built.table.name} {count}" for built in BUILT_FROM if (count := len(found.of(built)))
    )
    console.print(f"Days out of date: {counts}.", soft_wrap=True)


def _alike(days: Sequence[OutdatedDay], lists: bool) -> list[list[OutdatedDay]]:
    """Days of a table that are out of date for one kind of reason."""
    failed = [FailedDay(late.table, late.day, "; ".join(late.reasons)) for late in days]
    if lists:
        return [[late] for late in days]
    by_key = {(late.table, late.day): late for late in days}
    return [[by_key[fault.table, day] for day in fault.days] for fault in by_fault(failed)]


def _print_customers(spark: SparkSession, provenance: Provenance, found: Outdated) -> None:
    """Whose actions differ on the out-of-date days, and how many later rows are theirs."""
    days = found.buildable(unified_actions.BUILT_FROM)
    changed = changed_customers(spark, provenance, days)
    grid = Grid("day", "customers with other actions", "their histories", "their training rows")
    for column in grid.columns[1:]:
        column.justify = "right"
    customers = dict.fromkeys(days, 0) | changed.customers
    columns = (customers, changed.histories, changed.rows)
    for day in sorted({*days, *changed.histories, *changed.rows}):
        grid.add_row(str(day), *(f"{counts[day]:,}" if day in counts else "" for counts in columns))
    console.print(grid)
    if changed.examples:
        console.print(f"For example customers {', '.join(map(str, changed.examples))}.")


def _print_plan(found: Outdated) -> None:
    """What ``rebuild`` would do."""
    if not found.days:
        _say_that_all_is_current()
        return
    for built in BUILT_FROM:
        name = built.table.name
        days = [late.day for late in found.of(built) if not late.obstacle]
        if days:
            console.print(f"{name}: {days_in_words(days)}", soft_wrap=True)
        obstacles = [
            FailedDay(name, late.day, f"cannot be built: {late.obstacle}")
            for late in found.of(built)
            if late.obstacle
        ]
        for fault in by_fault(obstacles):
            say(fault.sentence("'training-assets outdated --list' lists all"))
        if touched := found.touched.get(name):
            console.print(
                f"{name}, if the days before it change: {days_in_words(touched)}",
                soft_wrap=True,
            )


def _print_rebuilt(done: Sequence[Rebuilt]) -> None:
    """One row per table, and a line for each day that could not be built."""
    if not any(result.days or result.failed for result in done):
        _say_that_all_is_current()
        return
    grid = Grid("table", "days rebuilt", "of which changed", "changed bytes", "failed")
    for column in grid.columns[1:]:
        column.justify = "right"
    for result in done:
        numbers = (len(result.days), len(result.changed), result.changed_bytes, len(result.failed))
        grid.add_row(result.table, *(f"{number:,}" for number in numbers))
    console.print(grid)
    for result in done:
        failed = [FailedDay(result.table, *item) for item in sorted(result.failed.items())]
        for fault in by_fault(failed):
            say(fault.sentence("'training-assets outdated --list' lists all"))
