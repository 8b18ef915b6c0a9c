"""Build the same days on several engines and compare every row of all three tables.

    python benchmarks/compare_engines.py --lake data/lake --start-date D --end-date E
    python benchmarks/compare_engines.py … --engines sail spark cluster connect

`cluster` is a standalone cluster on this machine, `connect` a Spark Connect server on it; see
examples/local_cluster.py. Each engine works in a process and on a lake of its own over the same
raw data; the given lake is only read. History length, look-back and the like are those of the
TRAINING_ASSETS_ variables. Prints seconds by table and engine, and rows; exit code 1 where a row
differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path

from deltalake import DeltaTable

ENGINES = ("sail", "spark", "cluster", "connect")
TABLES = ("unified_actions", "customer_history", "training_input")
ON_CLUSTER = ("cluster", "connect")


def build(root: Path, first: date, last: date) -> dict[str, float]:
    """Seconds by step on the engine of the environment; runs in a process of its own."""
    from training_assets.engine.resource import SparkResource
    from training_assets.lake import Lake, day_range
    from training_assets.pipeline import build_days
    from training_assets.schemas import CLICKS
    from training_assets.settings import Settings
    from training_assets.sources import source_days
    from training_assets.tables import SPECS

    lake, settings = Lake.at(root), replace(Settings.from_env(), lake=str(root))
    days = day_range(first, last)
    start = settings.window_start(first) or date.min
    known = [d for d in source_days(lake, CLICKS).near if start <= d < first]
    wanted, seconds = [*known, *days], {}
    started = time.monotonic()
    with SparkResource.from_env().session() as spark:
        seconds["start"] = time.monotonic() - started
        for name in TABLES:
            if name == "customer_history":
                wanted = days
            started = time.monotonic()
            for report in build_days(spark, lake, settings, [SPECS[name]], wanted):
                if report.problem:
                    raise SystemExit(report.problem)
            seconds[name] = time.monotonic() - started
    return {step: round(value, 2) for step, value in seconds.items()}


def rows(root: Path, table: str) -> list[str]:
    """All rows with their day, in an order that does not depend on files."""
    found = DeltaTable(root / table).to_pyarrow_table()
    names = sorted(found.column_names)
    return sorted(repr(tuple(row[name] for name in names)) for row in found.to_pylist())


def start_cluster(given: argparse.Namespace):
    """The cluster that the engines need, if they do, as a context."""
    if not set(ON_CLUSTER) & set(given.engines):
        return nullcontext()
    sys.path.append(str(Path(__file__).parents[1] / "examples"))
    from local_cluster import local_cluster

    conf = dict(setting.split("=", 1) for setting in given.conf)
    size = {"workers": given.workers, "memory_mb": given.memory_mb}
    return local_cluster(**size, python=given.python, conf=conf)


def variables(engine: str, cluster) -> dict[str, str]:
    """What selects the engine."""
    if engine not in ON_CLUSTER:
        return {"TRAINING_ASSETS_ENGINE": engine}
    if engine == "connect":
        return {"TRAINING_ASSETS_ENGINE": "remote", "TRAINING_ASSETS_REMOTE": cluster.remote}
    master = {"TRAINING_ASSETS_ENGINE": "spark", "TRAINING_ASSETS_MASTER": cluster.master}
    return {**master, **cluster.env}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--start-date", type=date.fromisoformat, required=True)
    parser.add_argument("--end-date", type=date.fromisoformat, required=True)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["sail", "spark"])
    parser.add_argument("--workers", type=int, default=2, help="of the cluster")
    parser.add_argument("--memory-mb", type=int, default=1024, help="of an executor of the cluster")
    parser.add_argument("--python", default=sys.executable, help="of the workers of the cluster")
    parser.add_argument("--conf", nargs="+", default=[], help="of the cluster: NAME=VALUE …")
    parser.add_argument("--build", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        print(json.dumps(build(given.lake, given.start_date, given.end_date)))
        return
    scratch = tempfile.TemporaryDirectory(dir=given.lake.absolute().parent)
    with scratch as folder, start_cluster(given) as cluster:
        roots = {}
        for engine in given.engines:
            roots[engine] = Path(folder) / engine
            roots[engine].mkdir()
            (roots[engine] / "raw").symlink_to((given.lake / "raw").absolute())
            span = ["--start-date", str(given.start_date), "--end-date", str(given.end_date)]
            done = subprocess.run(
                [sys.executable, __file__, "--build", "--lake", roots[engine], *span],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **variables(engine, cluster)},
                check=False,
            )
            if done.returncode:
                sys.exit(f"{engine}: the build failed")
            print(f"{engine:8}", done.stdout.strip().splitlines()[-1], flush=True)
        is_same = True
        for table in TABLES:
            first, *others = given.engines
            expected = rows(roots[first], table)
            different = [engine for engine in others if rows(roots[engine], table) != expected]
            is_same &= not different
            outcome = f"DIFFERENT on {', '.join(different)}" if different else "identical"
            print(f"{table}: {len(expected):,} rows, {outcome}")
    sys.exit(not is_same)


if __name__ == "__main__":
    main()
