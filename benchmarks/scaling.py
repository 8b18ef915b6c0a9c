"""What the cost of a run depends on: look-back, number of days, a hot customer; and a daily run.

    python benchmarks/scaling.py --scratch /tmp/bench --cases lookback days hot daily

Needs the 30M lake of compare_scripts.py in the same scratch folder for ``days`` and ``daily``;
generates what else it needs (two years of actions; a hot customer) and keeps it. Every run is a
fresh process, variants take turns within each repeat. Writes results/scaling.json with every run.

lookback  one day from a lake of two years, 90, 365 and 730 days back: histories and training rows
          alone, and the whole daily run as below
days      1, 7, 14 and 28 days in one run
hot       customers with normal histories and one with 5 million actions, 1 million of them in one
          day: from raw to training rows, on Sail and on Spark with 2 GB of driver heap
daily     ``training-assets run`` of one new day on a lake of a year: all tables, all checks. The
          day before is run before it, not timed: a block of actions is due once in 32 days, and
          the lake may lack the newest one
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from baselines.measure import run_measured
from compare_scripts import HERE, LAST, RESULTS, about, build_actions, generate_lake

OURS = [sys.executable, str(HERE / "baselines" / "ours.py")]
HOT = {"customers": 1_100, "actions": 1_000_000, "days": 380, "hot_actions": 5_000_000}
SEED = 1
TWO_YEARS = {"customers": 11_000, "actions": 20_000_000, "days": 745}


def build_missing(root: Path, num_days: int) -> None:
    days = [LAST - timedelta(days=n) for n in reversed(range(num_days))]
    missing = [day for day in days if not (root / "unified_actions" / f"dt={day}").exists()]
    if missing:
        build_actions(root, missing)


def ours(lake: Path, out: Path, days: int, *more: str) -> dict[str, Any]:
    """Histories and training rows of the last days, published without checks."""
    shutil.rmtree(out, ignore_errors=True)
    first = LAST - timedelta(days=days - 1)
    span = ["--first", str(first), "--last", str(LAST), "--output", "published"]
    command = [*OURS, "--lake", str(lake), "--out", str(out), *span, *more]
    found = run_measured(command, timeout=1800)
    shutil.rmtree(out, ignore_errors=True)
    return found


def case_lookback(scratch: Path) -> dict[str, Any]:
    lake = scratch / "lake-two-years"
    generate_lake(lake, TWO_YEARS["customers"], TWO_YEARS["actions"], TWO_YEARS["days"], SEED)
    build_missing(lake, TWO_YEARS["days"])
    variants = {}
    for n in (90, 365, 730):
        more = ("--engine", "sail", "--lookback", str(n))
        variants[f"look-back {n} days, built alone"] = lambda more=more: ours(
            lake, scratch / "out", 1, *more
        )
        variants[f"look-back {n} days, daily run"] = lambda n=n: daily(lake, scratch / "daily", n)
    return variants


def case_days(scratch: Path) -> dict[str, Any]:
    lake = scratch / "lake-30M"
    return {
        f"{n} days": lambda n=n: ours(lake, scratch / "out", n, "--engine", "sail")
        for n in (1, 7, 14, 28)
    }


def case_hot(scratch: Path) -> dict[str, Any]:
    lake = scratch / "lake-hot"
    generate_lake(lake, HOT["customers"], HOT["actions"], HOT["days"], SEED)
    add_hot_customer(lake)

    def run(engine: str) -> dict[str, Any]:
        more = ["--engine", engine, "--memory", "2g", "--from-raw", str(HOT["days"])]
        return ours(lake, scratch / "out", 1, *more)

    return {
        f"hot customer, {engine}": lambda engine=engine: run(engine) for engine in ("sail", "spark")
    }


def add_hot_customer(lake: Path) -> None:
    """Customer 1 clicks 1 million times on one day and 4 million times on the others."""
    rng = np.random.default_rng(1)
    days = [LAST - timedelta(days=n) for n in range(HOT["days"])]
    for number, day in enumerate(days):
        path = lake / "raw" / "clicks" / f"dt={day}" / "hot.parquet"
        if path.exists():
            continue
        rows = 1_000_000 if number == 30 else (HOT["hot_actions"] - 1_000_000) // (len(days) - 1)
        start = int((day - date(1970, 1, 1)).total_seconds()) * 1_000_000
        times = start + rng.integers(0, 86_400_000_000, rows)
        columns = {
            "customer_id": pa.array(np.ones(rows, np.int64)),
            "item_id": pa.array(rng.integers(1, 50_000, rows).astype(np.int32)),
            "click_time": pa.array(times).cast(pa.timestamp("us", "UTC")),
        }
        pq.write_table(pa.table(columns), path, compression="zstd")
    shown = {"item_id": 7, "is_order": False}
    ranking = {"ranking_id": ["hot"], "customer_id": [1], "impressions": [[shown]]}
    schema = pa.schema(
        [
            ("ranking_id", pa.string()),
            ("customer_id", pa.int64()),
            (
                "impressions",
                pa.list_(pa.struct([("item_id", pa.int32()), ("is_order", pa.bool_())])),
            ),
        ]
    )
    folder = lake / "raw" / "impressions" / f"dt={LAST}"
    pq.write_table(pa.table(ranking, schema=schema), folder / "hot.parquet")


def case_daily(scratch: Path) -> dict[str, Any]:
    lake = scratch / "lake-30M"
    return {"daily run": lambda: daily(lake, scratch / "daily")}


def daily(lake: Path, root: Path, lookback: int = 365) -> dict[str, Any]:
    """The newest day from raw to published, by the command; the days before it are there."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / "raw").symlink_to(lake / "raw")
    for table in ("unified_actions", "_blocks"):
        shutil.copytree(lake / table, root / table, copy_function=os.link)
    before = run_day(root, LAST - timedelta(days=1), lookback)
    started = time.monotonic()
    done = run_day(root, LAST, lookback) if not before.returncode else before
    wall = time.monotonic() - started
    if done.returncode:
        return {"error": (done.stdout + done.stderr)[-500:]}
    seconds: dict[str, float] = defaultdict(float)
    for step, value in re.findall(
        r"(build|checks|figures|publish) ([0-9.]+) s", done.stdout + done.stderr
    ):
        seconds[f"{step}_s"] += float(value)
    rest = wall - sum(seconds.values())
    shutil.rmtree(root, ignore_errors=True)
    return {"wall_s": round(wall, 2), **seconds, "rest_s": round(rest, 2)}


def run_day(root: Path, day: date, lookback: int) -> subprocess.CompletedProcess[str]:
    """The day by the command, in a process of its own."""
    environment = {
        **os.environ,
        "TRAINING_ASSETS_LAKE": str(root),
        "TRAINING_ASSETS_LOOKBACK_DAYS": str(lookback),
        "DAGSTER_HOME": str(root / "dagster"),
    }
    command = [str(Path(sys.executable).with_name("training-assets")), "run"]
    command += ["--start-date", str(day), "--end-date", str(day), "--force"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


CASES = {"lookback": case_lookback, "days": case_days, "hot": case_hot, "daily": case_daily}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    options.actions, options.threads = "30M", 2
    scratch = options.scratch.absolute()
    path = RESULTS / "scaling.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    for name in options.cases:
        variants = CASES[name](scratch)
        runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for repeat in range(1 if name == "hot" else options.repeats):
            for variant, run in variants.items():
                found = run()
                runs[variant].append(found)
                print(f"{repeat + 1} {variant}: {json.dumps(found)}", flush=True)
        content[name] = {"about": about(options, scratch / "lake-30M"), "runs": runs}
        path.write_text(json.dumps(content, indent=1) + "\n")
        for variant, found in runs.items():
            good = [one for one in found if "error" not in one]
            for key in ("wall_s", "cpu_s", "peak_rss_bytes"):
                values = [one[key] for one in good if key in one]
                if values:
                    spread = f"{min(values):,.2f} to {max(values):,.2f}"
                    print(f"{variant}: {key} {statistics.median(values):,.2f}, {spread}")


if __name__ == "__main__":
    main()
