"""A lake as training_assets 0.1 left it: a folder a day, manifest and quarantine inside it."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.schemas import CUSTOMER_HISTORY, TABLES, UNIFIED_ACTIONS, Table

ROWS = 4
TABLE_NAMES = (UNIFIED_ACTIONS.name, CUSTOMER_HISTORY.name)


def write_old_lake(root: Path, days: Sequence[date]) -> None:
    """Two tables; of the first, every day has set a row aside."""
    for name in TABLE_NAMES:
        for n, day in enumerate(days):
            write_old_day(root / name, TABLES[name], day, n + 1)
    for name in ("_staging/run-1/x", "_locks", "_compacted/abc"):
        (root / name).mkdir(parents=True)
    (root / "_locks" / "days").touch()


def write_old_day(table_root: Path, table: Table, day: date, number: int) -> None:
    folder = table_root / f"dt={day}"
    folder.mkdir(parents=True)
    columns = {
        column.name: pa.array(
            [number if column.name == "customer_id" else None] * ROWS, column.arrow
        )
        for column in table.stored_columns
    }
    pq.write_table(pa.table(columns), folder / "part-00000.parquet")
    manifest = {"rows": ROWS, "content": f"content-{number}", "inputs": f"inputs-{number}"}
    (folder / "_day.json").write_text(json.dumps(manifest))
    if table is UNIFIED_ACTIONS:
        beside = folder / "_quarantine" / "source=clicks"
        beside.mkdir(parents=True)
        (beside / "part-00000.pq").write_bytes(b"rows of " + str(number).encode())
