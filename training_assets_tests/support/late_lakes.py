"""Lakes of ``lakes.py`` whose raw files change, and what must become of them."""

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.pipeline import Rebuilt, build_days, rebuild_outdated
from training_assets.provenance import Provenance, find_outdated
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    RAW_TABLES,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
)
from training_assets.settings import Settings
from training_assets.tables import BUILT_FROM, TableSpec
from training_assets_tests.support import reference
from training_assets_tests.support.frames import at, click
from training_assets_tests.support.lakes import ACTION_DAYS, IMPRESSION_DAYS, SETTINGS, Row
from training_assets_tests.support.tables import SEQUENCE

Days = list[date]
UA, CH, TI = (t.name for t in (UNIFIED_ACTIONS, CUSTOMER_HISTORY, TRAINING_INPUT))


def build(
    spark: SparkSession, lake: Lake, settings: Settings, specs: Iterable[TableSpec], days: Days
) -> list[str]:
    """The problems of the days that were not published; the lake is looked at anew afterwards."""
    reports = list(build_days(spark, lake, settings, list(specs), days))
    lake.refresh()
    return [report.problem for report in reports if report.problem]


def rebuild(spark: SparkSession, lake: Lake, settings: Settings) -> list[Rebuilt]:
    done = rebuild_outdated(
        lake, settings, lambda days, specs: not build(spark, lake, settings, specs, days)
    )
    lake.refresh()
    return [result for result in done if result.table in SEQUENCE]


def rows_of(lake: Lake, table: str, day: date) -> list[Row]:
    return [row for file in tables_of(lake, table, day) for row in file.to_pylist()]


def tables_of(lake: Lake, table: str, day: date) -> list[pa.Table]:
    """What is in each file of the published day, read with its checksums."""
    return [SealedParquet(uri).read() for uri in lake.snapshot(table).uris(day)]


def everything(lake: Lake) -> dict[tuple[str, date], list[Row]]:
    return {
        (table, day): rows_of(lake, table, day) for table in SEQUENCE for day in lake.days(table)
    }


def outdated(lake: Lake, settings: Settings = SETTINGS) -> tuple[dict, dict]:
    """Out-of-date and touched days by table."""
    found = find_outdated(Provenance(Lake(lake.store), settings), BUILT_FROM)
    late = {table: [f.day for f in found.days if f.table == table] for table in SEQUENCE}
    return (
        {table: days for table, days in late.items() if days},
        {t: list(days) for t, days in found.touched.items() if days and t in (UA, CH, TI)},
    )


def raw_file(root: Path, table: str, day: date, name: str = "part-0.parquet") -> Path:
    return root / "raw" / table / f"dt={day}" / name


def put(path: Path, table: str, rows: list[Row]) -> None:
    columns = RAW_TABLES[table].columns
    if "=" in path.parent.name:
        columns = RAW_TABLES[table].stored_columns
    schema = pa.schema([(column.name, column.arrow) for column in columns])
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def grow_orders(root: Path, *rows: Row) -> None:
    file = root / "raw/previous_orders/orders.parquet"
    put(file, "previous_orders", [*pq.read_table(file).to_pylist(), *rows])


def unordered(tables: dict[tuple[str, date], list[Row]]) -> dict[tuple[str, date], list[str]]:
    """Rows as sorted texts; times by their text, because UTC has two names in Python.

    Without what only an event stream tells of an action.
    """
    further = UNIFIED_ACTIONS.column_names[5:]
    return {
        key: sorted(
            str([(name, str(value)) for name, value in row.items() if name not in further])
            for row in rows
        )
        for key, rows in tables.items()
    }


def raw_rows(lake: Lake, table: str) -> list[Row]:
    found = []
    for file in sorted((Path(lake.raw.url) / table).rglob("*.parquet")):
        rows = pq.ParquetFile(file).read().to_pylist()
        folder = file.parent.name.partition("=")[2]
        found += [{**row, "dt": date.fromisoformat(folder)} if folder else row for row in rows]
    return found


def truth(lake: Lake, settings: Settings) -> dict[tuple[str, date], list[str]]:
    """What a lake built from scratch from the raw files of now must hold, by plain loops."""
    sources = [raw_rows(lake, name) for name in ("clicks", "add_to_carts", "previous_orders")]
    impressions = raw_rows(lake, "impressions")
    knobs = (settings.history_length, settings.lookback_days)
    rows: dict[tuple[str, date], list[Row]] = {(UA, day): [] for day in ACTION_DAYS}
    rows |= {(table, day): [] for table in (CH, TI) for day in IMPRESSION_DAYS}
    actions = reference.unified_actions(*sources)
    for action in actions:
        named = zip(UNIFIED_ACTIONS.column_names[1:5], action[1:], strict=True)
        rows[UA, action.day].append(dict(named))
    for row in reference.training_input(impressions, *sources, *knobs):
        named = zip(TRAINING_INPUT.column_names[1:], row[1:], strict=True)
        rows[TI, date.fromisoformat(row[0])].append(dict(named))
    for day in IMPRESSION_DAYS:
        for customer in {row["customer_id"] for row in rows[TI, day]}:
            newest = reference.history(actions, customer, day, *knobs)
            items, types = [a.item_id for a in newest], [a.action_type for a in newest]
            ago = [(day - a.day).days for a in newest]
            values = (customer, items, types, ago)
            named = zip(CUSTOMER_HISTORY.column_names[1:], values, strict=True)
            rows[CH, day].append(dict(named))
    return unordered(rows)


def late_click(customer: int, item: int, day: date) -> Callable[[Path], None]:
    """A file beside the one that was there, named as to be read before it."""
    return lambda root: put(
        raw_file(root, "clicks", day, "late.parquet"),
        "clicks",
        [click(customer, item, day, at(day))],
    )


def root_of(lake: Lake) -> Path:
    return Path(lake.store.url)


def reasons(lake: Lake, settings: Settings = SETTINGS) -> str:
    return "\n".join(
        f"{late.table} {late.day}: {'; '.join(late.reasons)}"
        for late in find_outdated(Provenance(Lake(lake.store), settings), BUILT_FROM).days
    )
