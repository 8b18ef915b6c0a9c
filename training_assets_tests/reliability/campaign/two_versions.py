"""A tiny lake whose raw data changes from one version to another, and what is published of it.

Four days of which each table differs between version "a" and "b", with rows for the quarantine.
``World`` has a lake as it is between the versions: all days published from "a", raw data of "b".
Faults strike while "b" is built in copies of it; a published day must then be of "a" or of "b".
"""

import faulthandler
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from training_assets.engine import spark_session
from training_assets.errors import TrainingAssetsError
from training_assets.lake import (
    Lake,
    data_files,
    quarantine_files,
)
from training_assets.pipeline import DayReport, build_days
from training_assets.provenance import content_hash
from training_assets.schemas import QUARANTINED_BY, TABLES
from training_assets.settings import Settings

Version = Literal["a", "b"]
Rows = list[str]
DAYS = [date(2024, 5, 7) + timedelta(days=n) for n in range(4)]
KEYS = [(table, day) for table in TABLES for day in DAYS]
SPARK_CONF = {
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    # Compiling takes longer than what there is to compute.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def put_raw(root: Path, version: Version, *, same_actions: bool = False) -> None:
    """Raw days in three formats; "b" has other items and customers, and more of them.

    With ``same_actions`` the valid actions of "b" are those of "a", and only the faults differ, so
    that no history depends on which version of an earlier day it was built from.
    """
    shutil.rmtree(root / "raw", ignore_errors=True)
    is_new = version == "b"
    shift, count = (50, 8) if is_new and not same_actions else (0, 6)
    for day in DAYS:
        clicks = [f"{n % 4 + shift},{n + shift + 1}" for n in range(count)] + [",5", "1,0"]
        lines = ["customer_id,item_id", *clicks, *(["2,0"] if is_new else [])]
        _put(root, "clicks", day, "clicks.csv", lines)
        carts = [{"customer_id": n + shift, "config_id": n + 1} for n in range(count)]
        _put(root, "add_to_carts", day, "carts.jsonl", [*map(json.dumps, carts), "{broken"])
        orders = [{"customer_id": n + shift, "config_id": n + 9} for n in range(count // 2)]
        _put(root, "previous_orders", day, "orders.jsonl", list(map(json.dumps, orders)))
        shown = [
            {"customer_id": n + shift, "ranking_id": f"{version}-{n}", "impressions": _items(n)}
            for n in range(is_new, count)
        ]
        _put(root, "impressions", day, "shown.jsonl", list(map(json.dumps, shown)))


def _items(n: int) -> list[dict[str, Any]]:
    # The last one is not valid.
    return [{"item_id": item, "is_order": item == n} for item in (n, n + 1, 0)][n == 0 :]


def _put(root: Path, table: str, day: date, name: str, lines: list[str]) -> None:
    column = "order_date" if table == "previous_orders" else "dt"
    path = root / "raw" / table / f"{column}={day}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def rows_of(folder: Path, table: str) -> Rows:
    """Rows of a day folder and of its quarantine, in one order; none for a day that is absent."""
    found = [_rows(file) for file in data_files(folder)]
    for source in QUARANTINED_BY[table]:
        found += [_rows(file) for file in quarantine_files(folder, source)]
    return sorted(row for rows in found for row in rows)


def _rows(file: Path) -> Rows:
    return [f"{file.suffix} {list(row.items())}" for row in pq.ParquetFile(file).read().to_pylist()]


@dataclass(frozen=True)
class World:
    """``expected`` is what an undisturbed run gives: rows by version, table and day."""

    between: Path
    expected: Mapping[Version, Mapping[tuple[str, date], Rows]]

    @classmethod
    def make(cls, scratch: Path, spark: Any, *, same_actions: bool = False) -> "World":
        between = scratch / f"between-{same_actions}"
        undisturbed = scratch / f"undisturbed-{same_actions}"
        expected: dict[Version, dict[tuple[str, date], Rows]] = {}
        put_raw(between, "a", same_actions=same_actions)
        build(spark, between)
        expected["a"] = published(between)
        put_raw(between, "b", same_actions=same_actions)
        shutil.copytree(between, undisturbed)
        build(spark, undisturbed)
        expected["b"] = published(undisturbed)
        assert all(expected["a"][key] != expected["b"][key] for key in KEYS)
        return cls(between, expected)

    def copy(self, target: Path) -> Path:
        """With the modification times, so that what is up to date stays so."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.between, target)
        return target

    def version_of(self, root: Path, table: str, day: date) -> Version | None:
        """Of which version a published day is, whole, with its manifest; None for neither."""
        folder = Lake(root).day_path(table, day)
        rows = rows_of(folder, table)
        for version, expected in self.expected.items():
            if rows == expected[table, day]:
                manifest = Lake(root).manifest(table, day)
                is_whole = manifest["content"] == content_hash(folder)
                return version if is_whole else None
        return None

    def judge(self, root: Path) -> tuple[int, int]:
        """(rows lost, days torn) of all published days of a lake at rest."""
        lost = torn = 0
        for table, day in KEYS:
            if self.version_of(root, table, day) is None:
                torn += 1
                rows = rows_of(Lake(root).day_path(table, day), table)
                lost += max(0, len(self.expected["a"][table, day]) - len(rows))
        return lost, torn

    def is_undisturbed(self, root: Path) -> bool:
        """Whether all is of version "b", and nothing is left of any run."""
        left = [*(root / "_staging").iterdir(), *root.glob("_retired/*/*")]
        return not left and all(self.version_of(root, *key) == "b" for key in KEYS)


def published(root: Path) -> dict[tuple[str, date], Rows]:
    return {key: rows_of(Lake(root).day_path(*key), key[0]) for key in KEYS}


def build(
    spark: Any,
    root: Path,
    days: Sequence[date] = DAYS,
    progress: Callable[[str], None] = lambda message: None,
) -> list[DayReport]:
    settings = Settings(lake=root, history_length=20)
    return list(build_days(spark, Lake(root), settings, list(TABLES.values()), days, progress))


@contextmanager
def child(
    root: Path, engine: str, days: Sequence[date] = DAYS, host: str = ""
) -> Iterator[tuple[Any, Any]]:
    """A process that builds the days; yields it, and what it tells.

    It tells "ready" and then waits for a word; in the end what it said and the days' problems.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    here, there = context.Pipe()
    process = context.Process(target=_build, args=(there, root, engine, days, host), daemon=True)
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        process.kill()
        process.join()
        here.close()


def _build(told: Any, root: Path, engine: str, days: Sequence[date], host: str) -> None:
    if host:
        _be_host(host)
    os.dup2(os.open(root.parent / "child.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    # Where it stands, for whoever finds it hanging.
    faulthandler.register(signal.SIGUSR1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    conf = SPARK_CONF if engine == "spark" else {}
    with spark_session(engine, master="local[2]", memory="1g", conf=conf) as spark:  # type: ignore[arg-type]
        # After the session, which may have a handler of its own that also ends its jobs.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
        if engine == "spark":
            spark.range(1).collect()
        told.send("ready")
        told.recv()
        said: list[str] = []
        try:
            reports = build(spark, root, days, said.append)
            problems = [report.problem for report in reports if report.problem]
        except TrainingAssetsError as error:
            problems = [str(error)]
        told.send((said, problems))


def _be_host(name: str) -> None:
    """Have another host name: really so where that is allowed, else as far as Python knows."""
    import ctypes
    import socket

    new_host_names = 0x04000000
    if ctypes.CDLL(None).unshare(new_host_names) == 0:
        socket.sethostname(name)
    else:
        socket.gethostname = lambda: name
