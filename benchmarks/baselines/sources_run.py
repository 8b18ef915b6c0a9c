"""One contestant of ``sources.py`` in a process of its own: what it took, as a line of JSON.

python benchmarks/baselines/sources_run.py ours --lake L --table unified_actions --first D --last D
python benchmarks/baselines/sources_run.py pyarrow --file clicks.csv
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("contestant", choices=["ours", "read", "pyarrow", "polars"])
    parser.add_argument("--lake", type=Path)
    parser.add_argument("--table", default="unified_actions")
    parser.add_argument("--first", type=date.fromisoformat)
    parser.add_argument("--last", type=date.fromisoformat)
    parser.add_argument("--file", type=Path)
    options = parser.parse_args()
    run = {"ours": ours, "read": read, "pyarrow": with_pyarrow, "polars": with_polars}
    print(json.dumps(run[options.contestant](options)))


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Days of a table from raw files to published, with all checks, on Sail."""
    from training_assets import spark_session
    from training_assets.lake import Lake, day_range
    from training_assets.pipeline import build_days
    from training_assets.settings import Settings
    from training_assets.tables import SPECS

    days = day_range(options.first, options.last)
    settings = Settings(lake=str(options.lake))
    with spark_session("sail") as spark:
        spark.range(1).collect()

        def build() -> dict[str, Any]:
            reports = list(
                build_days(spark, Lake.at(options.lake), settings, [SPECS[options.table]], days)
            )
            if problems := [report.problem for report in reports if report.problem]:
                raise SystemExit(problems[0])
            return {"steps": reports[0].seconds}

        found = timed(build)
    published = Lake.at(options.lake).snapshot(options.table).files
    return {**found, "rows": sum(file.rows for day in days for file in published[day])}


def read(options: argparse.Namespace) -> dict[str, Any]:
    """Raw clicks read, judged and counted on Sail; nothing is written."""
    from training_assets import spark_session
    from training_assets.lake import Lake
    from training_assets.schemas import CLICKS
    from training_assets.sources import find_raw_days

    with spark_session("sail") as spark:
        spark.range(1).collect()

        def count() -> dict[str, Any]:
            raw = find_raw_days(Lake.at(options.lake), CLICKS, [options.first])
            return {"rows": raw.read_valid(spark).count(), "parts": len(raw.tasks)}

        return timed(count)


def with_pyarrow(options: argparse.Namespace) -> dict[str, Any]:
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    of = {
        ".csv": pyarrow.csv.read_csv,
        ".jsonl": pyarrow.json.read_json,
        ".parquet": pyarrow.parquet.read_table,
    }
    return timed(lambda: {"rows": len(of[options.file.suffix](options.file))})


def with_polars(options: argparse.Namespace) -> dict[str, Any]:
    import polars as pl

    of: dict[str, Callable[..., pl.DataFrame]] = {
        ".csv": pl.read_csv,
        ".jsonl": pl.read_ndjson,
        ".parquet": pl.read_parquet,
    }
    return timed(lambda: {"rows": len(of[options.file.suffix](options.file))})


def timed(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    start, cpu = time.perf_counter(), cpu_seconds()
    found = work()
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    return {**found, "seconds": round(seconds, 3), "cpu_s": round(cpu, 3)}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
