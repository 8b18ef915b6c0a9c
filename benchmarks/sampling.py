"""Training samples a second, against a script written by hand for the same job.

    python benchmarks/sampling.py --scratch /tmp/bench
    python benchmarks/sampling.py --scratch /tmp/bench --repeats 1 --cases "30M uniform"

One day: 200,000 positives of 33,000 customers, 50,000 candidates, four negatives each, and the
actions of the look-back as ``seen``, 30 or 3 million rows in no order, repeats included. Each run
is a fresh process and writes a Parquet file; contestants take turns. Outputs must pass the same
checks: no negative was acted on or comes twice, four for each positive, probabilities add up.

Prints a table and writes results/sampling.json.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from baselines.measure import run_measured

HERE = Path(__file__).parent
DAY = date(2026, 11, 19)
CUSTOMERS, ITEMS, POSITIVES, RATIO, SEED = 33_000, 50_000, 200_000, 4, 1
SIZES = {"30M": 30_000_000, "3M": 3_000_000}
CASES = [f"{size} {strategy}" for size in SIZES for strategy in ("uniform", "popularity")]
CONTESTANTS = {"ours-sail": "sampling_ours.py", "polars": "sampling_polars.py"}
PACKAGES = ("polars", "pyarrow", "numpy", "pyspark", "pysail")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    parser.add_argument("--timeout", type=float, default=300)
    options = parser.parse_args()
    runs: dict[str, Any] = defaultdict(list)
    for case in options.cases:
        size, strategy = case.split()
        folder = generate(options.scratch / f"sampling-{size}", SIZES[size])
        for _ in range(options.repeats):
            for name, script in CONTESTANTS.items():
                out = options.scratch / "sampling-out"
                shutil.rmtree(out, ignore_errors=True)
                command = [sys.executable, str(HERE / "baselines" / script)]
                command += ["--folder", str(folder), "--out", str(out), "--strategy", strategy]
                found = run_measured(command, timeout=options.timeout)
                if "error" in found:
                    raise SystemExit(f"{name}: {found['error']}")
                check(folder, out, strategy)
                runs[f"{case} {name}"].append(found)
                print(case, name, json.dumps(found), flush=True)
    report(runs)


def generate(folder: Path, num_actions: int) -> Path:
    """Positives, seen and candidates; what is there is kept."""
    if (folder / "seen.parquet").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)

    def pairs(size: int) -> pl.DataFrame:
        items = (ITEMS * rng.random(size) ** 2).astype(np.int64) + 1
        customers = rng.integers(1, CUSTOMERS + 1, size)
        return pl.DataFrame({"customer_id": customers, "item_id": items}).select(
            pl.lit(DAY).alias("dt"), "customer_id", "item_id"
        )

    seen = pairs(num_actions)
    counts = seen.group_by("item_id").len("weight")
    items = pl.DataFrame({"item_id": np.arange(1, ITEMS + 1)})
    candidates = items.join(counts, on="item_id", how="left").select(
        pl.lit(DAY).alias("dt"), "item_id", pl.col("weight").fill_null(0).cast(pl.Int64)
    )
    pairs(POSITIVES).write_parquet(folder / "positives.parquet")
    candidates.write_parquet(folder / "candidates.parquet")
    seen.write_parquet(folder / "seen.parquet")
    return folder


def check(folder: Path, out: Path, strategy: str) -> None:
    """Raise where the samples break the contract."""
    samples = pl.read_parquet(out / "*.parquet").select("customer_id", "item_id", "label", "^s.*$")
    negatives = samples.filter(label=0.0)
    positives = pl.read_parquet(folder / "positives.parquet").select("customer_id", "item_id")
    seen = pl.scan_parquet(folder / "seen.parquet").select("customer_id", "item_id")
    pairs = negatives.select("customer_id", "item_id")
    acted_on = pairs.lazy().join(seen, on=["customer_id", "item_id"], how="semi").collect()
    assert acted_on.is_empty(), acted_on.head(3)
    assert pairs.join(positives, on=["customer_id", "item_id"], how="semi").is_empty()
    assert not pairs.is_duplicated().any()
    assert len(negatives) == RATIO * positives.n_unique()
    if strategy == "uniform":
        left = (1 / negatives["sampling_probability"]).round().cast(pl.Int64)
        assert left.is_between(ITEMS - 2_000, ITEMS).all(), left.min()
    assert negatives["sampling_probability"].is_between(0, 0.01, closed="right").all()


def report(runs: dict[str, list[dict[str, Any]]]) -> None:
    print("\ncase                       seconds   samples/s   CPU s   peak GB")
    for name, found in runs.items():
        seconds = statistics.median(run["seconds"] for run in found)
        cpu = statistics.median(run["cpu_s"] for run in found)
        peak = max(run["peak_rss_bytes"] for run in found) / 1e9
        rate = found[0]["rows"] / seconds
        print(f"{name:26} {seconds:7.2f} {rate:11,.0f} {cpu:7.2f} {peak:9.2f}")
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout
    versions = {name: version(name) for name in PACKAGES}
    context = {"commit": commit.strip(), "cores": os.cpu_count(), "machine": platform.machine()}
    content = {**context, "load": os.getloadavg(), "versions": versions, "runs": runs}
    (HERE / "results" / "sampling.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
