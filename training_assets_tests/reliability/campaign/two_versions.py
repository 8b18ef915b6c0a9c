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

from deltalake import DeltaTable

from training_assets.engine import spark_session
from training_assets.errors import TrainingAssetsError
from training_assets.lake import Lake, LocalStore, open_store
from training_assets.lake.log import delta_uri
from training_assets.list_format import SealedParquet
from training_assets.loader import TrainingDays
from training_assets.pipeline import DayReport, build_days, vacuum_lake
from training_assets.provenance import Provenance, find_outdated
from training_assets.settings import Settings
from training_assets.tables import BUILT_FROM
from training_assets_tests.support.tables import SEQUENCE

Version = Literal["a", "b"]
Rows = list[str]
Key = tuple[str, date]
DAYS = [date(2024, 5, 7) + timedelta(days=n) for n in range(4)]
KEYS = [(table, day) for table in SEQUENCE for day in DAYS]
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


@dataclass(frozen=True)
class World:
    """``expected`` is what an undisturbed run gives: rows by version, table and day.

    ``by_delta`` are the rows that any reader of Delta tables sees of it, ``by_loader`` what a model
    would be given, by day.
    """

    between: Path
    expected: Mapping[Version, Mapping[Key, Rows]]
    by_delta: Mapping[Version, Mapping[Key, Rows]]
    by_loader: Mapping[Version, Mapping[date, Rows]]

    @classmethod
    def make(cls, scratch: Path, spark: Any, *, same_actions: bool = False) -> "World":
        between = scratch / f"between-{same_actions}"
        undisturbed = scratch / f"undisturbed-{same_actions}"
        put_raw(between, "a", same_actions=same_actions)
        build(spark, str(between))
        put_raw(between, "b", same_actions=same_actions)
        shutil.copytree(between, undisturbed)
        build(spark, str(undisturbed))
        lakes: dict[Version, str] = {"a": str(between), "b": str(undisturbed)}
        expected = {version: published(lake) for version, lake in lakes.items()}
        assert all(expected["a"][key] != expected["b"][key] for key in KEYS)
        return cls(
            between,
            expected,
            {version: read_by_delta(lake) for version, lake in lakes.items()},
            {version: read_by_loader(lake) for version, lake in lakes.items()},
        )

    def copy(self, root: str) -> None:
        """To a local folder, or to an empty place in a store."""
        store = open_store(root)
        if isinstance(store, LocalStore):
            # With the modification times, so that what is up to date stays so.
            shutil.rmtree(store.root, ignore_errors=True)
            shutil.copytree(self.between, store.root)
            return
        files = LocalStore(self.between)
        store.put_all({entry.path: files.read(entry.path) for entry in files.list()})

    def versions_of(self, root: str) -> dict[Key, Version | None]:
        """Of which version each published day is, whole, with its manifest; None for neither."""
        return {key: self._version_of(rows, key) for key, rows in published(root).items()}

    def _version_of(self, rows: Rows, key: Key) -> Version | None:
        return next((v for v, expected in self.expected.items() if rows == expected[key]), None)

    def num_new(self, root: str) -> int:
        """Days of all tables that are those of "b"."""
        return sum(version == "b" for version in self.versions_of(root).values())

    def judge(self, root: str) -> tuple[int, int]:
        """(rows lost, days torn) of all published days of a lake at rest."""
        lost = torn = 0
        for key, rows in published(root).items():
            if self._version_of(rows, key) is None:
                torn += 1
                lost += max(0, len(self.expected["a"][key]) - len(rows))
        return lost, torn

    def is_undisturbed(self, root: str) -> bool:
        """Whether all is of version "b", by every reader, and nothing is out of date."""
        is_new = self.num_new(root) == len(KEYS)
        found = find_outdated(Provenance(Lake.at(root), _settings(root)), BUILT_FROM)
        is_read = read_by_delta(root) == self.by_delta["b"]
        return is_new and is_read and not found.days


def published(root: str) -> dict[Key, Rows]:
    """Rows of each day with those of its quarantine, in one order; none for one that is absent.

    What does not fit its checksums, or its manifest, is an error.
    """
    lake, found = Lake.at(root), {}
    for table, day in KEYS:
        snapshot, uris = lake.snapshot(table), []
        if day in snapshot.files:
            beside = snapshot.store.list(snapshot.quarantine_path(day))
            uris = [*snapshot.uris(day), *(snapshot.store.uri(entry.path) for entry in beside)]
            assert snapshot.manifest(day)["content"] == snapshot.content(day)
        found[table, day] = sorted(row for uri in uris for row in _rows(uri))
    return found


def _rows(uri: str) -> Rows:
    kind = uri.rpartition(".")[2]
    return [f"{kind} {list(row.items())}" for row in SealedParquet(uri).read().to_pylist()]


def read_by_delta(root: str) -> dict[Key, Rows]:
    """What a reader that knows nothing of this project finds in each day, in one version."""
    lake, found = Lake.at(root), {key: [] for key in KEYS}
    for table in SEQUENCE:
        delta = DeltaTable(delta_uri(lake.table_store(table)))
        for row in delta.to_pyarrow_dataset().to_table().to_pylist():
            day = date.fromisoformat(str(row["dt"]))
            found[table, day].append(str(sorted(row.items(), key=lambda item: item[0])))
    return {key: sorted(rows) for key, rows in found.items()}


def read_by_loader(root: str) -> dict[date, Rows]:
    """What a model would be given of each day: items, labels and histories, in one order."""
    found: dict[date, Rows] = {day: [] for day in DAYS}
    for batch in TrainingDays(root, batch_size=64, shuffle="none"):
        columns = (batch.impressions, batch.labels, batch.actions, batch.action_types)
        found[batch.dt] += [str([v.tolist() for v in row]) for row in zip(*columns, strict=True)]
    return {day: sorted(rows) for day, rows in found.items()}


def num_left_after_vacuum(root: str) -> int:
    """Files that no version names, once all that is not of the newest version has been removed."""
    vacuum_lake(Lake.at(root), _settings(root, keep_versions_days=0))
    return num_left(root)


def num_left(root: str) -> int:
    """Files of all tables that the newest version does not name."""
    left = 0
    for table in SEQUENCE:
        now = Lake.at(root).snapshot(table)
        named = {file.name for files in now.files.values() for file in files}
        named |= {now.manifest_path(day) for day in now.days}
        # What the watches count stands beside it.
        named |= {path.removesuffix(".json") + ".profile.json" for path in named}
        folders = tuple(f"{now.quarantine_path(day)}/" for day in now.days)
        for entry in [*now.store.list(), *now.store.unfinished()]:
            is_named = entry.path in named or entry.path.startswith(("_delta_log/", *folders))
            left += not is_named
    return left


def _settings(root: str, **options: Any) -> Settings:
    return Settings(lake=root, history_length=20, min_valid_share=0, **options)


def build(
    spark: Any,
    root: str,
    days: Sequence[date] = DAYS,
    progress: Callable[[str], None] = lambda message: None,
    step: Callable[[str], None] = lambda name: None,
) -> list[DayReport]:
    specs, lake = list(SEQUENCE.values()), Lake.at(root)
    return list(build_days(spark, lake, _settings(root), specs, days, progress, step))


@contextmanager
def child(
    root: str,
    engine: str,
    days: Sequence[date] = DAYS,
    fatal: tuple[str, str] | None = None,
    log: Path = Path(os.devnull),
) -> Iterator[tuple[Any, Any]]:
    """A process that builds the days; yields it, and what it tells.

    It tells "ready" and then waits for a word; in the end what it said and the days' problems. It
    kills itself when it begins the ``fatal`` step, of a table.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    here, there = context.Pipe()
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    arguments = (there, environment, root, engine, days, fatal, log)
    process = context.Process(target=_build, args=arguments, daemon=True)
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        process.kill()
        process.join()
        here.close()


def _build(
    told: Any,
    environment: Mapping[str, str],
    root: str,
    engine: str,
    days: Sequence[date],
    fatal: tuple[str, str] | None,
    log: Path,
) -> None:
    os.environ.update(environment)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
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
            reports = build(spark, root, days, said.append, _killing(fatal))
            problems = [report.problem for report in reports if report.problem]
        except TrainingAssetsError as error:
            problems = [str(error)]
        told.send((said, problems))


def _killing(fatal: tuple[str, str] | None) -> Callable[[str], None]:
    """Each table begins with the step "write"."""
    tables = list(reversed(SEQUENCE))
    table = ""

    def begin(step: str) -> None:
        nonlocal table
        if step == "write":
            table = tables.pop()
        if (table, step) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    return begin
