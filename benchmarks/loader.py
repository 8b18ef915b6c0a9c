"""How fast the loader is, against what there is without it and against the limit.

    python benchmarks/loader.py                                    the sizes of the bars, minutes
    python benchmarks/loader.py --rows 20000 --histories 2000      a quick look

Writes two lakes, "typical" (history lengths lognormal, cut at ``--length``) and "full" (every
history as long as can be), of three days with the same content, in the files that the platform
writes. Each case runs in turns with the others, so that a slow moment of the machine hits all of
them. Prints a table and writes the raw timings to results/loader.json. Files come from the page
cache: they were written just before.

Compared with: (a) the padded Parquet read with pyarrow into tensors, in stored order; (b) a torch
Dataset over a pyarrow table in memory, rows collated by a DataLoader in random order; (c) the
limit, a bare ``np.take`` from padded int32 arrays in memory into arrays that are used again.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from loader_cases import (
    BARE,
    CASES,
    EXPANDED,
    FIRST_DAY,
    NUM_DAYS,
    NUM_ITEMS,
    PARQUET,
    ROWS_OF_DATASET,
    STORED_ORDER,
    Case,
    Options,
    write_lake,
)

from training_assets.loader import TrainingDays
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT

BATCHES_PER_RUN = 240
BATCHES_BEFORE = 3
RESULTS = Path(__file__).parent / "results" / "loader.json"


def examples_per_second(case: Case, options: Options, lake: Path) -> float:
    """Over up to ``BATCHES_PER_RUN`` batches after the first few, which wait for the day."""
    batches = case(options, lake)
    list(islice(batches, BATCHES_BEFORE))
    started = time.perf_counter()
    num_examples = sum(islice(batches, BATCHES_PER_RUN))
    return num_examples / (time.perf_counter() - started)


# ------------------------------------------------- measured in a process of their own, as JSON


def first_batch(options: Options, lake: Path) -> dict[str, float]:
    """Seconds from nothing but imports to the first batch of one day."""
    started = time.perf_counter()
    next(iter(TrainingDays(lake, batch_size=options.batch_size, days=[FIRST_DAY])))
    return {"seconds": time.perf_counter() - started}


def dense_epoch(options: Options, lake: Path, **settings: Any) -> dict[str, float]:
    """An epoch over all days with the next day read meanwhile; memory above the imports'."""
    before = _peak_bytes()
    started = time.perf_counter()
    days = TrainingDays(lake, batch_size=options.batch_size, **settings)
    num_examples = sum(len(batch) for batch in days)
    seconds = time.perf_counter() - started
    return {
        "examples_per_second": num_examples / seconds,
        "peak_bytes": _peak_bytes() - before,
        "bound_bytes": days.memory_bound_bytes,
    }


def _peak_bytes() -> int:
    """Largest resident size so far; getrusage would count the parent's (Linux only)."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def jagged_epoch(options: Options, lake: Path) -> dict[str, float]:
    return dense_epoch(options, lake, dense_limit_bytes=0)


def device_wait(options: Options, lake: Path) -> dict[str, float]:
    """Share of the example's training step that the device spends waiting for its batch.

    The same steps are timed with fresh batches and with one batch again and again.
    """
    path = Path(__file__).parents[1] / "examples" / "train_transformer.py"
    spec = spec_from_file_location("train_transformer", path)
    assert spec is not None
    assert spec.loader is not None
    example = module_from_spec(spec)
    spec.loader.exec_module(example)
    model = example.Recommender(NUM_ITEMS + 2, width=64, heads=4, layers=2).to(options.device)
    optimizer = torch.optim.AdamW(model.parameters())
    days = TrainingDays(
        lake,
        batch_size=options.batch_size,
        days=[FIRST_DAY],
        layout="deduplicated",
        shuffle="histories",
        extras=["days_ago", "mask"],
    )

    def seconds(batches: Iterator[Any]) -> float:
        started = time.perf_counter()
        for batch in batches:
            logits = example.score(model, batch)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        # Reading a number waits for everything that was queued on the device.
        loss.item()
        return time.perf_counter() - started

    batches = iter(days.tensors(options.device))
    seconds(islice(batches, BATCHES_BEFORE))
    one = next(batches)
    number = min(BATCHES_PER_RUN, len(days) - BATCHES_BEFORE - 1)
    same = seconds(iter([one] * number))
    fresh = seconds(islice(batches, number))
    return {"share": max(0.0, 1 - same / fresh), "steps_per_second": number / fresh}


ALONE = {case.__name__: case for case in (first_batch, dense_epoch, jagged_epoch, device_wait)}


def alone(name: str, options: Options, lake: Path) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--alone", name, "--lake", str(lake)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    measured: dict[str, float] = json.loads(ran.stdout)
    return measured


# ------------------------------------------------------------------------------------ the report


def measure(options: Options, root: Path) -> dict[str, Any]:
    lakes = {"typical": root / "typical", "full": root / "full"}
    sizes = {}
    for name, lake in lakes.items():
        started = time.perf_counter()
        write_lake(options, lake, is_full=name == "full")
        sizes[name] = _sizes(lake)
        print(f"wrote {name} in {time.perf_counter() - started:.0f} s: {sizes[name]}")
    runs = [(name, name, "typical") for name in CASES]
    runs += [(f"{name}, full", name, "full") for name in (STORED_ORDER, EXPANDED, PARQUET)]
    speeds: dict[str, list[float]] = {title: [] for title, *_ in runs}
    for repeat in range(options.repeats):
        for title, name, kind in runs:
            speeds[title].append(examples_per_second(CASES[name], options, lakes[kind]))
            print(f"{repeat + 1}/{options.repeats} {title}: {speeds[title][-1]:,.0f} examples/s")
    names = ["first_batch", "dense_epoch", "jagged_epoch"]
    separate = {
        f"{name}, {kind}": [alone(name, options, lake) for _ in range(options.repeats)]
        for name in names
        for kind, lake in lakes.items()
    }
    if options.device:
        separate["device_wait, typical"] = [alone("device_wait", options, lakes["typical"])]
    return {"lakes": sizes, "examples_per_second": speeds, "alone": separate}


def _sizes(lake: Path) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for table in (CUSTOMER_HISTORY.name, TRAINING_INPUT.name):
        files = sorted((lake / table / f"dt={FIRST_DAY}").glob("*.parquet"))
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        sizes[table] = {"rows": rows, "bytes": sum(file.stat().st_size for file in files)}
    day = lake / CUSTOMER_HISTORY.name / f"dt={FIRST_DAY}"
    (kinds,) = pq.read_table(day, columns=["action_types"]).columns
    sizes["actions"] = pc.sum(pc.list_value_length(kinds)).as_py()
    return sizes


def report(measured: dict[str, Any], options: Options) -> str:
    speeds = {name: statistics.median(raw) for name, raw in measured["examples_per_second"].items()}
    bare = speeds[BARE]
    # What a batch hands over for each example: two int32 arrays, an int64 and a float32.
    example_bytes = options.length * 8 + 12
    lines = [
        "| case | examples/s | spread | GB/s | of (c) | times (a) |",
        "|---|---|---|---|---|---|",
    ]
    for name, speed in speeds.items():
        raw = measured["examples_per_second"][name]
        parquet = speeds[f"{PARQUET}, full" if name.endswith(", full") else PARQUET]
        is_padded = "deduplicated" not in name and not name.startswith("jagged")
        gigabytes = f"{speed * example_bytes / 1e9:.2f}" if is_padded else "-"
        lines.append(
            f"| {name} | {speed:,.0f} | {min(raw):,.0f} to {max(raw):,.0f} | {gigabytes} "
            f"| {speed / bare:.0%} | {speed / parquet:.1f} |"
        )
    lines += ["", "| alone | median | spread |", "|---|---|---|"]
    for name, raw in measured["alone"].items():
        for key in raw[0]:
            values = [one[key] for one in raw]
            middle, low, high = (_shown(key, f(values)) for f in (statistics.median, min, max))
            lines.append(f"| {name}: {key} | {middle} | {low} to {high} |")
    return "\n".join(lines)


def _shown(key: str, value: float) -> str:
    if key.endswith("_bytes"):
        return f"{value / 1e9:.2f} GB"
    return f"{value:,.0f}" if value > 100 else f"{value:.2f}"


def about(options: Options) -> dict[str, Any]:
    def git(*command: str) -> str:
        ran = subprocess.run(
            ["git", *command], check=False, capture_output=True, text=True, cwd=RESULTS.parents[1]
        )
        return ran.stdout.strip()

    shown = ("rows", "histories", "length", "batch_size", "repeats", "seed", "device")
    return {
        "commit": git("rev-parse", "--verify", "HEAD") or None,
        "is_modified": bool(git("status", "--porcelain")),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (np, pa, torch)},
        },
        "options": {name: getattr(options, name) for name in shown},
        "num_days": NUM_DAYS,
        "batches_per_run": BATCHES_PER_RUN,
        "rows_of_dataset": ROWS_OF_DATASET,
    }


def parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="examples of a day")
    parser.add_argument("--histories", type=int, default=100_000, help="customers of a day")
    parser.add_argument("--length", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    has_gpu = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if has_gpu else None, help="for device_wait")
    parser.add_argument("--scratch", help="folder for the lakes; 3 GB")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--alone", choices=ALONE, help=argparse.SUPPRESS)
    parser.add_argument("--lake", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if options.alone:
        print(json.dumps(ALONE[options.alone](options, options.lake)))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as root:
        measured = measure(options, Path(root))
    print(report(measured, options))
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps({**about(options), **measured}, indent=1) + "\n")


if __name__ == "__main__":
    main()
