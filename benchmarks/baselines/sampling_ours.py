"""Negatives by the platform: ``training_assets.sampling`` on Sail, or Apache Spark.

python benchmarks/baselines/sampling_ours.py --input F --out O --strategy uniform --engine sail
"""

import argparse
import json
import resource
import time
from pathlib import Path

from training_assets import spark_session
from training_assets.sampling import sample_negatives


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--strategy", required=True)
    parser.add_argument("--engine", default="sail")
    options = parser.parse_args()
    with spark_session(options.engine) as spark:
        start, cpu = time.perf_counter(), cpu_seconds()
        inputs = [
            spark.read.parquet(str(options.input / f"{name}.parquet"))
            for name in ("positives", "seen", "candidates")
        ]
        samples = sample_negatives(*inputs, strategy=options.strategy)
        samples.write.parquet(str(options.out), compression="zstd")
        seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
        rows = spark.read.parquet(str(options.out)).count()
    print(json.dumps({"seconds": seconds, "cpu_s": cpu, "rows": rows}))


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
