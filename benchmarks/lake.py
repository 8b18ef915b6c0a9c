"""What it costs to publish and to open: a commit of 14 days, and a table with thousands of commits.

    python benchmarks/lake.py --location DIR [--location s3://bucket/path] [--commits 5000]

The 14 days of one table are written first; only ``publish`` is timed: syncing their files, their
manifests, the commit, and reading it back. The table with many commits has 400 days, each commit
replacing one, without data files, which opening does not look at. An object store is found by the
environment, as everywhere. Raw JSON goes to benchmarks/results/lake.json.
"""

import argparse
import hashlib
import json
import os
import platform
import secrets
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training_assets.lake import DataFile, NewDay, Store, open_snapshot, open_store, publish
from training_assets.lake.log import add_action, commit, create_table, open_delta, remove_action
from training_assets.schemas import UNIFIED_ACTIONS as TABLE

RESULTS = Path(__file__).parent / "results"
FIRST_DAY = date(2025, 1, 1)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(14)]
YEAR = [FIRST_DAY + timedelta(days=n) for n in range(400)]


def main() -> None:
    options = _options()
    places = {location: _measured(location, options) for location in options.location}
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    report = {
        "commit": head.stdout.strip(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "load_before": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("deltalake", "obstore", "pyarrow")},
        "days": len(DAYS),
        "bytes_of_a_file": options.bytes,
        "files_of_a_day": options.files,
        "repeats": options.repeats,
        "commits": options.commits,
        "seconds": {_kind(location): found for location, found in places.items()},
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["seconds"], indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--location", action="append", required=True)
    parser.add_argument("--commits", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=RESULTS / "lake.json")
    return parser.parse_args()


def _kind(location: str) -> str:
    return location.partition("://")[0] if "://" in location else "local"


def _measured(location: str, options: argparse.Namespace) -> dict[str, Any]:
    place = open_store(location).child(f"bench-{secrets.token_hex(4)}")
    found: dict[str, list[float]] = {}
    for n in range(options.repeats):
        store = place.child(f"table-{n}")
        for case, seed in (("first", 0), ("replace", 1), ("unchanged", 1)):
            days = {day: _written(store, day, seed, options) for day in DAYS}
            before = open_snapshot(store, TABLE.name)
            seconds = _timed(
                lambda s=store, d=days, b=before: publish(s, TABLE, d, b, {"run": "x"})
            )
            found.setdefault(f"publish 14 days, {case}", []).append(seconds)
        opening = _timed(lambda s=store: open_snapshot(s, TABLE.name))
        found.setdefault("open after 2 commits", []).append(opening)
    long = place.child("long")
    seconds_of_commits = _make_long_log(long, options.commits)
    found["commit of a day, the last 100"] = seconds_of_commits[-100:]
    found[f"open after {options.commits} commits"] = [
        _timed(lambda: open_snapshot(long, TABLE.name)) for _ in range(options.repeats)
    ]
    return {case: _summary(seconds) for case, seconds in found.items()}


def _written(store: Store, day: date, seed: int, options: argparse.Namespace) -> NewDay:
    run = secrets.token_hex(6)
    data = [f"{seed} {part} ".encode() * (options.bytes // 4) for part in range(options.files)]
    files = [
        DataFile(f"dt={day}/part-{part:05d}-{_hash(content)}-{run}.parquet", len(content), 10)
        for part, content in enumerate(data)
    ]
    for file, content in zip(files, data, strict=True):
        _write_unsynced(store, file.name, content)
    return NewDay(tuple(files), ((1, 9),) * len(files), {"inputs": seed, "rows": 10})


def _write_unsynced(store: Store, name: str, data: bytes) -> None:
    """As workers do: what they write is synced by ``publish``."""
    if not store.is_local:
        return store.put(name, data)
    path = Path(store.uri(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _make_long_log(store: Store, count: int) -> list[float]:
    """Seconds of each commit."""
    create_table(store, TABLE)
    seconds: list[float] = []
    published: dict[date, DataFile] = {}
    delta = open_delta(store, TABLE.name)
    for n in range(count):
        day = YEAR[n % len(YEAR)]
        name = f"dt={day}/part-00000-{n:016x}-{secrets.token_hex(6)}.parquet"
        new = DataFile(name, 1000, 10)
        removed = [remove_action(published[day])] if day in published else []
        published[day] = new
        info: Mapping[str, Any] = {"run": "x", "days": [str(day)]}
        start = time.perf_counter()
        assert delta is not None
        error = commit(store, delta, [add_action(new, (1, 9)), *removed], info)
        assert error is None, error
        delta.update_incremental()
        seconds.append(time.perf_counter() - start)
    return seconds


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _summary(seconds: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(seconds), 4),
        "least": round(min(seconds), 4),
        "most": round(max(seconds), 4),
    }


if __name__ == "__main__":
    main()
