"""Raw text against raw Parquet, a large CSV in little memory, what text ids and dedupe cost.

    python benchmarks/sources.py --scratch /tmp/bench
    python benchmarks/sources.py --scratch /tmp/bench --case text --rows 200000 --repeats 1
    python benchmarks/sources.py --scratch /tmp/bench --case big --gigabytes 5
    python benchmarks/sources.py --scratch /tmp/bench --case interactions --events 30000000
    python benchmarks/sources.py --scratch /tmp/bench --case dedupe --rows 10000000

text          clicks of a day in one file to published unified_actions, with all checks, on Sail:
              Parquet, CSV and JSON lines, without bad rows and with one in a hundred; beside them
              the bare reading of the same file by pyarrow and Polars, which judge no row
big           one CSV of some gigabytes read and judged, and with --publish also published: peak
              memory of the process tree, and how many cores were busy
interactions  an event stream over 14 days with integer ids and with text ids: the last day, and
              then all days as a backfill, in a lake that has none of the ids yet
dedupe        clicks of a day in Parquet, of which one in a hundred repeats another, to published
              unified_actions: as they are, and with dedupe = "exact"

Each run is a fresh process; contestants take turns within each repeat. Adds each case to
results/sources.json.
"""

import argparse
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from baselines.measure import run_measured

HERE = Path(__file__).parent
OUT = HERE / "results" / "sources.json"
DAY, SEED = date(2026, 3, 1), 1
CUSTOMERS, ITEMS, NUM_DAYS = 100_000, 50_000, 14
FORMATS = ("parquet", "csv", "jsonl")
PACKAGES = ("polars", "pyarrow", "numpy", "pyspark", "pysail", "orjson")
Runs = dict[str, list[dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--case", choices=["text", "big", "interactions", "dedupe"], default="text")
    parser.add_argument("--rows", type=int, default=2_000_000, help="clicks of text or dedupe")
    parser.add_argument("--gigabytes", type=float, default=5.0, help="of the case big")
    parser.add_argument("--publish", action="store_true", help="the case big also published")
    parser.add_argument("--events", type=int, default=30_000_000, help="of the case interactions")
    parser.add_argument("--format", choices=["parquet", "jsonl"], default="parquet")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=300)
    options = parser.parse_args()
    cases = {"text": text, "big": big, "interactions": interactions, "dedupe": dedupe}
    case = cases[options.case]
    folder = options.scratch / "sources"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        runs = case(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(options, runs)


# --- text against Parquet -------------------------------------------------------------------------


def text(folder: Path, options: argparse.Namespace) -> Runs:
    frame = clicks(options.rows, np.random.default_rng(SEED))
    files = {}
    for ending in FORMATS:
        for share in (0, 1):
            if ending == "parquet" and share:
                continue
            name = f"{ending}, {share} % bad rows"
            files[name] = folder / f"{ending}-{share}" / raw_file("clicks", DAY, ending)
            write_clicks(frame, files[name], share / 100)
    runs: Runs = defaultdict(list)
    for _ in range(options.repeats):
        for name, file in files.items():
            runs[name].append(measure("ours", options, "--lake", lake_of(file), *span(DAY, DAY)))
        for name in (f"{ending}, 0 % bad rows" for ending in FORMATS):
            for library in ("pyarrow", "polars"):
                bare = measure(library, options, "--file", files[name])
                runs[f"{name.split(',')[0]}, bare {library}"].append(bare)
    return runs


def clicks(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    millis = (DAY - date(1970, 1, 1)).days * 86_400_000 + rng.integers(0, 86_400_000, rows)
    return pl.DataFrame(
        {
            "customer_id": rng.integers(1, CUSTOMERS + 1, rows),
            "item_id": rng.integers(1, ITEMS + 1, rows),
            "click_time": pl.Series(millis).cast(pl.Datetime("ms")),
        }
    )


def write_clicks(frame: pl.DataFrame, file: Path, share: float) -> None:
    """In one file; of a share of the rows, spread evenly, the customer is no number."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        frame.write_parquet(file, compression="zstd")
        return
    written = io.BytesIO()
    texts = frame.with_columns(pl.col("click_time").dt.strftime("%Y-%m-%d %H:%M:%S%.3f"))
    (texts.write_csv if file.suffix == ".csv" else texts.write_ndjson)(written)
    lines = written.getvalue().splitlines()
    is_csv = file.suffix == ".csv"
    bad = b"x,1,2026-03-01" if is_csv else b'{"customer_id":"x","item_id":1,"click_time":null}'
    step = round(1 / share) if share else len(lines) + 1
    for n in range(step - 1 + is_csv, len(lines), step):
        lines[n] = bad
    file.write_bytes(b"\n".join(lines) + b"\n")


# --- one large file -------------------------------------------------------------------------------


def big(folder: Path, options: argparse.Namespace) -> Runs:
    file = folder / "big" / raw_file("clicks", DAY, "csv")
    part = folder / "part.csv"
    write_clicks(clicks(2_000_000, np.random.default_rng(SEED)), part, 0)
    header, _, body = part.read_bytes().partition(b"\n")
    file.parent.mkdir(parents=True)
    with file.open("wb") as out:
        out.write(header + b"\n")
        while out.tell() < options.gigabytes * 1e9:
            out.write(body)
    part.unlink()
    size = file.stat().st_size
    runs: Runs = defaultdict(list)
    for contestant in ("read", "ours") if options.publish else ("read",):
        found = measure(contestant, options, "--lake", lake_of(file), *span(DAY, DAY))
        runs[f"csv of {size / 1e9:.1f} GB, {contestant}"].append({**found, "bytes": size})
    return runs


# --- ids ------------------------------------------------------------------------------------------


def interactions(folder: Path, options: argparse.Namespace) -> Runs:
    days = [DAY + timedelta(days=n) for n in range(NUM_DAYS)]
    runs: Runs = defaultdict(list)
    for _ in range(options.repeats):
        for kind in ("integer", "text"):
            lake = folder / kind
            for day, frame in events(options.events // NUM_DAYS, days, kind == "text"):
                file = lake / raw_file("interactions", day, options.format)
                file.parent.mkdir(parents=True)
                if options.format == "parquet":
                    frame.write_parquet(file, compression="lz4")
                else:
                    frame.write_ndjson(file)
            asked = ("--lake", lake, "--table", "interactions")
            runs[f"{kind} ids, last day"].append(
                measure("ours", options, *asked, *span(days[-1], days[-1]))
            )
            for table in ("interactions", "item_ids", "customer_ids"):
                shutil.rmtree(lake / table, ignore_errors=True)
            runs[f"{kind} ids, {NUM_DAYS} days"].append(
                measure("ours", options, *asked, *span(days[0], days[-1]))
            )
            shutil.rmtree(lake)
    return runs


def events(rows: int, days: list[date], is_text: bool) -> Iterator[tuple[date, pl.DataFrame]]:
    rng = np.random.default_rng(SEED)
    kinds = np.array(["view", "click", "like", "purchase", "add_to_cart"])
    for day in days:
        millis = (day - date(1970, 1, 1)).days * 86_400_000 + rng.integers(0, 86_400_000, rows)
        frame = pl.DataFrame(
            {
                "user_id": rng.integers(1, CUSTOMERS + 1, rows),
                "item_id": (ITEMS * rng.random(rows) ** 2).astype(np.int64) + 1,
                "interaction_type": rng.choice(kinds, rows, p=[0.5, 0.25, 0.12, 0.08, 0.05]),
                "timestamp": pl.Series(millis).cast(pl.Datetime("ms")).dt.to_string("iso:strict"),
            }
        )
        yield day, _as_texts(frame) if is_text else frame


def _as_texts(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        user_id=pl.lit("user-") + pl.col("user_id").cast(pl.String).str.zfill(9),
        item_id=pl.lit("prod_") + pl.col("item_id").cast(pl.String).str.zfill(7),
    )


# --- equal rows -----------------------------------------------------------------------------------


def dedupe(folder: Path, options: argparse.Namespace) -> Runs:
    frame = clicks(options.rows * 99 // 100, np.random.default_rng(SEED)).unique()
    again = frame.sample(options.rows - len(frame), seed=SEED)
    frame = pl.concat([frame, again]).sample(fraction=1, shuffle=True, seed=SEED)
    declared = {"equal rows kept": "", "equal rows once": "clicks = { dedupe = 'exact' }\n"}
    for name, text in declared.items():
        write_clicks(frame, folder / name / raw_file("clicks", DAY, "parquet"), 0)
        (folder / name / "sources.toml").write_text(text)
    runs: Runs = defaultdict(list)
    for _ in range(options.repeats):
        for name in declared:
            runs[name].append(measure("ours", options, "--lake", folder / name, *span(DAY, DAY)))
    kept, once = (runs[name][0]["rows"] for name in declared)
    if kept - once != len(again):
        raise SystemExit(f"{kept - once} equal rows were left out; expected {len(again)}")
    return runs


# --- runs -----------------------------------------------------------------------------------------


def raw_file(table: str, day: date, ending: str) -> str:
    return f"raw/{table}/dt={day}/part-0.{ending}"


def lake_of(file: Path) -> Path:
    return file.parents[3]


def span(first: date, last: date) -> list[str]:
    return ["--first", str(first), "--last", str(last)]


def measure(contestant: str, options: argparse.Namespace, *asked: object) -> dict[str, Any]:
    """One run in a new process, in a lake in which nothing is published."""
    if "--lake" in asked:
        lake = Path(str(asked[asked.index("--lake") + 1]))
        for found in lake.iterdir():
            if found.name not in ("raw", "sources.toml", "item_ids", "customer_ids"):
                shutil.rmtree(found)
    command = [sys.executable, str(HERE / "baselines" / "sources_run.py"), contestant]
    found = run_measured([*command, *map(str, asked)], timeout=options.timeout)
    if "error" in found:
        raise SystemExit(f"{contestant} {' '.join(map(str, asked))}: {found['error']}")
    found["busy_cores"] = round(found["cpu_s"] / found["seconds"], 2)
    print(contestant, json.dumps(found), flush=True)
    return found


def report(options: argparse.Namespace, runs: Runs) -> None:
    first = next(iter(runs))
    seconds = {n: statistics.median(run["seconds"] for run in found) for n, found in runs.items()}
    print(f"\n{'':34} seconds   ratio   rows/s     CPU s  cores  peak GB")
    for name, found in runs.items():
        cpu = statistics.median(run["cpu_s"] for run in found)
        busy = statistics.median(run["busy_cores"] for run in found)
        peak = max(run["peak_rss_bytes"] for run in found) / 1e9
        ratio = seconds[name] / seconds[first]
        rate = found[0]["rows"] / seconds[name]
        print(
            f"{name:34} {seconds[name]:7.2f} {ratio:7.2f} {rate:10,.0f}"
            f" {cpu:7.2f} {busy:6.2f} {peak:8.2f}"
        )
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout
    known: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    known[options.case] = {
        "commit": commit.strip(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load": os.getloadavg(),
        "versions": {name: version(name) for name in PACKAGES},
        "seed": SEED,
        "seconds": seconds,
        "runs": runs,
    }
    OUT.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
