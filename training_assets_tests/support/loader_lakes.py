"""Small lakes of random days, published without an engine, and the plain rows they are made of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from training_assets.lake import PUBLISHED, Lake, Location, new_run, publish
from training_assets.schemas import CUSTOMER_HISTORY, SCHEMA_VERSION, TRAINING_INPUT
from training_assets.tables import SPECS
from training_assets_tests.support.planting import write_day

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


def publish_rows(
    lake: Location,
    name: str,
    tables: Mapping[date, pa.Table],
    *,
    num_files: int = 1,
    manifest: Mapping[date, Mapping[str, Any]] | None = None,
) -> None:
    """Publish days of a table in one commit, with what manifests say besides.

    Rows go in turn into ``num_files`` files, so each file is sorted on its own.
    """
    found, run = Lake.at(lake), new_run()
    days = {}
    for dt, rows in tables.items():
        parts = [rows.take(np.arange(n, rows.num_rows, num_files)) for n in range(num_files)]
        new = write_day(found, SPECS[name].table, dt, parts, run, row_group_size=5)
        own = {
            "table": name,
            "dt": str(dt),
            "schema_version": SCHEMA_VERSION,
            "settings": {"history_length": HISTORY_LENGTH, "lookback_days": 365},
        }
        days[dt] = replace(new, manifest={**new.manifest, **own, **(manifest or {}).get(dt, {})})
    store, before = found.table_store(name), found.snapshot(name)
    outcomes = publish(store, SPECS[name].table, days, before, {"run": run})
    assert set(outcomes.values()) == {PUBLISHED}


def publish_histories(lake: Location, days: Sequence[PlainDay], *, num_files: int = 1) -> None:
    tables = {day.dt: history_table(day) for day in days}
    publish_rows(lake, "customer_history", tables, num_files=num_files)


def publish_inputs(lake: Location, days: Sequence[PlainDay], *, num_files: int = 1) -> None:
    """Rows that say they were built from the histories that are published now."""
    histories = Lake.at(lake).snapshot("customer_history")
    manifest = {
        day.dt: {
            "built_from": {
                "upstream": {"customer_history": {str(day.dt): histories.content(day.dt)[:16]}}
            }
        }
        for day in days
    }
    tables = {day.dt: input_table(day) for day in days}
    publish_rows(lake, "training_input", tables, num_files=num_files, manifest=manifest)


def write_lake(lake: Location, days: Sequence[PlainDay], *, num_files: int = 1) -> Any:
    """Publish both tables of all days; with several files rows are no longer in one order."""
    publish_histories(lake, days, num_files=num_files)
    publish_inputs(lake, days, num_files=num_files)
    if num_files > 1:
        for day in days:
            day.rows = [row for n in range(num_files) for row in day.rows[n::num_files]]
    return lake


def change_manifest(lake: Location, table: str, dt: date, /, **changes: Any) -> None:
    """In place, as a hand would; ``settings`` are changed one by one."""
    snapshot = Lake.at(lake).snapshot(table)
    manifest = snapshot.manifest(dt)
    settings = {**manifest["settings"], **changes.pop("settings", {})}
    changed = {**manifest, "settings": settings, **changes}
    snapshot.store.put(snapshot.manifest_path(dt), json.dumps(changed).encode())


def replace_rows(lake: Location, table: str, dt: date, rows: pa.Table) -> None:
    """Publish other rows of a day; training_input then says that it was built from them."""
    publish_rows(lake, table, {dt: rows})
    if table == "customer_history":
        content = Lake.at(lake).snapshot(table).content(dt)
        upstream = {"customer_history": {str(dt): content}}
        change_manifest(lake, "training_input", dt, built_from={"upstream": upstream})
