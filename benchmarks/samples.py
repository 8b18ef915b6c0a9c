"""Training samples and splits, against scripts written by hand for the same job.

    python benchmarks/samples.py --scratch /dev/shm/bench
    python benchmarks/samples.py --scratch /dev/shm/bench --rows 300000 --repeats 1

    day, days            samples of the last day, or the last 14, from published actions of 380 days
                         (--rows in all; 33,000 customers, 50,000 items)
    features             the same 14 days where features of users and items are published: both are
                         joined to each sample; compare with ours of days
    catalogue            the same 14 days where a catalogue says what may be drawn, with features
                         of pairs
    draws, draws popularity
                         negatives of one day by sample_negatives, from positives, candidates and
                         --rows pairs seen, as Parquet files
    splits, splits exact rows of each part by temporal_split, of --rows interactions in no order

Each run is a fresh process; contestants take turns. Outputs are compared: the same positives, as
many negatives, none acted on; the same rows in each part. Ours is measured without checks, as the
scripts have none. Prints a table and writes results/samples.json, or --out.
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
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from baselines.measure import run_measured
from samples_data import (
    LAST,
    actions,
    catalogue,
    check_draws,
    check_table,
    features,
    interactions,
    pairs,
)

HERE = Path(__file__).parent
PACKAGES = ("polars", "pyarrow", "numpy", "pyspark", "pysail")
# Case: script of ours, script by hand or none, what both are given.
CASES = {
    "day": ("samples_ours.py", "samples_polars.py", ["--days", "1"]),
    "days": ("samples_ours.py", "samples_polars.py", ["--days", "14"]),
    "features": ("samples_ours.py", None, ["--days", "14"]),
    "catalogue": ("samples_ours.py", None, ["--days", "14"]),
    "draws": ("sampling_ours.py", "sampling_polars.py", ["--strategy", "uniform"]),
    "draws popularity": ("sampling_ours.py", "sampling_polars.py", ["--strategy", "popularity"]),
    "splits": ("splits_ours.py", "splits_polars.py", []),
    "splits exact": ("splits_ours.py", "splits_polars.py", ["--exact-rows"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=30_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "samples.json")
    options = parser.parse_args()
    runs: dict[str, Any] = defaultdict(list)
    for case in options.cases:
        for _ in range(options.repeats):
            for name, found in _turn(case, options).items():
                runs[f"{case} {name}"].append(found)
                print(case, name, json.dumps(found), flush=True)
    report(runs, options)


def _turn(case: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a run of each contestant took."""
    ours, theirs, given = CASES[case]
    given = [str(part) for part in given]
    out = options.scratch / "samples-out"
    shutil.rmtree(out, ignore_errors=True)
    source = _input(case, options)
    contestants = {"ours": ours, **({"polars": theirs} if theirs else {})}
    found = {}
    for name, script in contestants.items():
        command = [sys.executable, str(HERE / "baselines" / script), "--input", str(source)]
        command += ["--out", str(out / name), *_dated(given)]
        found[name] = run_measured(command, timeout=options.timeout)
        if "error" in found[name]:
            raise SystemExit(f"{case} {name}: {found[name]['error']}")
    if case.startswith("draws"):
        for name in contestants:
            check_draws(source, out / name, given[-1])
    elif case.startswith("splits"):
        assert found["ours"]["parts"] == found["polars"]["parts"], found
    else:
        has_features = case if theirs is None else ""
        check_table(source, [out / name for name in contestants], has_features=has_features)
    return found


def _dated(given: list[str]) -> list[str]:
    """``--days`` as first and last day."""
    if given[:1] != ["--days"]:
        return given
    return ["--first", str(LAST - timedelta(days=int(given[1]) - 1)), "--last", str(LAST)]


def _input(case: str, options: argparse.Namespace) -> Path:
    """Made once; what is there is kept."""
    place, rows = options.scratch, options.rows
    if case.startswith("draws"):
        return pairs(place / f"pairs-{rows}", rows)
    if case.startswith("splits"):
        return interactions(place / f"interactions-{rows}", rows)
    lake = actions(place / f"actions-{rows}", rows)
    beside = {"features": features, "catalogue": catalogue}
    return beside[case](place / f"{case}-{rows}", lake) if case in beside else lake


def report(runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> None:
    print("\ncase                     seconds      rows/s   CPU s   peak GB")
    for name, found in runs.items():
        seconds = statistics.median(run["seconds"] for run in found)
        cpu = statistics.median(run["cpu_s"] for run in found)
        peak = max(run["peak_rss_bytes"] for run in found) / 1e9
        rate = found[0]["rows"] / seconds
        print(f"{name:24} {seconds:7.2f} {rate:11,.0f} {cpu:7.2f} {peak:9.2f}")
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout
    versions = {name: version(name) for name in PACKAGES}
    context = {"commit": commit.strip(), "cores": os.cpu_count(), "machine": platform.machine()}
    content = {**context, "load": os.getloadavg(), "versions": versions, "rows": options.rows}
    options.out.write_text(json.dumps({**content, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
