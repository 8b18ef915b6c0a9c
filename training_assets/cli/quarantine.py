"""The command that shows what was set aside."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table as Grid

from training_assets.cli.console import as_text, console, open_lake
from training_assets.lake import Lake, quarantine_files
from training_assets.schemas import QUARANTINED_BY, RAW_TABLES, Table


@click.command()
@click.option("--source", type=click.Choice(list(RAW_TABLES)), help="One raw table.")
@click.option("--limit", default=50, show_default=True, help="Rows to show.")
def quarantine(source: str | None, limit: int) -> None:
    """Show raw rows that no table could take, with the reason and the file."""
    lake = open_lake()
    sources = [RAW_TABLES[source]] if source else list(RAW_TABLES.values())
    grid = Grid("source", "dt", "reason", "file", "content")
    total, problems = 0, []
    for raw, day, file in _quarantine_files(lake, sources):
        try:
            rows = pq.ParquetFile(file).read().to_pylist()
        except (OSError, pa.ArrowException) as error:
            problems.append(f"{file.relative_to(lake.root)} cannot be read: {error}")
            continue
        total += len(rows)
        for row in rows[: max(0, limit - grid.row_count)]:
            cells = (row[name] for name in ("reason", "source_file", "content"))
            grid.add_row(raw.name, str(day), *(as_text(cell) for cell in cells))
    if total:
        console.print(grid)
        console.print(f"{grid.row_count} of {total} rows")
    elif not problems:
        console.print("The quarantine is empty.")
    for problem in problems:
        console.print(problem, markup=False, soft_wrap=True)
    if problems:
        sys.exit(1)


def _quarantine_files(lake: Lake, sources: list[Table]) -> Iterator[tuple[Table, date, Path]]:
    for source in sources:
        (table,) = (name for name, used in QUARANTINED_BY.items() if source in used)
        for day in lake.days(table):
            for file in quarantine_files(lake.day_path(table, day), source):
                yield source, day, file
