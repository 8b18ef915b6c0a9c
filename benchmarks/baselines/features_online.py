"""Reads by id from an online store: one id, 100 ids, and while versions switch.

python benchmarks/baselines/features_online.py --scratch /tmp/online --entities 33000
python benchmarks/baselines/features_online.py --scratch /tmp/online --url redis://127.0.0.1:6379/0

Rows have the columns of user_features and made-up values. Each number in a row is that of its load,
so an answer that mixes two loads is seen.
"""

import argparse
import json
import random
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from training_assets.online import OnlineStore, open_store
from training_assets.online.encoding import column_types, encode
from training_assets.tables.user_features import USER_FEATURES

KEY, IDS_AT_ONCE, SWITCHES, READERS = "customer_id", 100, 10, 2
SCHEMA = USER_FEATURES.arrow_schema
FIRST = date(2026, 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--url")
    parser.add_argument("--entities", type=int, default=33_000)
    parser.add_argument("--reads", type=int, default=20_000)
    options = parser.parse_args()
    shutil.rmtree(options.scratch, ignore_errors=True)
    url = options.url or f"sqlite:{options.scratch}"
    with open_store(url, expires_after=timedelta(days=10_000)) as store:
        start = time.perf_counter()
        load(store, 1, options.entities)
        found: dict[str, Any] = {"load_s": time.perf_counter() - start}
        found["one"] = timed(store, options.entities, 1, options.reads)
        found["hundred"] = timed(store, options.entities, IDS_AT_ONCE, options.reads // 20)
        found["switching"] = switching(url, store, options.entities)
    print(json.dumps(found))


def load(store: OnlineStore, number: int, entities: int) -> None:
    store.load(
        "users",
        FIRST + timedelta(days=number),
        blocks(number, entities),
        content=f"{number:016d}",
        columns=column_types(SCHEMA, KEY),
        num_rows=entities,
    )


def blocks(number: int, entities: int, size: int = 10_000) -> Iterator[tuple[list[int], list[str]]]:
    for first in range(0, entities, size):
        ids = np.arange(first, min(first + size, entities))
        columns = {
            field.name: pa.array(ids) if field.name == KEY else _column(field, number, len(ids))
            for field in SCHEMA
        }
        rows = pa.table(columns, schema=SCHEMA)
        yield rows[KEY].to_pylist(), encode(rows, KEY)


def _column(field: pa.Field, number: int, size: int) -> pa.Array:
    if pa.types.is_list(field.type):
        return pa.array([list(range(number, number + 10))] * size, field.type)
    if pa.types.is_string(field.type):
        return pa.repeat(pa.scalar(f"category {number}"), size)
    if pa.types.is_timestamp(field.type):
        return pa.repeat(pa.scalar(number * 1_000_000, field.type), size)
    value = Decimal(number) if pa.types.is_decimal(field.type) else number
    return pa.repeat(pa.scalar(value, field.type), size)


def timed(store: OnlineStore, entities: int, at_once: int, reads: int) -> dict[str, float]:
    rng = random.Random(1)
    seconds = []
    for _ in range(reads):
        ids = [rng.randrange(entities) for _ in range(at_once)]
        start = time.perf_counter()
        answers = store.users(ids)
        seconds.append(time.perf_counter() - start)
        assert all(answer.values for answer in answers)
    ordered = sorted(seconds)
    return {
        "reads_per_s": reads / sum(seconds),
        "p50_ms": ordered[reads // 2] * 1000,
        "p99_ms": ordered[reads * 99 // 100] * 1000,
    }


def switching(url: str, store: OnlineStore, entities: int) -> dict[str, Any]:
    """Reads of 100 ids while ten versions come; answers of two loads, and errors."""
    stop, counts, mixed, errors = threading.Event(), [], [], []

    def read() -> None:
        rng, count = random.Random(), 0
        with open_store(url, expires_after=timedelta(days=10_000)) as own:
            while not stop.is_set():
                try:
                    answers = own.users([rng.randrange(entities) for _ in range(IDS_AT_ONCE)])
                except Exception as error:
                    errors.append(repr(error))
                    continue
                values = {(a.version, (a.values or {}).get("sessions")) for a in answers}
                count += 1
                if len(values) != 1:
                    mixed.append(sorted(map(str, values)))
        counts.append(count)

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    start = time.perf_counter()
    for reader in readers:
        reader.start()
    for number in range(2, 2 + SWITCHES):
        load(store, number, entities)
    stop.set()
    for reader in readers:
        reader.join()
    seconds = time.perf_counter() - start
    if mixed or errors:
        raise SystemExit(f"Error: {len(mixed)} answers of two versions, {len(errors)} errors")
    return {
        "switches": SWITCHES,
        "reads_per_s": sum(counts) / seconds,
        "ids_per_s": sum(counts) * IDS_AT_ONCE / seconds,
        "mixed": len(mixed),
        "errors": len(errors),
    }


if __name__ == "__main__":
    main()
