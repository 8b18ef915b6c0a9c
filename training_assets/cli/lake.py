"""Commands about the lake as a whole: its versions, going back, cleaning, taking over, asking."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table as Grid

from training_assets.cli.console import DAY, as_text, console, open_lake
from training_assets.errors import SettingsError
from training_assets.lake import Lake, days_in_words, list_versions, new_run
from training_assets.lake import restore as restore_days
from training_assets.lake.base import first_line
from training_assets.lake.migrate import migrate as migrate_lake
from training_assets.pipeline import span, vacuum_lake
from training_assets.settings import Settings
from training_assets.sources import printable
from training_assets.tables import DAILY_GROUPS, SPECS

_TABLE: Final = click.option("--table", type=click.Choice(list(SPECS)), help="One; all by default.")


@click.command()
@_TABLE
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Versions of each table to show.",
)
def versions(table: str | None, limit: int) -> None:
    """Say what changed when, and by which run; newest first."""
    lake = open_lake()
    for name in _chosen(table):
        store = lake.table_store(name)
        all_found = list_versions(store, name, limit)
        if not all_found:
            console.print(f"{name}: no version under {store.url}", markup=False, soft_wrap=True)
        for found in all_found:
            at = found.at.strftime("%Y-%m-%d %H:%M:%S")
            run = f" by run {found.run}" if found.run else ""
            days = f": {days_in_words(found.days)}" if found.days else ""
            line = f"{name} {found.number:>4}  {at}  {found.operation}{run}{days}"
            console.print(printable(line), markup=False, soft_wrap=True)


@click.command()
@_TABLE
@click.option("--version", type=int, help="A version of that table.")
@click.option("--as-of", "as_of", help="A time, UTC: YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS.")
@click.option("--start-date", type=DAY, help="First day; from the oldest on by default.")
@click.option("--end-date", type=DAY, help="Last day; up to the newest by default.")
def restore(
    table: str | None,
    version: int | None,
    as_of: str | None,
    start_date: datetime | None,
    end_date: datetime | None,
) -> None:
    """Publish days again as they were in an older version. Nothing is built or copied."""
    if (version is None) == (as_of is None) or (version is not None and table is None):
        raise SettingsError(
            "restore: expected either --table and --version, or --as-of (for one table or all). "
            "`training-assets versions` lists both."
        )
    wanted: int | datetime = version if as_of is None and version is not None else _time(as_of)
    first, last = (day.date() if day else None for day in (start_date, end_date))
    if first and last:
        span(first, last)
    lake = open_lake()
    # All are looked at before any is changed: they belong together.
    there = _there(lake)
    names = [name for name in _chosen(table) if table or name in there or not _may_lack(name)]
    days = {name: _days_of_either(lake, name, wanted, first, last) for name in names}
    for name, chosen in days.items():
        changed = restore_days(lake.table_store(name), name, wanted, {"run": new_run()}, chosen)
        what = days_in_words(changed) if changed else "nothing differs"
        console.print(f"{name}: {what}", soft_wrap=True)


def _there(lake: Lake) -> list[str]:
    """The tables that the lake has."""
    return [name for name in SPECS if lake.snapshot(name).version >= 0]


def _may_lack(name: str) -> bool:
    """Whether a lake may be without the table: not delivered, or built where it is asked for."""
    spec = SPECS[name]
    return spec.group not in DAILY_GROUPS or spec.built_from.days != "every"


def _days_of_either(
    lake: Lake, table: str, version: int | datetime, first: date | None, last: date | None
) -> list[date]:
    """Those of the range that the older version holds, or the newest one."""
    found = {*lake.snapshot(table, version).days, *lake.days(table)}
    return sorted(d for d in found if (first or d) <= d <= (last or d))


def _time(text: str | None) -> datetime:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        raise SettingsError(
            f"--as-of: {text!r} is no time; expected YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, UTC."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def vacuum(dry_run: bool) -> None:
    """Remove files that no version of the last days needs (TRAINING_ASSETS_KEEP_VERSIONS_DAYS)."""
    found = vacuum_lake(open_lake(), Settings.from_env(), dry_run=dry_run)
    grid = Grid("table", "files", "bytes")
    for column in grid.columns[1:]:
        column.justify = "right"
    for name, removed in found.items():
        grid.add_row(name, f"{removed.files:,}", f"{removed.bytes:,}")
    console.print(grid)
    if dry_run:
        console.print("Nothing was removed.")


@click.command()
def migrate() -> None:
    """Take over a lake of training_assets 0.1 where it lies, without copying."""
    store = open_lake().store
    if not store.is_local:
        raise SettingsError(f"migrate: {store.url} is no folder; lakes of 0.1 are. Nothing to do.")
    for name, days in migrate_lake(Path(store.url), [s.table for s in SPECS.values()]).items():
        console.print(f"{name}: {days} days")


@click.command()
@click.argument("query")
def sql(query: str) -> None:
    """Ask the tables with DuckDB: "select dt, count(*) from training_input group by dt"."""
    try:
        import duckdb
    except ImportError:
        raise SettingsError(
            "sql: DuckDB is not installed; expected the extra. Run "
            "pip install 'training-assets[sql]'."
        ) from None
    from deltalake import DeltaTable

    from training_assets.lake.log import delta_uri

    lake, connection = open_lake(), duckdb.connect()
    for name in SPECS:
        if lake.snapshot(name).version >= 0:
            table = DeltaTable(delta_uri(lake.table_store(name)))
            connection.register(name, table.to_pyarrow_dataset())
    try:
        result = connection.sql(query)
    except duckdb.Error as error:
        names = ", ".join(_there(lake) or SPECS)
        raise SettingsError(
            f"sql: {first_line(error)}; expected a query over {names}. Correct it."
        ) from None
    if result is not None:
        _print_rows(result.columns, result.fetchall())


def _print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    grid = Grid(*columns)
    for row in rows:
        grid.add_row(*(as_text(cell) for cell in row))
    console.print(grid)


def _chosen(table: str | None) -> list[str]:
    return [table] if table else list(SPECS)
