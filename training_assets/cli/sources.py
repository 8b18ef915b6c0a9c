"""The command that says what was understood of a shop's sources."""

import sys

import click
from rich.table import Table as Grid

from training_assets.cli.console import as_text, console, open_lake
from training_assets.sources import Described, declarations, describe_sources


@click.command()
def sources() -> None:
    """Say what is understood of each source; exit 1 where one cannot be read.

    Where it lies, its format, how each column is read, its newest day, and what would become of
    its first rows. Nothing is built. What differs is declared in sources.toml.
    """
    lake = open_lake()
    declared = declarations(lake)
    console.print(
        f"Declared in {declared.where}" if declared.where else "No sources.toml: defaults"
    )
    described = describe_sources(lake)
    for source in described:
        if not source.is_absent:
            _show(source)
    if absent := [source for source in described if source.is_absent]:
        console.print("\nAbsent, which is no error:", style="bold")
        for source in absent:
            console.print(f"  {source.name}: nothing at {source.place}", markup=False)
    if len(absent) == len(described):
        console.print("Deliver data there, or declare in sources.toml where it lies.")
    if any(source.problem for source in described):
        sys.exit(1)


def _show(source: Described) -> None:
    console.print(f"\n{source.name}", style="bold")
    console.print(f"  place: {source.place}", markup=False, soft_wrap=True)
    if source.problem:
        console.print(f"  cannot be read: {source.problem}", style="red", markup=False)
        return
    first, last = source.days[0], source.days[-1]
    console.print(f"  {source.format}, {len(source.days)} days, {first} to {last}", markup=False)
    grid = Grid("column", "stands in", "read as")
    for column in source.columns:
        note = f", {column.note}" if column.note else ""
        stands = as_text(column.stands or ("" if column.note else "absent"))
        grid.add_row(column.name, stands, f"{column.type}{note}")
    console.print(grid)
    if source.spare:
        console.print(f"  not read: {', '.join(map(str, source.spare))}", markup=False)
    console.print(f"  first rows of {last}: {source.valid:,} valid", markup=False)
    for reason, count in source.reasons:
        console.print(f"    set aside: {count:,} {reason}", markup=False)
