"""A bank that is killed: processes that feed or detect, one step later each time, or at random.

A step is a statement of the database, the end of a transaction, or whatever touches a file of the
workdir. Each attempt is a forked process with an engine of its own, so this runs in a process of
its own, which has started none.

    python -m training_assets_tests.reliability.transaction_kills ROOT feed|detect STRIDE
    python -m training_assets_tests.reliability.transaction_kills ROOT two|restart|random TIMES
"""

import io
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq

from training_assets.engine import spark_session
from training_assets.lake import Store, open_store
from training_assets.transactions.database import Connection, Database
from training_assets.transactions.detector import Detector
from training_assets.transactions.feed import Feed, feed_all
from training_assets.transactions.loop import detect_all
from training_assets.transactions.run import run_both
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.state import start_again

CUSTOMERS, MERCHANTS = 40, 3
_TABLES = {
    "merchant_transaction_counts": "*",
    "customer_merchant_stats": "*",
    "customers": "*",
    "merchant_gender_stats": "*",
    "customer_importance": "*",
    "merchant_count_histogram": "*",
    "upgrade_thresholds": "*",
    "true_patterns": "*",
    "quarantine": "*",
    "progress": "*",
    "applied_chunks": "first_row, last_row, sha256, row_count, quarantined_count, detection_count",
    "applied_weights": "number, from_row, before_row, sha256, row_count",
    "detections": "detection_id, pattern_id, merchant_id, customer_id, is_end, chunk_last",
    "detection_files": "first_detection, last_detection, name",
}


def bank_settings(root: Path, chunk_rows: int = 60) -> TransactionSettings:
    """Limits so low that a few rows show every pattern."""
    return TransactionSettings(
        workdir=str(root / "work"),
        transactions=str(root / "transactions.csv"),
        importance=str(root / "importance.csv"),
        database=str(root.parent / "postgres"),
        chunk_rows=chunk_rows,
        upgrade_min_transactions=100,
        upgrade_top=Decimal("0.3"),
        upgrade_bottom=Decimal("0.3"),
        child_min_transactions=3,
        women_min=5,
        file_rows=4,
    )


def write_source(root: Path, rows: int, seed: int = 0) -> None:
    rng = random.Random(seed)
    lines, weights = [], []
    for row in range(rows):
        customer, merchant = rng.randrange(CUSTOMERS), rng.randrange(MERCHANTS)
        gender = "FMM"[customer % 3]
        amount = "broken" if row % 97 == 5 else f"{rng.uniform(5, 40):.2f}"
        lines.append(f"{row // 50},'C{customer}','1','{gender}',1,'M{merchant}',1,'es',{amount},0")
        weights.append(f"'C{customer}','M{merchant}',{rng.randrange(1, 9)},'es',0")
    root.mkdir(parents=True, exist_ok=True)
    header = "step,customer,age,gender,zipcodeOri,merchant,zipMerchant,category,amount,fraud"
    (root / "transactions.csv").write_text("\n".join([header, *lines]) + "\n")
    (root / "importance.csv").write_text(
        "\n".join(["Source,Target,Weight,typeTrans,fraud", *weights]) + "\n"
    )


def feed(settings: TransactionSettings) -> None:
    feed_all(Feed(open_store(settings.workdir), settings), lambda message: None)


def detect(settings: TransactionSettings) -> None:
    database = Database.of(settings)
    store = open_store(settings.workdir)
    with spark_session("sail") as session:
        detector = Detector(session, store, database, settings, lambda message: None)
        detect_all(detector)
        detector.close()
    database.close()


def empty(settings: TransactionSettings, database: Database) -> None:
    """No workdir, and a database as it is before the first chunk."""
    shutil.rmtree(settings.workdir, ignore_errors=True)
    database.run(lambda connection: start_again(connection, settings, generation=0))


def content(settings: TransactionSettings, database: Database) -> dict[str, Any]:
    """Tables, chunks and files, without the times."""

    def read(connection: Connection) -> dict[str, Any]:
        return {
            table: sorted(
                map(repr, connection.execute(f"SELECT {columns} FROM {table}").fetchall())  # type: ignore[call-overload]
            )
            for table, columns in _TABLES.items()
        }

    found = database.run(read)
    store = open_store(settings.workdir)
    found["chunks"] = {e.path: store.child("raw").read(e.path) for e in store.child("raw").list()}
    found["files"] = {
        entry.path: _rows(store.child("detections"), entry.path)
        for entry in store.child("detections").list()
    }
    return found


def _rows(store: Store, path: str) -> list[list[str]]:
    data = store.read(path)
    if path.endswith(".parquet"):
        table = pq.read_table(io.BytesIO(data))
        return [list(row.values())[2:] for row in table.to_pylist()]
    return [line.split(",")[2:] for line in data.decode().splitlines()[1:]]


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    return [name for name in expected if found[name] != expected[name]]


def killed_at(step: int, work: Callable[[], None], workdir: str) -> tuple[bool, str]:
    """Whether work was killed when it began the step, and what the step was."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        with suppress(BaseException):
            _kill_at(step, workdir, theirs)
            work()
            os._exit(0)
        os._exit(1)
    os.close(theirs)
    with os.fdopen(ours) as told:
        name = told.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True, name
    assert os.WEXITSTATUS(status) == 0, f"step {step}: the process failed by itself"
    return False, ""


def _kill_at(step: int, workdir: str, tell: int) -> None:
    count = 0

    def begin(name: str) -> None:
        nonlocal count
        count += 1
        if count == step:
            os.write(tell, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(("open", "os.")) and any(str(a).startswith(workdir) for a in args[:2]):
            begin(event)

    sys.addaudithook(hook)
    execute, leave = psycopg.ClientCursor.execute, psycopg.Transaction.__exit__

    def noted_execute(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        begin(str(query)[:40].replace("\n", " "))
        return execute(self, query, *args, **kwargs)

    def noted_leave(self: Any, *args: Any) -> Any:
        begin("end of a transaction")
        return leave(self, *args)

    psycopg.ClientCursor.execute = noted_execute  # type: ignore[method-assign]
    psycopg.Transaction.__exit__ = noted_leave  # type: ignore[method-assign]


def kill_at_steps(root: Path, mechanism: str, stride: int) -> dict[str, Any]:
    """Kill at every ``stride``-th step, each time followed by a plain run."""
    settings, database, expected = _undisturbed(root)
    work = (lambda: feed(settings)) if mechanism == "feed" else (lambda: detect(settings))
    if mechanism == "feed":
        # What is detected is then the same, without being looked at again each time.
        expected = {"chunks": expected["chunks"]}
    wrong, struck, step = [], Counter[str](), 1
    while True:
        _begin(settings, database, is_fed=mechanism == "detect")
        was_killed, name = killed_at(step, work, settings.workdir)
        if not was_killed:
            break
        struck[name] += 1
        _ended(_started(work))
        if found := differences(content(settings, database), expected):
            wrong.append(f"step {step} ({name}): {', '.join(found)}")
        step += stride
    database.leave()
    return {"kills": sum(struck.values()), "struck": struck, "wrong": wrong}


def two_detectors(root: Path, times: int) -> dict[str, Any]:
    """Two processes that detect at once, from the same inbox into the same database."""
    settings, database, expected = _undisturbed(root)
    wrong = []
    for number in range(times):
        _begin(settings, database, is_fed=True)
        both = [_started(lambda: detect(settings)) for _ in range(2)]
        for child in both:
            _ended(child)
        if found := differences(content(settings, database), expected):
            wrong.append(f"time {number}: {', '.join(found)}")
    database.leave()
    return {"times": times, "wrong": wrong}


def restarts(root: Path, times: int) -> dict[str, Any]:
    """The database ends as by a loss of power, and starts again, while a process detects."""
    settings, database, expected = _undisturbed(root, rows=800, chunk_rows=40)
    rng, wrong, struck = random.Random(times), [], 0
    for number in range(times):
        _begin(settings, database, is_fed=True)
        child = _started(lambda: detect(settings))
        while not _applied(database):
            time.sleep(0.02)
        database.close()
        time.sleep(rng.uniform(0, 0.3))
        lose_power(settings)
        if os.waitpid(child, os.WNOHANG)[0] == 0:
            struck += 1
            _ended(child)
        if found := differences(content(settings, database), expected):
            wrong.append(f"time {number}: {', '.join(found)}")
    database.leave()
    return {"times": times, "struck": struck, "wrong": wrong}


def lose_power(settings: TransactionSettings) -> None:
    """The database ends as by a loss of power, whoever starts it again at once.

    What ``pg_ctl`` waits for is that none runs in the folder: a minute, where one was started.
    """
    postmaster = int((Path(settings.database) / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGQUIT)


def random_kills(root: Path, times: int, seed: int = 0) -> dict[str, Any]:
    """Feed and detector in one process, killed at random and started again until they are done."""
    settings, database, expected = _undisturbed(root, rows=6_000, chunk_rows=100)
    rng, wrong, struck, runs, between = random.Random(seed), [], 0, 0, 0
    began = time.monotonic()
    _begin(settings, database, is_fed=False)
    _ended(_started(lambda: both(settings)))
    longest = time.monotonic() - began
    while struck < times:
        _begin(settings, database, is_fed=False)
        runs += 1
        while True:
            child = _started(lambda: both(settings))
            time.sleep(rng.uniform(0.1, 0.6) * longest)
            if os.waitpid(child, os.WNOHANG)[0]:
                break
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            struck += 1
            between += 0 < _applied(database) < len(expected["applied_chunks"])
            database.close()
        if found := differences(content(settings, database), expected):
            wrong.append(f"run {runs}: {', '.join(found)}")
        database.close()
    database.leave()
    return {"kills": struck, "amid_chunks": between, "runs": runs, "wrong": wrong}


def both(settings: TransactionSettings) -> None:
    with spark_session("sail") as session:
        database, stop = Database.of(settings), threading.Event()
        run_both(session, settings, database, stop, lambda message: None, every=None)


def _applied(database: Database) -> int:
    count = database.run(lambda c: c.execute("SELECT count(*) FROM applied_chunks").fetchone())
    return int(count[0]) if count else 0


def _undisturbed(
    root: Path, *, rows: int = 200, chunk_rows: int = 60
) -> tuple[TransactionSettings, Database, dict[str, Any]]:
    settings = bank_settings(root / "bank", chunk_rows)
    write_source(root / "bank", rows)
    database = Database.of(settings)
    _begin(settings, database, is_fed=True)
    _ended(_started(lambda: detect(settings)))
    expected = content(settings, database)
    assert len(expected["detections"]) > 10
    return settings, database, expected


def _begin(settings: TransactionSettings, database: Database, *, is_fed: bool) -> None:
    empty(settings, database)
    # A connection must not be used by two processes.
    database.close()
    if is_fed:
        _ended(_started(lambda: feed(settings)))


def _started(work: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    with suppress(BaseException):
        work()
        os._exit(0)
    os._exit(1)


def _ended(child: int) -> None:
    _, status = os.waitpid(child, 0)
    assert status == 0, "a process that was not killed failed"


def main(root: Path, what: str, number: int) -> None:
    if what in ("feed", "detect"):
        found = kill_at_steps(root, what, number)
    elif what == "two":
        found = two_detectors(root, number)
    elif what == "random":
        found = random_kills(root, number)
    else:
        found = restarts(root, number)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
