"""Commands of the feed of transactions and of the patterns in it."""

import csv
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.table import Table as Grid

from training_assets.cli.console import as_text, console
from training_assets.cli.progress import told
from training_assets.cli.transaction_options import (
    CHUNK_ROWS,
    DATABASE,
    DRAIN,
    DRIVER,
    EVERY,
    LIMITS,
    SOURCES,
    WORKDIR,
    with_options,
)
from training_assets.errors import SettingsError, TrainingAssetsError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from training_assets.transactions.database import Database
    from training_assets.transactions.settings import TransactionSettings

_NOT_INSTALLED: Final = (
    "transactions: psycopg is not installed; expected the extra training-assets[transactions]. "
    "Install it with 'pip install \"training-assets[transactions]\"'."
)


@click.group()
def transactions() -> None:
    """A bank's transactions as a feed, and the patterns in it as they arise."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise SettingsError(_NOT_INSTALLED) from error


@transactions.command()
@with_options(*SOURCES, *LIMITS, CHUNK_ROWS, EVERY, DRAIN, DRIVER)
def run(every: float, drain: bool, driver: Any, **given: Any) -> None:
    """Feed and detect, beside one another, until stopped; with --drain, until all is done.

    Without a source, writes an example first.
    """
    from training_assets.transactions.database import Database

    settings = _settings(given)
    began = time.monotonic()
    _example_if_default(settings)
    with _kept_database(settings) as kept:
        from training_assets.transactions.run import run_both

        with _session() as session, _stop_signals() as stop, told() as progress:
            pause = None if drain else every
            database = Database.of(settings)
            run_both(session, settings, database, stop, progress, every=pause, driver=driver)
        _print_summary(kept, settings, time.monotonic() - began)


@transactions.command()
@with_options(*SOURCES, CHUNK_ROWS, EVERY, DRAIN)
def feed(every: float, drain: bool, **given: Any) -> None:
    """Put the source into the inbox, a chunk every second."""
    from training_assets.lake import open_store
    from training_assets.transactions.feed import Feed, feed_all, feed_every

    settings = _settings(given)
    source = Feed(open_store(settings.workdir), settings, is_growing=not drain)
    with _stop_signals() as stop, told() as progress:
        if drain:
            feed_all(source, progress, stop)
        else:
            feed_every(source, every, stop, progress)
    console.print(f"{source.rows_fed:,} rows are fed")


@transactions.command()
@with_options(*SOURCES, *LIMITS, DRIVER)
@click.option("--follow", "follows", is_flag=True, help="Take chunks as they appear, on and on.")
@click.option("--batch", is_flag=True, help="All that waits as one, in one transaction.")
def detect(follows: bool, batch: bool, driver: Any, **given: Any) -> None:
    """Apply the chunks of the inbox, and export what they show."""
    from training_assets.transactions.database import Database

    settings = _settings(given)
    began = time.monotonic()
    with _kept_database(settings) as kept:
        from training_assets.transactions.run import detect_waiting, follow, open_detector

        with (
            _session() as session,
            _stop_signals() as stop,
            told() as progress,
            open_detector(session, settings, Database.of(settings), progress) as detector,
        ):
            if follows:
                follow(detector, session, settings, stop, driver)
            elif batch:
                detector.apply_as_one()
                detector.close()
            else:
                detect_waiting(detector, session, settings, driver)
        _print_summary(kept, settings, time.monotonic() - began)


@transactions.command()
@with_options(*SOURCES, *LIMITS)
def rebuild(**given: Any) -> None:
    """Empty the state, so that the next detect makes it again, with these numbers."""
    from training_assets.transactions.database import Database
    from training_assets.transactions.run import rebuild as empty

    settings = _settings(given)
    database = Database.of(settings)
    try:
        generation = empty(settings, database)
    finally:
        database.leave()
    console.print(
        f"The state is empty; its files will be of generation {generation}. Run "
        "'training-assets transactions detect'."
    )


@transactions.command()
@click.argument("what", type=click.Choice(["merchants", "customers", "genders", "detections"]))
@click.option("--format", "form", type=click.Choice(["table", "csv"]), default="table")
@click.option("--current", is_flag=True, help="Of detections, what is true now.")
@click.option("--limit", default=50, show_default=True, help="Rows of a table; csv has all.")
@with_options(WORKDIR, DATABASE)
def show(what: str, form: str, current: bool, limit: int, **given: Any) -> None:
    """Print the state."""
    from training_assets.transactions.database import Database
    from training_assets.transactions.show import VIEWS, rows_of

    settings = _settings(given)
    name = "current" if current and what == "detections" else what
    database = Database.of(settings)
    try:
        found = rows_of(database, name)
    finally:
        database.leave()
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(VIEWS[name].columns)
        writer.writerows(found)
        return
    grid = Grid(*VIEWS[name].columns)
    for row in found[:limit]:
        grid.add_row(*map(as_text, row))
    console.print(grid)
    console.print(f"{grid.row_count:,} of {len(found):,} rows")


def _settings(given: dict[str, Any]) -> "TransactionSettings":
    from training_assets.transactions.settings import TransactionSettings

    return TransactionSettings.from_env(**given)


@contextmanager
def _session() -> Iterator["SparkSession"]:
    from training_assets.engine.resource import SparkResource

    with SparkResource.from_env().session() as session:
        yield session


@contextmanager
def _kept_database(settings: "TransactionSettings") -> Iterator["Database"]:
    """Starts a server of our own beside the engine, and keeps it until the last question."""
    from training_assets.transactions.database import Database

    def start() -> None:
        # Whoever needs it first is told what is wrong.
        with suppress(TrainingAssetsError):
            database.run(lambda connection: None)

    database = Database.of(settings)
    starter = threading.Thread(target=start, name="database")
    starter.start()
    try:
        yield database
    finally:
        starter.join()
        database.leave()


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Set by Ctrl-C or SIGTERM, so that the chunk in hand is finished; a second one interrupts."""
    stop = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _example_if_default(settings: "TransactionSettings") -> None:
    """Write the example where the default source is asked for and is not there."""
    from training_assets.sample.banksim import write_banksim
    from training_assets.transactions.settings import DEFAULT_IMPORTANCE, DEFAULT_SOURCE

    is_default = (settings.transactions, settings.importance) == (
        DEFAULT_SOURCE,
        DEFAULT_IMPORTANCE,
    )
    if is_default and not Path(DEFAULT_SOURCE).exists():
        console.print("There are no transactions: writing an example")
        with told() as progress:
            write_banksim(Path(DEFAULT_SOURCE).parent, progress=progress)


def _print_summary(database: "Database", settings: "TransactionSettings", seconds: float) -> None:
    from training_assets.transactions.export import ACTIONS, DETECTIONS
    from training_assets.transactions.show import summary

    found = summary(database)
    grid = Grid("pattern", "action", "detections")
    for pattern, count in found.by_pattern.items():
        grid.add_row(pattern, ACTIONS[pattern], f"{count:,}")
    console.print(grid)
    console.print(
        f"{found.rows:,} rows in {found.chunks:,} chunks, {found.quarantined:,} quarantined; "
        f"{found.current:,} detections hold now; {found.files:,} files in "
        f"{settings.workdir}/{DETECTIONS} ({seconds:.1f} s)",
        soft_wrap=True,
    )
    if found.seconds and found.latency:
        console.print(
            f"a chunk: {found.seconds[0]:.2f} s, p99 {found.seconds[1]:.2f} s; from its put to its "
            f"detections: {found.latency[0]:.2f} s, p99 {found.latency[1]:.2f} s",
            soft_wrap=True,
        )
