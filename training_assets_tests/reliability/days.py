"""Days of unified_actions made without an engine, and what a reader would see of them."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.lake import Lake, Staging, stage_days
from training_assets.lake.lake import quarantine_path
from training_assets.schemas import CLICKS, QUARANTINE, UNIFIED_ACTIONS

DAY = date(2024, 5, 10)
TABLE = UNIFIED_ACTIONS.name
Content = dict[str, bytes]


def put_staged(staging: Staging, version: int, day: date = DAY) -> None:
    """Stage ``version`` rows in two files, and as many faults."""
    folder = staging.day_path(TABLE, day)
    rows = [{"customer_id": n, "item_id": version, "action_type": 1} for n in range(version)]
    for name in ("part-00000.parquet", "part-00001.parquet"):
        write(folder / name, rows, UNIFIED_ACTIONS.arrow_schema)
    faults = [{"reason": f"fault of {version}", "source_file": "f", "content": "c"}] * version
    write(quarantine_path(folder, CLICKS) / "part-00000.pq", faults, QUARANTINE.arrow_schema)


def write(path: Path, rows: list[dict[str, object]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def publish(root: Path, version: int, day: date = DAY) -> bool:
    """A whole run that publishes one day."""
    with stage_days(Lake(root), [day], wait_seconds=0, progress=print) as staging:
        put_staged(staging, version, day)
        return staging.publish(TABLE, day, {"version": version})


def content(root: Path, day: date = DAY) -> Content:
    """Files of the published day with their bytes; empty for a day that is not published."""
    folder = Lake(root).day_path(TABLE, day)
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def leftovers(root: Path) -> list[str]:
    """What runs have left in the folders that are theirs."""
    found = [*(root / "_staging").rglob("*"), *(root / "_retired").glob("*/*")]
    return [str(path.relative_to(root)) for path in found]
