"""What each table moves: bytes read, shuffled, spilled and written, per action and training row.

    python benchmarks/shuffle_bytes.py --lake L --start-date D --end-date E

Builds the days on Spark on this machine, on a lake of its own over the same raw data, and adds up
the task metrics of Spark's event log. Spark does not know the files that the Python parts of the
tasks read and write: those are counted by the system (``read_chars`` and ``write_chars`` of the
worker processes), together with what passes between Java and Python. Histories are built twice,
because the first time compacts the days of their look-back. Raw JSON goes to
benchmarks/results/shuffle.json, from which cluster_size.py makes the tables of docs/cluster.md.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

RESULTS = Path(__file__).parent / "results"
CONF = {
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "false",
    "spark.eventLog.rolling.enabled": "false",
    "spark.ui.enabled": "false",
    # What Parquet reads in a vectored way is missing in the figures of local files.
    "spark.hadoop.parquet.hadoop.vectored.io.enabled": "false",
}
# Of one task: our name for each figure and where the event log has it.
TASK_METRICS = {
    "spark_read": ("Input Metrics", "Bytes Read"),
    "shuffle": ("Shuffle Write Metrics", "Shuffle Bytes Written"),
    "shuffle_rows": ("Shuffle Write Metrics", "Shuffle Records Written"),
    "spill": ("Disk Bytes Spilled",),
    "spark_written": ("Output Metrics", "Bytes Written"),
    "cpu_ns": ("Executor CPU Time",),
}
PARTS = ("build", "checks")
FIRST_TIME = "customer_history, the first time"
ON_DISK = {FIRST_TIME: "_blocks"}


@dataclass(frozen=True)
class Span:
    """When a table was built, in ms since 1970, and by part what Python workers did meanwhile.

    From ``built`` on it was checked and described.
    """

    start: int
    built: int
    stop: int
    python: dict[str, "PythonWork"]
    peak_mib: int


@dataclass(frozen=True)
class PythonWork:
    """Of the Python workers, which are descendants of this process, so far."""

    read: int = 0
    written: int = 0
    cpu_s: float = 0.0

    @classmethod
    def now(cls) -> "PythonWork":
        total = cls()
        for process in psutil.Process().children(recursive=True):
            try:
                if process.name().startswith("python"):
                    total = total.plus(process)
            except psutil.Error:
                continue
        return total

    def plus(self, process: psutil.Process) -> "PythonWork":
        files, cpu = process.io_counters(), process.cpu_times()
        # Workers that have ended are in the figures of the daemon that forked them.
        spent = cpu.user + cpu.system + cpu.children_user + cpu.children_system
        return PythonWork(
            self.read + files.read_chars, self.written + files.write_chars, self.cpu_s + spent
        )

    def since(self, before: "PythonWork") -> "PythonWork":
        return PythonWork(
            max(0, self.read - before.read),
            max(0, self.written - before.written),
            round(max(0.0, self.cpu_s - before.cpu_s), 2),
        )


def _peak_mib() -> int:
    """The most that any of the Python workers has held."""
    peaks = [0]
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith("python"):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peaks.append(int(status.split("VmHWM:")[1].split()[0]) // 1024)
        except (psutil.Error, OSError, IndexError):
            continue
    return max(peaks)


def build(lake_root: Path, first: date, last: date, master: str, log: Path) -> dict[str, Span]:
    from training_assets import spark_session
    from training_assets.lake import Lake, day_range
    from training_assets.pipeline import build_days
    from training_assets.schemas import CLICKS
    from training_assets.settings import Settings
    from training_assets.sources import source_days
    from training_assets.tables import SPECS, customer_history

    built_at: list[tuple[int, PythonWork]] = []

    def note(step: str) -> None:
        if step == "checks":
            built_at.append((_now(), PythonWork.now()))

    lake, settings = Lake.at(lake_root), replace(Settings.from_env(), lake=str(lake_root))
    days = day_range(first, last)
    start = settings.window_start(first) or date.min
    known = [d for d in source_days(lake, CLICKS).near if start <= d < first]
    wanted, spans = [*known, *days], {}
    conf = {**CONF, "spark.eventLog.dir": log.as_uri()}
    with spark_session("spark", master=master, conf=conf) as spark:
        # What Python workers import is read once, and is not what a table reads.
        spark.range(0, 1000, 1, 8).mapInArrow(_import_in_workers, "id long").collect()
        tables = list(SPECS.items())
        # The first time, a history also makes the blocks of its look-back.
        place = list(SPECS).index(customer_history.SPEC.name)
        tables.insert(place, (FIRST_TIME, customer_history.SPEC))
        for name, spec in tables:
            if spec is customer_history.SPEC:
                wanted = days
            started, before = _now(), PythonWork.now()
            for report in build_days(spark, lake, settings, [spec], wanted, step=note):
                if report.problem:
                    raise SystemExit(report.problem)
            then, built = built_at[-1]
            work = {"build": built.since(before), "checks": PythonWork.now().since(built)}
            spans[name] = Span(started, then, _now(), work, _peak_mib())
    return spans


def _now() -> int:
    return time.time_ns() // 10**6


def _import_in_workers(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import numpy  # noqa: F401
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401

    yield from batches


def task_metrics(log: Path, spans: dict[str, Span]) -> dict[str, dict[str, Counter[str]]]:
    """Sums over the tasks by table, and in it by what builds the table and what checks it."""
    sums = {table: {part: Counter[str]() for part in PARTS} for table in spans}
    for event in _events(log):
        if event["Event"] == "SparkListenerTaskEnd" and "Task Metrics" in event:
            launched = event["Task Info"]["Launch Time"]
            for table, span in spans.items():
                if span.start <= launched <= span.stop:
                    part = "build" if launched < span.built else "checks"
                    _add(sums[table][part], event["Task Metrics"])
    return sums


def _events(log: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(log.iterdir()):
        with file.open() as lines:
            yield from map(json.loads, lines)


def _add(sums: Counter[str], metrics: dict[str, Any]) -> None:
    sums["tasks"] += 1
    for name, (group, *rest) in TASK_METRICS.items():
        sums[name] += metrics[group][rest[0]] if rest else metrics[group]
    peak = metrics.get("Peak Execution Memory", 0)
    sums["peak_memory"] = max(sums["peak_memory"], peak)


def count_rows(root: Path, days: int) -> dict[str, int]:
    """What the bytes are divided by."""

    def table(name: str) -> ds.Dataset:
        return ds.dataset(root / name, format="parquet", partitioning="hive")

    lengths = table("customer_history").to_table(columns=["action_items"])["action_items"]
    return {
        "days": days,
        "actions": table("unified_actions").count_rows(),
        "histories": len(lengths),
        "history_actions": pc.sum(pc.list_value_length(lengths)).as_py() or 0,
        "training_rows": table("training_input").count_rows(),
    }


def folder_bytes(folder: Path) -> int:
    """Of the data files."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and f.name[0] not in "_.")


def where_measured(master: str) -> dict[str, Any]:
    import pyarrow
    import pyspark

    def git(*command: str) -> str:
        here = Path(__file__).parent
        done = subprocess.run(
            ["git", *command], check=False, capture_output=True, text=True, cwd=here
        )
        return done.stdout.strip()

    return {
        "commit": git("rev-parse", "--verify", "HEAD") or None,
        "is_modified": bool(git("status", "--porcelain")),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "master": master,
        "versions": {
            "python": platform.python_version(),
            "pyspark": pyspark.__version__,
            "pyarrow": pyarrow.__version__,
        },
    }


def report(found: dict[str, Any]) -> None:
    rows = found["rows"]
    print(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in rows.items()))
    units = {
        "action": "actions",
        "history action": "history_actions",
        "training row": "training_rows",
    }
    for table, of_table in found["tables"].items():
        heads = "".join(f"{'per ' + unit:>20}" for unit in units)
        print(f"\n{table:26}{'bytes':>16}{heads}")
        for name, value in of_table["bytes"].items():
            each = "".join(f"{value / max(1, rows[key]):20.2f}" for key in units.values())
            print(f"  {name:24}{value:16,}{each}")
        for part in PARTS:
            sums = of_table[part]
            print(
                f"  {part}: {sums.get('tasks', 0)} tasks, {sums.get('cpu_ns', 0) / 1e9:.1f} s of "
                f"CPU in Java, at most {sums.get('peak_memory', 0) / 2**20:.0f} MiB in one; "
                f"{of_table['python_cpu_s'][part]:.1f} s of CPU in Python"
            )
        print(f"  at most {of_table['python_peak_mib']} MiB in one Python worker until here")


def main() -> None:
    from training_assets.settings import Settings

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--start-date", type=date.fromisoformat, required=True)
    parser.add_argument("--end-date", type=date.fromisoformat, required=True)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--results", type=Path, default=RESULTS / "shuffle.json")
    given = parser.parse_args()
    first, last = given.start_date, given.end_date
    scratch = tempfile.TemporaryDirectory(dir=given.lake.absolute().parent)
    with scratch as folder:
        root, log = Path(folder) / "lake", Path(folder) / "log"
        root.mkdir()
        log.mkdir()
        raw = (given.lake / "raw").absolute()
        (root / "raw").symlink_to(raw)
        spans = build(root, first, last, given.master, log)
        tables: dict[str, Any] = {}
        for table, parts in task_metrics(log, spans).items():
            span = spans[table]
            tables[table] = {
                "seconds": (span.stop - span.start) / 1000,
                "python_cpu_s": {part: work.cpu_s for part, work in span.python.items()},
                "python_peak_mib": span.peak_mib,
                "bytes": {
                    "Spark: read": parts["build"]["spark_read"],
                    "Spark: shuffled": parts["build"]["shuffle"],
                    "Spark: spilled": parts["build"]["spill"],
                    "published": folder_bytes(root / ON_DISK.get(table, table)),
                    "Python: read": span.python["build"].read,
                    "Python: written": span.python["build"].written,
                    "checks: read": parts["checks"]["spark_read"] + span.python["checks"].read,
                    "checks: shuffled": parts["checks"]["shuffle"],
                    "checks: spilled": parts["checks"]["spill"],
                },
                **{part: dict(sums) for part, sums in parts.items()},
            }
        found = {
            **where_measured(given.master),
            "check_customers": Settings.from_env().check_customers,
            "first_day": str(first),
            "last_day": str(last),
            "raw_bytes": {
                path.name: folder_bytes(path) for path in sorted(raw.iterdir()) if path.is_dir()
            },
            "rows": count_rows(root, (last - first).days + 1),
            "tables": tables,
        }
    given.results.write_text(json.dumps(found, indent=1) + "\n")
    report(found)


if __name__ == "__main__":
    main()
