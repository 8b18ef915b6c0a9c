"""Build the same days on Sail and on Apache Spark and compare every row of all three tables.

    python benchmarks/compare_engines.py --lake data/lake --start-date D --end-date E

Each engine works in a process and on a copy of the raw data of its own; the given lake is only
read. Prints rows and seconds by table and engine; exit code 1 where a row differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import pyarrow.dataset as ds

ENGINES = ("sail", "spark")
TABLES = ("unified_actions", "customer_history", "training_input")


def build(engine: str, root: Path, first: date, last: date) -> dict[str, float]:
    """Seconds by step on one engine; runs in the process that ``main`` starts for it."""
    from training_assets import spark_session
    from training_assets.lake import Lake, day_range
    from training_assets.pipeline import build_days
    from training_assets.raw import raw_days
    from training_assets.schemas import CLICKS, TABLES, UNIFIED_ACTIONS
    from training_assets.settings import Settings

    lake, settings = Lake(root), Settings(lake=root)
    days = day_range(first, last)
    known = [d for d in raw_days(root, CLICKS) if first - timedelta(days=365) <= d < first]
    seconds = {}
    started = time.monotonic()
    with spark_session(engine) as spark:
        seconds["start"] = time.monotonic() - started
        for step, tables, span in (
            ("look_back", [UNIFIED_ACTIONS], known),
            ("days", list(TABLES.values()), days),
        ):
            started = time.monotonic()
            for report in build_days(spark, lake, settings, tables, span) if span else ():
                if report.problem:
                    raise SystemExit(f"{engine}: {report.problem}")
            seconds[step] = time.monotonic() - started
    return {step: round(value, 2) for step, value in seconds.items()}


def rows(root: Path, table: str) -> list[str]:
    """All rows with their day, in an order that does not depend on files."""
    found = ds.dataset(root / table, format="parquet", partitioning="hive").to_table()
    names = sorted(found.column_names)
    return sorted(repr(tuple(row[name] for name in names)) for row in found.to_pylist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--start-date", type=date.fromisoformat, required=True)
    parser.add_argument("--end-date", type=date.fromisoformat, required=True)
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        print(json.dumps(build(given.engine, given.lake, given.start_date, given.end_date)))
        return
    with tempfile.TemporaryDirectory(dir=given.lake.absolute().parent) as scratch:
        roots = {}
        for engine in ENGINES:
            roots[engine] = Path(scratch) / engine
            roots[engine].mkdir()
            (roots[engine] / "raw").symlink_to((given.lake / "raw").absolute())
            span = ["--start-date", str(given.start_date), "--end-date", str(given.end_date)]
            done = subprocess.run(
                [sys.executable, __file__, "--lake", roots[engine], "--engine", engine, *span],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            print(engine, done.stdout.strip().splitlines()[-1])
        is_same = True
        for table in TABLES:
            one, other = (rows(roots[engine], table) for engine in ENGINES)
            is_same &= one == other
            print(f"{table}: {len(one):,} rows, {'identical' if one == other else 'DIFFERENT'}")
    sys.exit(not is_same)


if __name__ == "__main__":
    main()
