"""Rows of each part as they are commonly cut in Polars: sorted, then by rank.

python benchmarks/baselines/splits_polars.py --input F --out O --threads 2
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path

PARTS = ("train", "validation", "test")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--exact-rows", action="store_true")
    parser.add_argument("--threads", default="2")
    options = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = options.threads
    import polars as pl

    start, cpu = time.perf_counter(), cpu_seconds()
    frame = pl.read_parquet(options.input / "interactions.parquet")
    frame = frame.sort("occurred_at", "interaction_id")
    cuts = [len(frame) * 700 // 1000, len(frame) * 800 // 1000]
    if options.exact_rows:
        part = pl.int_range(pl.len())
        edges = [pl.lit(cut) for cut in cuts]
    else:
        part = pl.col("occurred_at")
        edges = [pl.lit(frame["occurred_at"][cut]) for cut in cuts]
    name = pl.when(part < edges[0]).then(0).when(part < edges[1]).then(1).otherwise(2)
    counts = frame.with_columns(split=name).group_by("split").len()
    parts = {PARTS[number]: rows for number, rows in counts.iter_rows()}
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    found = {"seconds": seconds, "cpu_s": cpu, "rows": len(frame)}
    print(json.dumps({**found, "parts": dict(sorted(parts.items()))}))


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
