"""X and Y together, Y with the driver that the engine can use."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from pyspark.sql import SparkSession

from training_assets.lake import Store, open_store
from training_assets.transactions.database import Connection, Database, migrate, one
from training_assets.transactions.detector import Detector
from training_assets.transactions.export import DETECTIONS, close_file, export_files
from training_assets.transactions.feed import Feed, feed_all, feed_every
from training_assets.transactions.loop import detect_all, detect_until
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.state import start_again
from training_assets.transactions.structured import stream_all, stream_until

Driver = Literal["auto", "stream", "ledger"]


def run_both(
    session: SparkSession,
    settings: TransactionSettings,
    database: Database,
    stop: threading.Event,
    progress: Callable[[str], None],
    *,
    every: float | None,
    driver: Driver = "auto",
) -> None:
    """Feed one chunk every so many seconds, or all at once, and detect beside it.

    Ends when ``stop`` is set, or, where ``every`` is None, when nothing waits. Raises what either
    of the two does.
    """
    workdir = open_store(settings.workdir)
    feed = Feed(workdir, settings, is_growing=every is not None)
    failures: list[BaseException] = []
    is_fed = threading.Event()

    def feed_on() -> None:
        try:
            if every is None:
                feed_all(feed, progress, stop)
            else:
                feed_every(feed, every, stop, progress)
        except BaseException as error:
            failures.append(error)
        finally:
            is_fed.set()

    # The source is read while the detector opens.
    thread = threading.Thread(target=feed_on, name="feed")
    thread.start()
    try:
        with open_detector(session, settings, database, progress) as detector:
            follow(detector, session, settings, is_fed, driver)
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def open_detector(
    session: SparkSession,
    settings: TransactionSettings,
    database: Database,
    progress: Callable[[str], None],
) -> Iterator[Detector]:
    """Leaves the database when the block ends."""
    try:
        yield Detector(session, open_store(settings.workdir), database, settings, progress)
    finally:
        database.leave()


def apply_waiting(
    detector: Detector, session: SparkSession, settings: TransactionSettings, driver: Driver
) -> None:
    """Apply what waits; detections that fill no file wait for more."""
    workdir = open_store(settings.workdir)
    if _streams(session, workdir, driver):
        detector.arrivals()
        stream_all(detector, session, workdir)
    else:
        detect_all(detector)


def detect_waiting(
    detector: Detector, session: SparkSession, settings: TransactionSettings, driver: Driver
) -> None:
    """Apply what waits, and export all."""
    apply_waiting(detector, session, settings, driver)
    detector.close()


def export_all(database: Database, workdir: Store) -> int:
    """Put all detections into files, also those that fill none; returns the number of files."""
    database.run(migrate)
    close_file(database)
    return export_files(database, workdir)


def follow(
    detector: Detector,
    session: SparkSession,
    settings: TransactionSettings,
    stop: threading.Event,
    driver: Driver,
) -> None:
    """Apply chunks as they appear until ``stop`` is set and none waits."""
    workdir = open_store(settings.workdir)
    if _streams(session, workdir, driver):
        stream_until(detector, session, workdir, settings.flush_after, stop)
    else:
        detect_until(detector, settings.flush_after, stop)


def rebuild(settings: TransactionSettings, database: Database) -> int:
    """Empty the state, for these settings; returns the generation that its files will name.

    The next ``detect`` applies all chunks again. Files of detections are kept as they are.
    """
    store = open_store(settings.workdir).child(DETECTIONS)
    used = [_generation(entry.path) for entry in store.list()]

    def empty(connection: Connection) -> int:
        migrate(connection)
        (generation,) = one(connection, "SELECT generation FROM progress")
        new = max([int(generation) + 1, *(number + 1 for number in used)]) if used else generation
        start_again(connection, settings, generation=new)
        return int(new)

    return database.run(empty)


def _generation(path: str) -> int:
    folder, slash, _ = path.partition("/")
    number = folder.removeprefix("generation-")
    return int(number) if slash and number.isdigit() else 0


def _streams(session: SparkSession, workdir: Store, driver: Driver) -> bool:
    if driver != "auto":
        return driver == "stream"
    # Sail has no foreachBatch, and a Spark Connect server would call it in a process of its own.
    return workdir.is_local and isinstance(session, SparkSession)
