"""A shop's data as five tools export it by default, each from an empty lake to the first tensor.

    python benchmarks/exports.py --scratch /tmp/exports
    python benchmarks/exports.py --scratch /tmp/exports --tool pandas --tool tracker

pandas    CSV with a nameless index column, ids that a missing one made floats, Parquet in folders
          of days that are times (event_date=2026-03-01%2000%3A00%3A00.000)
polars    Parquet in folders by day, CSV with times in ISO 8601, JSON lines
duckdb    Parquet in folders year=2026/month=3/day=1, CSV with times such as 10:00:00+00
spark     JSON, Parquet, and CSV without a header, in folders with _SUCCESS and .crc; needs Java
tracker   a dump by the hour: arrays of nested events as JSON in gzip, item ids that are texts

The data is the sample of ``training-assets generate``. For each tool its ``sources.toml`` in
``examples/sources/exports`` is laid beside its export, ``run`` builds all tables, and the first
batch is read. Prints lines of the declaration, actions published and set aside, and seconds.
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl

HERE: Final = Path(__file__).parent
TENSOR: Final = HERE.parent / "training_assets" / "cli" / "project" / "first_tensor.py"
DECLARED: Final = HERE.parent / "examples" / "sources" / "exports"
NUM_DAYS: Final = 10
_KINDS: Final = {
    "view": "Product Viewed",
    "click": "Product Clicked",
    "add_to_cart": "Product Added",
    "like": "Product Added to Wishlist",
    "purchase": "Order Completed",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--tool", choices=list(TOOLS), action="append")
    parser.add_argument("--keep", action="store_true", help="leave the lakes where they are")
    options = parser.parse_args()
    root = options.scratch / "exports"
    shutil.rmtree(root, ignore_errors=True)
    sample = root / "sample"
    command = ("generate", "--interactions", "20000", "--days", str(NUM_DAYS))
    assets(sample, *command, "--end-date", "2026-03-10")
    print(f"{'':8} {'lines':>5} {'valid':>7} {'aside':>6} {'seconds':>8}  first batch")
    try:
        for tool in options.tool or TOOLS:
            lake = root / tool
            TOOLS[tool](sample, lake / "data")
            print(f"{tool:8} {to_tensor(tool, lake)}", flush=True)
    finally:
        if not options.keep:
            shutil.rmtree(root, ignore_errors=True)


def to_tensor(tool: str, lake: Path) -> str:
    declared = (DECLARED / f"{tool}.toml").read_text()
    (lake / "sources.toml").write_text(declared)
    start = time.perf_counter()
    assets(lake, "run")
    batch = ran([sys.executable, str(TENSOR)], {"TRAINING_ASSETS_LAKE": str(lake)}).splitlines()
    seconds = time.perf_counter() - start
    valid, aside = rows_of(lake)
    lines = [line for line in declared.splitlines() if line.strip() and not line.startswith("#")]
    return f"{len(lines):5} {valid:7,} {aside:6,} {seconds:8.1f}  {batch[0]}"


def rows_of(lake: Path) -> tuple[int, int]:
    """Rows of actions that were published, and that were set aside."""
    from training_assets.lake import Lake

    snapshot = Lake.at(lake).snapshot("unified_actions")
    figures = [snapshot.manifest(day)["figures"] for day in snapshot.days]
    return sum(f["rows"] for f in figures), sum(sum(f["quarantined"].values()) for f in figures)


def assets(lake: Path, *command: str) -> str:
    return ran(
        [sys.executable, "-m", "training_assets.cli", *command],
        {"TRAINING_ASSETS_LAKE": str(lake)},
    )


def ran(command: list[str], variables: dict[str, str]) -> str:
    found = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise SystemExit(f"{' '.join(command)}\n{found.stdout[-3000:]}{found.stderr[-3000:]}")
    return found.stdout


# --- what a shop has ------------------------------------------------------------------------------


def days_of(sample: Path, table: str) -> Iterator[tuple[str, pl.DataFrame]]:
    for folder in sorted((sample / "raw" / table).iterdir()):
        (file,) = folder.iterdir()
        read = pl.read_parquet if file.suffix == ".parquet" else pl.read_ndjson
        yield folder.name.removeprefix("dt="), read(file)


def clicks_of(sample: Path) -> pl.DataFrame:
    """Clicks with the day that they were filed under."""
    frames = [
        frame.select(
            pl.lit(day).str.to_date().alias("event_date"),
            user_id="customer_id",
            product_id="item_id",
            event_time=pl.col("click_time").dt.replace_time_zone(None),
        )
        for day, frame in days_of(sample, "clicks")
    ]
    return pl.concat(frames)


def orders_of(sample: Path) -> pl.DataFrame:
    frames = [frame for _, frame in days_of(sample, "previous_orders")]
    return pl.concat(frames).select(
        "order_date",
        user_id="customer_id",
        product_id="config_id",
        ordered_at=pl.col("occurred_at").dt.replace_time_zone(None),
        # As of a warehouse that has more than is asked for.
        total=(pl.col("config_id") % 90 + 9).cast(pl.Decimal(18, 2)),
    )


def shown_of(sample: Path) -> pl.DataFrame:
    """A row per item shown."""
    frames = [
        frame.explode("impressions").select(
            pl.lit(day).str.to_date().alias("event_date"),
            list_id="ranking_id",
            user_id="customer_id",
            product_id=pl.col("impressions").struct.field("item_id"),
            ordered=pl.col("impressions").struct.field("is_order").cast(pl.Int64),
        )
        for day, frame in days_of(sample, "impressions")
    ]
    place = pl.int_range(pl.len()).over("event_date", "list_id") + 1
    return pl.concat(frames).with_columns(place.alias("position"))


# --- as tools write it ----------------------------------------------------------------------------


def with_pandas(sample: Path, data: Path) -> None:
    data.mkdir(parents=True)
    clicks = clicks_of(sample).to_pandas()
    # An export joined from elsewhere: one product is missing, so all of them are floats.
    clicks.loc[3, "product_id"] = None
    clicks.to_csv(data / "clicks.csv")
    orders_of(sample).to_pandas().to_csv(data / "orders.csv.gz")
    shown_of(sample).to_pandas().to_parquet(data / "shown", partition_cols=["event_date"])


def with_polars(sample: Path, data: Path) -> None:
    data.mkdir(parents=True)
    clicks_of(sample).write_parquet(data / "clicks", partition_by="event_date", mkdir=True)
    orders_of(sample).write_csv(data / "orders.csv")
    shown_of(sample).write_ndjson(data / "shown.ndjson")


def with_duckdb(sample: Path, data: Path) -> None:
    import duckdb

    data.mkdir(parents=True)
    clicks, orders, shown = clicks_of(sample), orders_of(sample), shown_of(sample)  # noqa: F841
    days = "year(event_date) AS year, month(event_date) AS month, day(event_date) AS day"
    by_day = "(FORMAT parquet, PARTITION_BY (year, month, day))"
    duckdb.sql(f"COPY (SELECT *, {days} FROM clicks) TO '{data}/clicks' {by_day}")
    duckdb.sql(f"COPY (SELECT *, {days} FROM shown) TO '{data}/shown' {by_day}")
    duckdb.sql(
        f"COPY (SELECT * REPLACE (ordered_at AT TIME ZONE 'UTC' AS ordered_at) FROM orders) "
        f"TO '{data}/orders.csv'"
    )


def with_spark(sample: Path, data: Path) -> None:
    from pyspark.sql import SparkSession

    data.mkdir(parents=True)
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    frames = {"clicks": clicks_of, "orders": orders_of, "shown": shown_of}
    for name, of in frames.items():
        of(sample).write_parquet(data / f"{name}.in")
        rows = spark.read.parquet(str(data / f"{name}.in"))
        if name == "clicks":
            rows.write.partitionBy("event_date").json(str(data / name))
        elif name == "orders":
            rows.write.csv(str(data / name))
        else:
            rows.write.partitionBy("event_date").parquet(str(data / name))
        (data / f"{name}.in").unlink()
    spark.stop()


def from_tracker(sample: Path, data: Path) -> None:
    for day, frame in days_of(sample, "interactions"):
        by_hour: dict[str, list[dict[str, Any]]] = {}
        for row in frame.to_dicts():
            by_hour.setdefault(str(row["timestamp"])[11:13], []).append(_event(row))
        for hour, events in by_hour.items():
            file = data / "events" / day.replace("-", "/") / hour / "part-000.json.gz"
            file.parent.mkdir(parents=True)
            file.write_bytes(gzip.compress(json.dumps(events).encode()))


def _event(row: dict[str, Any]) -> dict[str, Any]:
    price = row.get("price")
    return {
        "messageId": row["interaction_id"],
        "event": _KINDS[row["interaction_type"]],
        "userId": str(row["user_id"]),
        "originalTimestamp": row["timestamp"],
        "context": {
            "sessionId": row.get("session_id"),
            "device": {"type": row.get("device_type")},
            "page": {"path": row.get("page_context")},
        },
        "properties": {
            "product_id": f"SKU-{row['item_id']}",
            **({} if price is None else {"price": float(price), "quantity": 1}),
        },
    }


TOOLS: Final[dict[str, Callable[[Path, Path], None]]] = {
    "pandas": with_pandas,
    "polars": with_polars,
    "duckdb": with_duckdb,
    "spark": with_spark,
    "tracker": from_tracker,
}


if __name__ == "__main__":
    main()
