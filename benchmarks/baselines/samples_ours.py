"""Samples by the platform: the build of ``training_samples`` on Sail, without checks.

python benchmarks/baselines/samples_ours.py --input L --out O --first 2026-11-06 --last 2026-11-19
"""

import argparse
import json
import resource
import shutil
import time
from datetime import date
from pathlib import Path

from training_assets import spark_session
from training_assets.lake import Lake, day_range
from training_assets.provenance import Provenance
from training_assets.settings import Settings
from training_assets.tables import SPECS, Build


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first", type=date.fromisoformat, required=True)
    parser.add_argument("--last", type=date.fromisoformat, required=True)
    options = parser.parse_args()
    spec, settings = SPECS["training_samples"], Settings(lake=str(options.input))
    days = day_range(options.first, options.last)
    with spark_session("sail") as spark:
        lake = Lake.at(options.input)
        build = Build(spark, settings, Provenance(lake, settings), print)
        start, cpu = time.perf_counter(), cpu_seconds()
        written = spec.build(build, days)
        seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    folder = options.input / spec.name
    options.out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, options.out)
    rows = sum(file.rows for new in written.values() for file in new.files)
    print(json.dumps({"seconds": seconds, "cpu_s": cpu, "rows": rows}))


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
