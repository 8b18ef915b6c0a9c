"""Training samples of days from a year of published actions, against a script written by hand.

    python benchmarks/samples.py --scratch /tmp/bench
    python benchmarks/samples.py --scratch /tmp/bench --actions 3000000 --days 1 --repeats 1

30 million actions of 33,000 customers with 50,000 items in 380 days, a third of them of kinds that
make a positive; the last day, or the last 14, with four negatives for each positive. Both read the
same published files and write one Parquet file a day with the same columns: ids, label,
probability, log_q, seen_before, and the time, hour, weekday of the positive. Each run is a fresh
process; contestants take turns. Ours is measured without checks, as the script has none, and its
outputs are compared: the same positives, as many negatives, none acted on.

Prints a table and writes results/samples.json.
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
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from baselines.measure import run_measured

HERE = Path(__file__).parent
LAST = date(2026, 11, 19)
NUM_DAYS, CUSTOMERS, ITEMS, SEED = 380, 33_000, 50_000, 1
CONTESTANTS = {"ours": "samples_ours.py", "polars": "samples_polars.py"}
PACKAGES = ("polars", "pyarrow", "numpy", "pyspark", "pysail")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--actions", type=int, default=30_000_000)
    parser.add_argument("--days", type=int, nargs="+", default=[1, 14])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=300)
    options = parser.parse_args()
    lake = generate(options.scratch / f"samples-{options.actions}", options.actions)
    runs: dict[str, Any] = defaultdict(list)
    for days in options.days:
        for _ in range(options.repeats):
            for name, script in CONTESTANTS.items():
                out = options.scratch / "samples-out" / name
                shutil.rmtree(out, ignore_errors=True)
                command = [sys.executable, str(HERE / "baselines" / script), "--lake", str(lake)]
                command += ["--out", str(out), "--first", str(LAST - timedelta(days=days - 1))]
                command += ["--last", str(LAST)]
                found = run_measured(command, timeout=options.timeout)
                if "error" in found:
                    raise SystemExit(f"{name}: {found['error']}")
                runs[f"{days} days {name}"].append(found)
                print(days, name, json.dumps(found), flush=True)
            check(lake, options.scratch / "samples-out", LAST)
    report(runs, options.actions)


def generate(lake: Path, num_actions: int) -> Path:
    """A lake with published actions; what is there is kept."""
    if (lake / "done").exists():
        return lake
    shutil.rmtree(lake, ignore_errors=True)
    from training_assets.kernels import write_actions
    from training_assets.lake import DataFile, Lake, NewDay, content_of, new_run, publish
    from training_assets.schemas import UNIFIED_ACTIONS

    opened, rng, run = Lake.at(lake), np.random.default_rng(SEED), new_run()
    store = opened.table_store(UNIFIED_ACTIONS.name)
    new = {}
    for n in reversed(range(NUM_DAYS)):
        day = LAST - timedelta(days=n)
        size = num_actions // NUM_DAYS
        number = day.toordinal() - date(1970, 1, 1).toordinal()
        # A tenth of the customers come on a day.
        here = rng.choice(CUSTOMERS, CUSTOMERS // 10, replace=False) + 1
        micros = number * 86_400_000_000 + rng.integers(0, 86_400_000_000, size)
        batch = pa.RecordBatch.from_pydict(
            {
                "dt": pa.array(np.full(size, number, np.int32)).view(pa.date32()),
                "customer_id": rng.choice(here, size),
                "item_id": (ITEMS * rng.random(size) ** 2).astype(np.int32) + 1,
                "action_type": rng.choice(np.array([1, 2, 3], np.int8), size),
                "occurred_at": pa.array(micros).view(pa.timestamp("us", "UTC")),
                "part": np.zeros(size, np.int32),
            }
        )
        (written,) = (
            row for b in write_actions([batch], store.uri(), run) for row in b.to_pylist()
        )
        file = DataFile(written["name"], written["bytes"], written["rows"])
        manifest = {
            "table": UNIFIED_ACTIONS.name,
            "dt": str(day),
            "run": run,
            "inputs": run,
            "settings": {},
            "content": content_of([file]),
        }
        new[day] = NewDay((file,), ((written["low"], written["high"]),), manifest)
    before = opened.snapshot(UNIFIED_ACTIONS.name)
    publish(store, UNIFIED_ACTIONS, new, before, {"run": run})
    (lake / "done").write_text("")
    return lake


def check(lake: Path, out: Path, day: date) -> None:
    """Raise where the contestants' samples of the last day break the contract."""
    ours, theirs = (pl.read_parquet(out / n / f"dt={day}" / "*.parquet") for n in CONTESTANTS)
    keys = ["customer_id", "item_number"]
    positives = [found.filter(label=1.0).select(keys).sort(keys) for found in (ours, theirs)]
    assert positives[0].equals(positives[1].cast(dict(positives[0].schema)))
    assert len(ours) == len(theirs)
    start = day - timedelta(days=365)
    files = sorted((lake / "unified_actions").glob("dt=*/*.parquet"))
    counted = [f for f in files if str(start) <= f.parent.name[3:] <= str(day)]
    seen = pl.scan_parquet(counted).select("customer_id", item_number="item_id")
    for found in (ours, theirs):
        pairs = found.filter(label=0.0).select(keys)
        assert not pairs.is_duplicated().any()
        acted = pairs.lazy().cast({"item_number": pl.Int32}).join(seen, on=keys, how="semi")
        assert acted.collect().is_empty()


def report(runs: dict[str, list[dict[str, Any]]], actions: int) -> None:
    print("\ncase               seconds   samples/s   CPU s   peak GB")
    for name, found in runs.items():
        seconds = statistics.median(run["seconds"] for run in found)
        cpu = statistics.median(run["cpu_s"] for run in found)
        peak = max(run["peak_rss_bytes"] for run in found) / 1e9
        rate = found[0]["rows"] / seconds
        print(f"{name:18} {seconds:7.2f} {rate:11,.0f} {cpu:7.2f} {peak:9.2f}")
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout
    versions = {name: version(name) for name in PACKAGES}
    context = {"commit": commit.strip(), "cores": os.cpu_count(), "machine": platform.machine()}
    content = {**context, "load": os.getloadavg(), "versions": versions, "actions": actions}
    (HERE / "results" / "samples.json").write_text(
        json.dumps({**content, "runs": runs}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
