"""User and item features from a year of actions, against scripts written by hand.

    python benchmarks/features.py --scratch /dev/shm/bench
    python benchmarks/features.py --scratch /dev/shm/bench --actions 3000000 --case daily

30 million actions of 33,000 customers with 50,000 items in 380 days, and a catalogue. Cases:

daily     day after day, for eight days: each from what the days before have kept. What it costs to
          keep that is shown apart (`prepare`: the first day on a lake that keeps nothing)
range     14 days in one run, on a lake that keeps nothing
lookback  daily with a look-back of 365 and of 730 days, on a lake of the same number of actions in
          twice the days, so that the longer one has twice the actions
pairs     a day of pair_features, its memory above all
online    a million rows loaded into an online store, reads of one id and of 100 a second, and reads
          while its versions switch

Scripts in Polars and in DuckDB compute the same values from the same published files; the last day
of each contestant is compared value by value. Each run is a fresh process. Ours is measured without
checks, as the scripts have none. Writes results/features-CASE.json.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
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
NUM_DAYS, CUSTOMERS, ITEMS, CATEGORIES, SEED = 380, 33_000, 50_000, 200, 1
DAILY_DAYS, RANGE_DAYS = 8, 14
# In the online store.
ENTITIES = 1_000_000
TABLES = {"user_features": "customer_id", "item_features": "item_id"}
PACKAGES = ("polars", "duckdb", "pyarrow", "numpy", "pyspark", "pysail")
CASES = ("daily", "range", "lookback", "pairs", "online")
STATE = "_feature_state"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--actions", type=int, default=30_000_000)
    parser.add_argument("--days", type=int, default=NUM_DAYS, help="of actions; fewer for a trial")
    parser.add_argument("--case", choices=CASES, nargs="+", default=["daily", "range", "lookback"])
    parser.add_argument("--timeout", type=float, default=600)
    options = parser.parse_args()
    place = options.scratch / f"features-{options.actions}-{options.days}"
    lake = generate(place, options, options.days)
    for case in options.case:
        runs = {
            "daily": _daily,
            "range": _range,
            "lookback": _lookback,
            "pairs": _pairs,
            "online": _online,
        }[case](lake, options)
        report(case, runs, options)


def _daily(lake: Path, options: argparse.Namespace) -> dict[str, Any]:
    shutil.rmtree(lake / STATE, ignore_errors=True)
    before = LAST - timedelta(days=DAILY_DAYS)
    runs = {"ours prepare": _run("ours", lake, options, before, before)}
    first = LAST - timedelta(days=DAILY_DAYS - 1)
    runs["ours"] = _run("ours", lake, options, first, LAST, "--one-by-one")
    for name in ("polars", "duckdb"):
        runs[name] = _run(name, lake, options, LAST, LAST)
    runs["same values"] = compare(options.scratch / "features-out")
    runs["kept"] = {"bytes": sum(f.stat().st_size for f in (lake / STATE).rglob("*.parquet"))}
    return runs


def _range(lake: Path, options: argparse.Namespace) -> dict[str, Any]:
    shutil.rmtree(lake / STATE, ignore_errors=True)
    first = LAST - timedelta(days=RANGE_DAYS - 1)
    runs = {n: _run(n, lake, options, first, LAST) for n in ("ours", "polars", "duckdb")}
    return {**runs, "same values": compare(options.scratch / "features-out")}


def _lookback(_: Path, options: argparse.Namespace) -> dict[str, Any]:
    days = 2 * options.days
    lake = generate(options.scratch / f"features-{options.actions}-{days}", options, days)
    runs = {}
    for days in (365, 730):
        shutil.rmtree(lake / STATE, ignore_errors=True)
        more = ["--lookback", str(days)]
        before = LAST - timedelta(days=DAILY_DAYS)
        _run("ours", lake, options, before, before, *more)
        first = LAST - timedelta(days=DAILY_DAYS - 1)
        runs[f"ours {days}"] = _run("ours", lake, options, first, LAST, "--one-by-one", *more)
    shutil.rmtree(lake / STATE, ignore_errors=True)
    return runs


def _pairs(lake: Path, options: argparse.Namespace) -> dict[str, Any]:
    return {"ours": _run("ours", lake, options, LAST, LAST, "--tables", "pair_features")}


def _online(lake: Path, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "baselines" / "features_online.py")]
    command += ["--scratch", str(options.scratch / "online"), "--entities", str(ENTITIES)]
    return {"sqlite": run_measured(command, timeout=options.timeout)}


def _run(
    name: str, lake: Path, options: argparse.Namespace, first: date, last: date, *more: str
) -> dict[str, Any]:
    out = options.scratch / "features-out" / name
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, str(HERE / "baselines" / f"features_{name}.py")]
    command += ["--lake", str(lake), "--out", str(out), "--first", str(first), "--last", str(last)]
    found = run_measured([*command, *more], timeout=options.timeout)
    if "error" in found:
        raise SystemExit(f"{name}: {found['error']}")
    print(name, json.dumps(found), flush=True)
    return found


def generate(lake: Path, options: argparse.Namespace, num_days: int) -> Path:
    """A lake with published actions and a catalogue; what is there is kept."""
    if (lake / "done").exists():
        return lake
    shutil.rmtree(lake, ignore_errors=True)
    from training_assets.kernels import write_actions, write_rows
    from training_assets.schemas import ITEMS as CATALOGUE
    from training_assets.schemas import UNIFIED_ACTIONS

    rng = np.random.default_rng(SEED)
    days = [LAST - timedelta(days=n) for n in reversed(range(num_days))]
    batches = {day: _actions(rng, day, options.actions // num_days) for day in days}
    _publish(lake, UNIFIED_ACTIONS, batches, write_actions)

    def write(rows: Any, root: str, run: str) -> Any:
        return write_rows(rows, CATALOGUE, root, run)

    _publish(lake, CATALOGUE, {days[0]: _catalogue(rng, days[0])}, write)
    (lake / "done").write_text("")
    return lake


def _actions(rng: np.random.Generator, day: date, size: int) -> pa.RecordBatch:
    number = _number(day)
    # A tenth of the customers come on a day.
    here = rng.choice(CUSTOMERS, CUSTOMERS // 10, replace=False) + 1
    micros = number * 86_400_000_000 + rng.integers(0, 86_400_000_000, size)
    kinds = rng.choice(np.array([1, 2, 3, 4, 5], np.int8), size, p=[0.2, 0.08, 0.04, 0.6, 0.08])
    price = _money(np.where(kinds == 3, rng.integers(100, 20_000, size), np.nan))
    return pa.RecordBatch.from_pydict(
        {
            "dt": pa.array(np.full(size, number, np.int32)).view(pa.date32()),
            "customer_id": rng.choice(here, size),
            "item_id": (ITEMS * rng.random(size) ** 2).astype(np.int32) + 1,
            "action_type": kinds,
            "occurred_at": pa.array(micros).view(pa.timestamp("us", "UTC")),
            "price": price,
            "part": np.zeros(size, np.int32),
        }
    )


def _catalogue(rng: np.random.Generator, day: date) -> pa.RecordBatch:
    from training_assets.schemas import ITEMS as CATALOGUE

    schema = CATALOGUE.arrow_schema
    born = _number(day) + rng.integers(-400, NUM_DAYS, ITEMS)
    given = {
        "item_id": pa.array(np.arange(1, ITEMS + 1), pa.int32()),
        "category": pa.array([f"category {n}" for n in rng.integers(0, CATEGORIES, ITEMS)]),
        "price": _money(rng.integers(100, 20_000, ITEMS)),
        "created_at": pa.array(born * 86_400_000_000).view(pa.timestamp("us", "UTC")),
        "is_active": pa.array(np.ones(ITEMS, bool)),
        "is_listed": pa.array(np.ones(ITEMS, bool)),
    }
    columns = {f.name: given.get(f.name, pa.nulls(ITEMS, f.type)) for f in schema}
    columns["dt"] = pa.array(np.full(ITEMS, _number(day), np.int32)).view(pa.date32())
    columns["part"] = pa.array(np.zeros(ITEMS, np.int32))
    return pa.RecordBatch.from_pydict(columns)


def _money(cents: Any) -> pa.Array:
    return pa.array(cents / 100.0, from_pandas=True).cast(pa.decimal128(18, 4))


def _publish(lake: Path, table: Any, batches: dict[date, pa.RecordBatch], write: Any) -> None:
    from training_assets.lake import DataFile, Lake, NewDay, content_of, new_run, publish

    opened, run = Lake.at(lake), new_run()
    store = opened.table_store(table.name)
    new = {}
    for day, batch in batches.items():
        (written,) = (row for b in write([batch], store.uri(), run) for row in b.to_pylist())
        file = DataFile(written["name"], written["bytes"], written["rows"])
        manifest = {"table": table.name, "dt": str(day), "run": run, "inputs": run}
        manifest |= {"settings": {}, "content": content_of([file])}
        bounds = None if written["low"] is None else (written["low"], written["high"])
        new[day] = NewDay((file,), (bounds,), manifest)
    publish(store, table, new, opened.snapshot(table.name), {"run": run})


def _number(day: date) -> int:
    return day.toordinal() - date(1970, 1, 1).toordinal()


def compare(out: Path) -> dict[str, Any]:
    """Raise where the contestants' rows of the last day differ in a value."""
    compared = {}
    for table, key in TABLES.items():
        frames = {
            name: pl.read_parquet(
                out / name / table / f"dt={LAST}" / "*.parquet", hive_partitioning=False
            ).sort(key)
            for name in ("ours", "polars", "duckdb")
        }
        ours = frames["ours"]
        for name in ("polars", "duckdb"):
            other = frames[name]
            for column in other.columns:
                _require_same(ours[column], other[column], f"{name}: {table}.{column}")
        compared[table] = {"rows": len(ours), "columns": len(frames["polars"].columns)}
    print("same values", json.dumps(compared), flush=True)
    return compared


def _require_same(ours: pl.Series, other: pl.Series, where: str) -> None:
    if len(ours) != len(other):
        raise SystemExit(f"{where}: {len(ours)} rows of ours, {len(other)} of the script")
    if ours.dtype.is_float():
        near = (ours - other).abs() <= 1e-9 * ours.abs().clip(1e-300)
        same = near | (ours.is_null() & other.is_null())
        is_same = bool(same.fill_null(False).all())
    else:
        is_same = ours.equals(other.cast(ours.dtype), null_equal=True)
    if not is_same:
        raise SystemExit(f"{where}: values differ: {ours.head(5)} {other.head(5)}")


def report(case: str, runs: dict[str, Any], options: argparse.Namespace) -> None:
    print(f"\n{case:16} seconds   worst   CPU s   peak GB")
    for name, run in runs.items():
        if "seconds" in run:
            peak = run["peak_rss_bytes"] / 1e9
            worst = run.get("worst", run["seconds"])
            print(f"{name:16} {run['seconds']:7.2f} {worst:7.2f} {run['cpu_s']:7.2f} {peak:9.2f}")
        else:
            print(f"{name:16} {json.dumps(run)}")
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout
    context = {"commit": commit.strip(), "cores": os.cpu_count(), "machine": platform.machine()}
    content = {
        **context,
        "load": os.getloadavg(),
        "versions": {name: version(name) for name in PACKAGES},
        "actions": options.actions,
        "days": options.days,
        "runs": runs,
    }
    (HERE / "results" / f"features-{case}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
