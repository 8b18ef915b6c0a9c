"""Commands about what requests are answered from: load a day, go back, look."""

import sys
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table as Grid

from training_assets.cli.console import DAY, as_text, console, open_lake
from training_assets.online import TABLES, Answer, OnlineStore, Version, load_day, open_store

_TABLE = click.option("--table", type=click.Choice(list(TABLES)), help="One; both by default.")


@click.group()
def online() -> None:
    """Serve features by id: the store is TRAINING_ASSETS_ONLINE, or online/ in the lake."""


@online.command()
@_TABLE
@click.option("--date", "day", type=DAY, help="A published day; the newest by default.")
@click.option("--force", is_flag=True, help="Also an older day, or one that was rolled back.")
def load(table: str | None, day: datetime | None, force: bool) -> None:
    """Have requests answered from a published day; the day before stays ready for a rollback."""
    lake = open_lake()
    with open_store() as store:
        for name in _chosen(table):
            done = load_day(store, lake, name, day.date() if day else None, force=force)
            if done.kept == "older":
                what = f"stays at the newer day {done.version.dt}; --force goes back"
            elif done.kept:
                what = f"stays at {done.version.dt}: the day was rolled back; --force takes it"
            else:
                what = f"{done.version.rows:,} rows of {done.version.dt}, {done.version.name}"
                what += "" if done.is_new else ", as before"
            console.print(f"{name}: {what}", markup=False, soft_wrap=True)


@online.command()
def status() -> None:
    """Say which versions there are, which one is served, and how old it is; exit 1 if stale."""
    now, is_stale = datetime.now(UTC), False
    grid = Grid("table", "version", "day", "rows", "loaded", "served")
    grid.columns[3].justify = "right"
    with open_store() as store:
        for name in TABLES:
            current = store.current(name)
            for version in store.versions(name):
                state = _state(store, version, now) if version == current else ""
                is_stale |= state not in ("", "found")
                at = version.loaded_at.strftime("%Y-%m-%d %H:%M:%S")
                cells = (name, version.name, version.dt, f"{version.rows:,}", at, state)
                grid.add_row(*map(as_text, cells))
        if not grid.row_count:
            console.print(f"{store.url}: nothing was loaded. Run `training-assets online load`.")
            return
    console.print(grid)
    if is_stale:
        sys.exit(1)


@online.command()
@click.option("--table", type=click.Choice(list(TABLES)), required=True, help="Of which table.")
@click.option("--to", "to", help="A version or a day; the version before by default.")
def rollback(table: str, to: str | None) -> None:
    """Have requests answered from an older version. The one that is left is not loaded again."""
    with open_store() as store:
        version = store.rollback(table, to)
    console.print(f"{table}: {version.rows:,} rows of {version.dt}, {version.name}")


@online.command()
@click.argument("table", type=click.Choice(list(TABLES)))
@click.argument("ids", nargs=-1, required=True)
def get(table: str, ids: tuple[str, ...]) -> None:
    """Look ids up as a request does; exit 1 if one has no values."""
    with open_store() as store:
        answers = store.get(table, list(ids))
    for answer in answers:
        _print_answer(answer)
    if any(answer.values is None for answer in answers):
        sys.exit(1)


def _print_answer(answer: Answer) -> None:
    of = f" of {answer.dt}" if answer.dt else ""
    console.print(f"{as_text(answer.id)}: {answer.state}{of}", soft_wrap=True)
    for name, value in (answer.values or {}).items():
        console.print(f"  {name}: {as_text(value)}", soft_wrap=True)


def _state(store: OnlineStore, version: Version, now: datetime) -> str:
    age = version.age(now)
    if age > store.expires_after:
        return "expired"
    return "stale" if age > store.stale_after else "found"


def _chosen(table: str | None) -> list[Any]:
    return [table] if table else list(TABLES)
