"""Features by the platform: the builds of their tables on Sail, without checks.

python benchmarks/baselines/features_ours.py --lake L --out O --first 2026-11-06 --last 2026-11-19

All days in one run, or with ``--one-by-one`` each in its own, as day after day is run.
"""

import argparse
import json
import resource
import shutil
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from training_assets import spark_session
from training_assets.lake import Lake, day_range
from training_assets.provenance import Provenance
from training_assets.settings import Settings
from training_assets.tables import SPECS, Build


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=date.fromisoformat, required=True)
    parser.add_argument("--last", type=date.fromisoformat, required=True)
    parser.add_argument("--lookback", type=int, default=365)
    parser.add_argument("--one-by-one", action="store_true")
    parser.add_argument("--tables", nargs="+", default=["user_features", "item_features"])
    options = parser.parse_args()
    days = day_range(options.first, options.last)
    runs = [[day] for day in days] if options.one_by_one else [days]
    settings = Settings(lake=str(options.lake), engagement="view", lookback_days=options.lookback)
    with spark_session("sail") as spark:
        found = []
        for some in runs:
            lake = Lake.at(options.lake)
            build = Build(spark, settings, Provenance(lake, settings), print)
            found.append(_measured(build, options.tables, some))
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.tables:
        shutil.rmtree(options.out / name, ignore_errors=True)
        shutil.move(options.lake / name, options.out / name)
    seconds = [run[0] for run in found]
    result = {
        "seconds": sum(seconds) / len(seconds),
        "worst": max(seconds),
        "seconds_of_runs": seconds,
        "cpu_s": sum(run[1] for run in found) / len(found),
        "rows": sum(run[2] for run in found),
    }
    print(json.dumps(result))


def _measured(
    build: Build, tables: Sequence[str], days: Sequence[date]
) -> tuple[float, float, int]:
    start, cpu, rows = time.perf_counter(), cpu_seconds(), 0
    for name in tables:
        written = SPECS[name].build(build, days)
        rows += sum(file.rows for new in written.values() for file in new.files)
    return time.perf_counter() - start, cpu_seconds() - cpu, rows


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
