"""The table that ends a run: what is published of each day, and why a day is not."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from rich.table import Table as Grid

from training_assets.cli.console import as_text, console, say
from training_assets.lake import Lake
from training_assets.pipeline import FailedDay, by_fault, in_short
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT
from training_assets.tables import SPECS

_FAILED: Final = "red"
# Columns of a terminal that leave reasons about 50.
_WIDE: Final = 140


class _Row(NamedTuple):
    days: tuple[date, ...]
    cells: tuple[str, ...]
    reason: str


def print_days(lake: Lake, days: Sequence[date], reasons: Mapping[date, str]) -> None:
    """One row per day that is published; days in a row that failed alike are one, in red.

    Where the terminal is too narrow for reasons beside the rows, they stand below the table.
    """
    grid = Grid("day", "training rows", "customers", "positives", "median history", "seconds")
    grid.columns[0].no_wrap = True
    for column in grid.columns[1:]:
        column.justify = "right"
    rows = _rows(lake, days, reasons)
    failed = [row for row in rows if row.reason]
    is_beside = console.log_format == "json" or console.width >= _WIDE
    if failed and is_beside:
        grid.add_column("failed because", overflow="fold")
    for row in rows:
        reason = [as_text(in_short(row.reason))] if row.reason and is_beside else []
        style = _FAILED if row.reason else None
        grid.add_row(_span(row.days), *row.cells, *reason, style=style)
    console.print(grid)
    if not is_beside:
        for row in failed:
            span = _span(row.days).replace("\n", " ")
            say(f"{span} failed: {in_short(row.reason)}", style=_FAILED)


def _rows(lake: Lake, days: Sequence[date], reasons: Mapping[date, str]) -> list[_Row]:
    published = _published(lake, days)
    kinds, is_for_machines = _kinds(reasons), console.log_format == "json"
    rows: list[_Row] = []
    for day in days:
        cells = published.get(day) or ("not published", *[""] * 4)
        reason = reasons.get(day, "" if day in published else "unknown; see the run in the UI")
        before = rows[-1] if rows else None
        is_alike = (
            not is_for_machines
            and before is not None
            and kinds.get(before.days[-1]) == kinds.get(day)
        )
        if before and is_alike and day not in published and before.cells == cells:
            rows[-1] = before._replace(days=(*before.days, day))
        else:
            rows.append(_Row((day,), cells, reason))
    return rows


def _kinds(reasons: Mapping[date, str]) -> dict[date, int]:
    """By day: the number of its fault."""
    faults = by_fault(FailedDay("", day, reason) for day, reason in reasons.items())
    return {day: number for number, fault in enumerate(faults) for day in fault.days}


def _published(lake: Lake, days: Sequence[date]) -> dict[date, tuple[str, ...]]:
    """Cells of the days that are published; a table's manifests are read at once.

    A day took what it took in all tables, each as it was built last.
    """
    figures: dict[str, dict[date, Any]] = {}
    seconds = dict.fromkeys(days, 0.0)
    for name in SPECS:
        snapshot = lake.snapshot(name)
        manifests = snapshot.manifests([day for day in days if day in snapshot.files])
        for day, manifest in manifests.items():
            seconds[day] += sum(manifest.get("seconds", {}).values())
        figures[name] = {day: manifest.get("figures") for day, manifest in manifests.items()}
    rows, history = figures[TRAINING_INPUT.name], figures[CUSTOMER_HISTORY.name]
    return {
        day: (
            f"{rows[day]['rows']:,}",
            f"{rows[day]['customers']:,}",
            f"{rows[day]['positives']:,}",
            f"{history[day]['median_length']:g}",
            f"{seconds[day]:.2f}",
        )
        for day in rows.keys() & history.keys()
    }


def _span(days: tuple[date, ...]) -> str:
    if len(days) == 1:
        return str(days[0])
    return f"{days[0]} to\n{days[-1]}, {len(days)} days"
