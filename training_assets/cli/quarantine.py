"""The command that shows what was set aside."""

import sys
from collections.abc import Iterator, Sequence
from datetime import date

import click
import pyarrow as pa
from rich.table import Table as Grid

from training_assets.cli.console import as_text, console, open_lake
from training_assets.errors import SettingsError
from training_assets.lake import Lake
from training_assets.list_format import DamagedFileError, SealedParquet
from training_assets.schemas import DELIVERED_TABLES, Table, re_delivered
from training_assets.sources import further_sources
from training_assets.tables import SPECS


@click.command()
@click.option(
    "--source",
    help="One raw table, or a source of sources.toml; with .re_delivered, what came again.",
)
@click.option("--limit", default=50, show_default=True, help="Rows to show.")
def quarantine(source: str | None, limit: int) -> None:
    """Show raw rows that no table could take, with the reason and the file."""
    lake = open_lake()
    tables = [*DELIVERED_TABLES.values(), *further_sources(lake)]
    known = [table.name for table in tables]
    if source and source not in (*known, *(re_delivered(table).name for table in tables)):
        raise SettingsError(
            f"--source: {source!r} is no source; expected one of {', '.join(known)}. Correct it."
        )
    sources = [source] if source else known
    grid = Grid("source", "dt", "reason", "file", "content")
    total, problems = 0, []
    for raw, day, file in _quarantine_files(lake, sources):
        try:
            rows = SealedParquet(file).read().to_pylist()
        except (OSError, pa.ArrowException, DamagedFileError) as error:
            problems.append(f"{file} cannot be read: {error}")
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


def _quarantine_files(lake: Lake, sources: Sequence[str]) -> Iterator[tuple[Table, date, str]]:
    for spec in SPECS.values():
        snapshot = lake.snapshot(spec.name)
        kept = [of for s in spec.rejected_sources(lake) for of in (s, re_delivered(s))]
        for source in (of for of in kept if of.name in sources):
            for day in snapshot.days:
                folder = f"{snapshot.quarantine_path(day)}/source={source.name}"
                for entry in snapshot.store.list(folder):
                    yield source, day, snapshot.store.uri(entry.path)
