"""Rows of each part by ``temporal_split`` on Sail.

python benchmarks/baselines/splits_ours.py --input F --out O
"""

import argparse
import json
import resource
import time
from pathlib import Path

from training_assets import spark_session
from training_assets.splits import temporal_split


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--exact-rows", action="store_true")
    options = parser.parse_args()
    with spark_session("sail") as spark:
        start, cpu = time.perf_counter(), cpu_seconds()
        frame = spark.read.parquet(str(options.input / "interactions.parquet"))
        parted = temporal_split(frame, exact_rows=options.exact_rows)
        parts = {row["split"]: row["count"] for row in parted.groupBy("split").count().collect()}
        seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    found = {"seconds": seconds, "cpu_s": cpu, "rows": sum(parts.values())}
    print(json.dumps({**found, "parts": dict(sorted(parts.items()))}))


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
