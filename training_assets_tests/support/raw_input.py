"""Raw files of any kind for tests, and reading them without an engine.

``read`` checks on every call that no row was lost: rows in = valid + faults; of impressions,
rankings in = valid rankings + rankings that are faults + rankings of which no item is valid (there
is none, or all of them are faults by themselves).
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.lake import Lake
from training_assets.schemas import (
    CLICKS,
    IMPRESSIONS,
    Table,
)
from training_assets.sources import RawDays, find_raw_days
from training_assets.sources.rows import parse
from training_assets_tests.support.frames import DAY, at, order

FORMATS = ["parquet", "jsonl", "csv"]
TEXTS = ["jsonl", "csv"]
NOON = at(DAY)
OUTSIDE = "item_id outside 1..2147483647"
Row = dict[str, Any]

each_format = pytest.mark.parametrize("ending", FORMATS)
each_text = pytest.mark.parametrize("ending", TEXTS)


# Constant phrases, most of them after the name of a column, so that faults can be grouped.
REASONS = {
    "is null",
    "is not an integer",
    "is not a string",
    "is not a date",
    "is not a timestamp",
    "is not true or false",
    "is not an object",
    "is not an array",
    "is not JSON",
    "is not UTF-8",
    "outside 1..2147483647",
    "outside 64 bits",
    "outside the years 1..9999",
    "contradicts the folder",
    "row is not JSON",
    "row is not a JSON object",
    "row is not CSV",
    "row has another number of cells than the header",
    "is a time and not a day",
    "is ambiguous in its time zone",
    "is not a number",
    "has more than 4 digits behind the point",
    "outside 14 digits before the point",
    "outside the integers that a float holds",
}


class Fault(NamedTuple):
    dt: date
    reason: str
    source_file: str
    content: str


class Read(NamedTuple):
    valid: list[Row]
    faults: list[Fault]

    @property
    def reasons(self) -> list[str]:
        return [fault.reason for fault in self.faults]


def read(root: Path, table: Table = CLICKS, days: Sequence[date] = (DAY,)) -> Read:
    found = find_raw_days(Lake.at(root), table, days)
    valid = parse_all(found, wants_rejects=False)
    faults = [Fault(**row) for row in parse_all(found, wants_rejects=True)]
    for fault in faults:
        assert fault.source_file in {task.name for task in found.tasks}
        assert fault.reason in REASONS or fault.reason.partition(" ")[2] in REASONS
    if table is IMPRESSIONS:
        assert rankings_left_out(found, valid, faults) >= 0
    else:
        counted = Counter(row[table.day_column] for row in valid) + Counter(f.dt for f in faults)
        assert counted == Counter(found.count_rows())
    return Read(valid, faults)


def rankings_left_out(found: RawDays, valid: list[Row], faults: list[Fault]) -> int:
    """Rankings of which no item is valid: rankings in - valid - those that are faults as a whole.

    Faults of items are told by the position that they have in their ranking.
    """
    whole = [fault for fault in faults if '"position": ' not in fault.content]
    return sum(found.count_rows().values()) - len(valid) - len(whole)


def parse_all(found: RawDays, *, wants_rejects: bool) -> list[Row]:
    if not found.tasks:
        return []
    tasks = pa.RecordBatch.from_pylist([task._asdict() for task in found.tasks])
    batches = parse(iter([tasks]), found.table, found.days, wants_rejects=wants_rejects)
    return [row for batch in batches for row in batch.to_pylist()]


def put(
    root: Path, name: str, content: Any, table: Table = CLICKS, folder: str | None = f"dt={DAY}"
) -> Path:
    """Write a raw file: text, bytes, or an Arrow table as Parquet."""
    path = root / "raw" / table.name / (folder or "") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_rows(root: Path, ending: str, rows: Sequence[Row], table: Table = CLICKS, **put_args: Any):
    """Rows of the same keys in any of the formats."""
    return put(root, f"a.{ending}", WRITE[ending](rows), table, **put_args)


def json_lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, default=_iso) + "\n" for row in rows)


def csv_lines(rows: Sequence[Row]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def _iso(value: Any) -> str:
    return value.isoformat()


def _cell(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, (list, dict)) else value


WRITE = {"parquet": pa.Table.from_pylist, "jsonl": json_lines, "csv": csv_lines}


def clicks(*rows: tuple[Any, Any]) -> list[Row]:
    """Clicks of (customer, item), without a day of their own."""
    return [{"customer_id": c, "item_id": i, "click_time": NOON} for c, i in rows]


def orders(*days: date | None) -> list[Row]:
    return [order(1, n, day, NOON) for n, day in enumerate(days, 1)]
