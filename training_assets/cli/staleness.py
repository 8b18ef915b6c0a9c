"""What ``outdated`` and ``rebuild`` of the command line print and do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table as Grid

from training_assets.errors import TrainingAssetsError
from training_assets.freshness import Freshness
from training_assets.lake import Lake
from training_assets.late import Outdated, contiguous, days_in_words, find_outdated
from training_assets.late_customers import changed_customers
from training_assets.raw_columns import printable
from training_assets.schemas import TABLES, UNIFIED_ACTIONS, Table
from training_assets.settings import Settings

Build = Callable[[list[date], tuple[Table, ...]], bool]

_CURRENT: Final = "Every published day is up to date."


@dataclass
class Rebuilt:
    """What became of the out-of-date days of one table; ``failed`` stand as they were."""

    table: str
    days: list[date] = field(default_factory=list)
    changed: list[date] = field(default_factory=list)
    changed_bytes: int = 0
    failed: dict[date, str] = field(default_factory=dict)


def print_outdated(console: Console, found: Outdated) -> None:
    """Each out-of-date day with its reasons, and what a rebuild may change besides."""
    if not found.days:
        console.print(_CURRENT)
        return
    for late in found.days:
        reasons = printable("; ".join(late.reasons))
        console.print(f"{late.table} {late.day}: {reasons}", markup=False, soft_wrap=True)
    for name, days in found.touched.items():
        if days:
            text = f"{len(days)} days may change with them: {days_in_words(days)}"
            console.print(f"{name}: {text}", soft_wrap=True)
    counts = ", ".join(f"{table.name} {len(found.of(table))}" for table in TABLES.values())
    console.print(f"Days out of date: {counts}.", soft_wrap=True)


def print_customers(
    console: Console, spark: SparkSession, freshness: Freshness, found: Outdated
) -> None:
    """Whose actions differ on the out-of-date days, and how many later rows are theirs."""
    days = found.buildable(UNIFIED_ACTIONS)
    changed = changed_customers(spark, freshness, days)
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


def rebuild(lake: Lake, settings: Settings, build: Build) -> list[Rebuilt]:
    """Build exactly the out-of-date days, table by table; ``build`` takes consecutive days.

    Each table is looked at when those before it are done: only then is it known what they changed.
    """
    done = []
    for table in TABLES.values():
        found = find_outdated(Freshness(lake, settings))
        result = Rebuilt(table.name)
        for late in found.of(table):
            if late.obstacle:
                result.failed[late.day] = late.obstacle
        days = found.buildable(table)
        before = {day: _content(lake, table, day) for day in days}
        for group in contiguous(days):
            build(group, (table,))
        after = Freshness(lake, settings)
        for day in days:
            if not after.is_current(table, day):
                result.failed[day] = "it was not published; see above, or the run in the UI"
                continue
            result.days.append(day)
            if (content := _content(lake, table, day)) != before[day]:
                result.changed.append(day)
                result.changed_bytes += content[1]
        done.append(result)
    return done


def print_plan(console: Console, found: Outdated) -> None:
    """What ``rebuild`` would do."""
    if not found.days:
        console.print(_CURRENT)
        return
    for table in TABLES.values():
        days = [late.day for late in found.of(table) if not late.obstacle]
        if days:
            console.print(f"{table.name}: {days_in_words(days)}", soft_wrap=True)
        for late in found.of(table):
            if late.obstacle:
                text = f"{table.name} {late.day} cannot be built: {late.obstacle}"
                console.print(printable(text), markup=False, soft_wrap=True)
        if touched := found.touched.get(table.name):
            console.print(
                f"{table.name}, if the days before it change: {days_in_words(touched)}",
                soft_wrap=True,
            )


def print_rebuilt(console: Console, done: Sequence[Rebuilt]) -> None:
    """One row per table, and a line for each day that could not be built."""
    if not any(result.days or result.failed for result in done):
        console.print(_CURRENT)
        return
    grid = Grid("table", "days rebuilt", "of which changed", "changed bytes", "failed")
    for column in grid.columns[1:]:
        column.justify = "right"
    for result in done:
        numbers = (len(result.days), len(result.changed), result.changed_bytes, len(result.failed))
        grid.add_row(result.table, *(f"{number:,}" for number in numbers))
    console.print(grid)
    for result in done:
        for day, problem in sorted(result.failed.items()):
            console.print(
                f"{result.table} {day}: {printable(problem)}", markup=False, soft_wrap=True
            )


def _content(lake: Lake, table: Table, day: date) -> tuple[str, int]:
    """Hash and bytes of the published day; none of either where there is none."""
    try:
        manifest = Freshness(lake, Settings()).manifest(table, day)
    except TrainingAssetsError:
        return "", 0
    return str(manifest.get("content")), int(manifest.get("bytes", 0))
