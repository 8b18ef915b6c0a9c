"""Small lakes of random days, written with pyarrow alone, and the plain rows they were made of."""

import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT

FIRST_DAY = date(2024, 3, 1)
HISTORY_LENGTH = 12


@dataclass
class PlainDay:
    """A day as Python lists: the truth that the loader is compared with.

    histories: customer -> actions as (item, type, days_ago), newest first.
    rows: (customer, ranking, item, label) in stored order.
    """

    dt: date
    histories: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    rows: list[tuple[int, str, int, int]] = field(default_factory=list)


def random_day(
    rng: np.random.Generator, dt: date, *, num_customers: int = 9, num_items: int = 30
) -> PlainDay:
    """Customers with 0 to ``HISTORY_LENGTH`` actions and 1 to 3 rankings of 1 to 4 items."""
    day = PlainDay(dt)
    for customer in sorted(rng.choice(10_000, num_customers, replace=False).tolist()):
        sizes = [0, 1, HISTORY_LENGTH, int(rng.integers(0, HISTORY_LENGTH + 1))]
        size = int(rng.choice(sizes))
        days_ago = sorted(rng.integers(1, 366, size).tolist())
        day.histories[customer] = [
            (int(rng.integers(1, num_items)), int(rng.integers(1, 4)), ago) for ago in days_ago
        ]
        for number in range(rng.integers(1, 4)):
            for item in rng.integers(1, num_items, rng.integers(1, 5)).tolist():
                label = int(rng.random() < 0.3)
                day.rows.append((customer, f"{customer}-{number}", item, label))
    return day


def random_days(seed: int, num_days: int = 3, **sizes: int) -> list[PlainDay]:
    rng = np.random.default_rng(seed)
    return [random_day(rng, FIRST_DAY + timedelta(n), **sizes) for n in range(num_days)]


def history_table(day: PlainDay) -> pa.Table:
    columns = {
        "customer_id": list(day.histories),
        "action_items": [[a[0] for a in actions] for actions in day.histories.values()],
        "action_types": [[a[1] for a in actions] for actions in day.histories.values()],
        "action_days_ago": [[a[2] for a in actions] for actions in day.histories.values()],
    }
    return pa.table(columns, schema=CUSTOMER_HISTORY.arrow_schema)


def input_table(day: PlainDay) -> pa.Table:
    def padded(customer: int, index: int) -> list[int]:
        values = [action[index] for action in day.histories[customer]]
        return values + [0] * (HISTORY_LENGTH - len(values))

    columns = {
        "customer_id": [row[0] for row in day.rows],
        "ranking_id": [row[1] for row in day.rows],
        "impression_item_id": [row[2] for row in day.rows],
        "is_order": [row[3] for row in day.rows],
        "action_items": [padded(row[0], 0) for row in day.rows],
        "action_types": [padded(row[0], 1) for row in day.rows],
    }
    return pa.table(columns, schema=TRAINING_INPUT.arrow_schema)


def write_table(
    lake: Path,
    name: str,
    dt: date,
    table: pa.Table,
    *,
    num_files: int = 1,
    rows_per_group: int = 5,
    **manifest: Any,
) -> Path:
    """Publish a day: rows in turn over ``num_files`` files, so each file is sorted on its own."""
    folder = lake / name / f"dt={dt}"
    folder.mkdir(parents=True)
    for number in range(num_files):
        part = table.take(np.arange(number, table.num_rows, num_files))
        path = folder / f"part-{number:05d}.parquet"
        pq.write_table(part, path, compression="zstd", row_group_size=rows_per_group)
    (folder / "_left_behind.parquet").write_bytes(b"not data")
    content = {
        "table": name,
        "dt": str(dt),
        "rows": table.num_rows,
        "schema_version": 1,
        "settings": {"history_length": HISTORY_LENGTH, "lookback_days": 365},
        **manifest,
    }
    (folder / "_day.json").write_text(json.dumps(content))
    return folder


def write_lake(lake: Path, days: list[PlainDay], *, num_files: int = 1) -> Path:
    """Publish both tables of each day; with several files rows are no longer in one order."""
    for day in days:
        history = history_table(day)
        write_table(lake, "customer_history", day.dt, history, num_files=num_files)
        write_table(lake, "training_input", day.dt, input_table(day), num_files=num_files)
        if num_files > 1:
            day.rows = [row for n in range(num_files) for row in day.rows[n::num_files]]
    return lake
