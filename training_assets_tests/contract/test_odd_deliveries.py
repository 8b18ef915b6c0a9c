"""Odd deliveries in one lake: both engines publish the same rows of them, and set aside the same.

What each becomes, with its whole kind, is tested without an engine in ``unit/sources``.
"""

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.pipeline import build_days
from training_assets.schemas import CLICKS, IMPRESSIONS, PREVIOUS_ORDERS
from training_assets.settings import Settings
from training_assets.sources import find_raw_days
from training_assets.tables import SPECS
from training_assets_tests.support.frames import DAY, at, before
from training_assets_tests.support.raw_input import put

DECLARED: Final = """
[likes]
kind = "like"
rows = "events"
[likes.columns]
customer_id = "user.id"
item_id = "events.sku"
occurred_at = { from = "events.ts", unit = "ms" }
"""
CLICK, ORDER, LIKE = 1, 3, 5
MIDNIGHT, TEN = at(DAY, "00:00"), at(DAY, "10:00")
MILLIS: Final = int(TEN.timestamp() * 1_000)


class Odd(NamedTuple):
    """Clicks as they are delivered: times of those that count, by customer; reasons of others."""

    content: Any
    times: Mapping[int, datetime]
    reasons: tuple[str, ...] = ()


def ids(values: list[Any], kind: pa.DataType) -> pa.Table:
    return pa.table({"customer_id": pa.array(values, kind), "item_id": [5] * len(values)})


def line(customer: Any, **more: Any) -> str:
    return json.dumps({"customer_id": customer, "item_id": "5", **more}) + "\n"


IS_NULL = "customer_id is null"
NO_OBJECT = "row is not a JSON object"
ODD: Final = {
    "decimals.parquet": Odd(
        ids([Decimal(1), Decimal(2**63), None], pa.decimal128(38)),
        {1: MIDNIGHT},
        ("customer_id outside 64 bits", IS_NULL),
    ),
    "floats.parquet": Odd(ids([2.0, float("nan")], pa.float64()), {2: MIDNIGHT}, (IS_NULL,)),
    "narrow.parquet": Odd(
        ids([3.0, 2.0**25], pa.float32()),
        {3: MIDNIGHT},
        ("customer_id outside the integers that a float holds",),
    ),
    "dictionary.parquet": Odd(
        ids(["4", "x"], pa.string()).set_column(
            0, "customer_id", pa.array(["4", "x"]).dictionary_encode()
        ),
        {4: MIDNIGHT},
        ("customer_id is not an integer",),
    ),
    "nanoseconds.parquet": Odd(
        ids([5], pa.uint64()).append_column("click_time", pa.array([TEN], pa.timestamp("ns"))),
        {5: TEN},
    ),
    "points.csv": Odd(f"customer_id,item_id,click_time\n6.0,5.0,{DAY} 10:00:00\n", {6: TEN}),
    "breaks.csv": Odd(
        b'\xef\xbb\xbfcustomer_id,item_id,note\r\n7,5,"two\r\nlines, ""quoted"""\r\n8,5,"open\r\n',
        {7: MIDNIGHT},
        ("row is not CSV",),
    ),
    "capitals.csv": Odd("CUSTOMER ID,itemId\n9,5\n,5\n", {9: MIDNIGHT}, (IS_NULL,)),
    "zone.jsonl": Odd(line("10", click_time=f"{DAY} 10:00:00 UTC"), {10: TEN}),
    "packed.jsonl": Odd(
        gzip.compress((line(11) + "[1, 2]\n").encode()), {11: MIDNIGHT}, (NO_OBJECT,)
    ),
    "lines.jsonl": Odd(
        line(12).encode() + f"{line(13).strip()} {line(13)}".encode() + b'{"customer_id": "\xe4"}',
        {12: MIDNIGHT},
        ("row is not JSON", "row is not UTF-8"),
    ),
    "array.json": Odd(f'[1, {line(14)}, "x, y", [2, 3]]', {14: MIDNIGHT}, (NO_OBJECT,) * 3),
}


def deliver(root: Path) -> None:
    """All of these, likes in arrays, orders of two days in a flat file, and rankings."""
    (root / "sources.toml").write_text(DECLARED)
    for name, odd in ODD.items():
        put(root, name, odd.content, CLICKS)
    likes = [{"sku": "5", "ts": MILLIS}, {"sku": None, "ts": MILLIS}]
    target = root / "raw" / "likes" / f"dt={DAY}" / "a.jsonl"
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps({"user": {"id": "15"}, "events": likes}))
    days = pa.array([at(before(1), "00:00"), MIDNIGHT], pa.timestamp("ns"))
    orders = {"customer_id": [16, 17], "config_id": [5, 5], "order_date": days}
    put(root, "a.parquet", pa.table(orders), PREVIOUS_ORDERS, folder=None)
    shown = pa.list_(pa.struct([("item_id", pa.int64()), ("is_order", pa.int8())]))
    items = [[{"item_id": 5, "is_order": 1}, {"item_id": 6, "is_order": 0}]]
    put(
        root,
        "a.parquet",
        pa.table({"ranking_id": [7], "customer_id": [1], "impressions": pa.array(items, shown)}),
        IMPRESSIONS,
    )
    rows = "ranking_id,customer_id,item_id,is_order,position\n8,1,5,t,2\n8,1,6,FALSE,1\n8,1,0,1,3\n"
    put(root, "b.csv", rows, IMPRESSIONS)


def test_odd_deliveries_become_the_same_on_both_engines(
    spark: SparkSession, tmp_path: Path
) -> None:
    deliver(tmp_path)
    lake, settings = Lake.at(tmp_path), Settings(lake=str(tmp_path), min_valid_share=0)
    (report,) = build_days(spark, lake, settings, [SPECS["unified_actions"]], [DAY])
    assert report.problem is None
    published = lake.snapshot("unified_actions")
    found = [row for uri in published.uris(DAY) for row in SealedParquet(uri).read().to_pylist()]
    names = ("customer_id", "item_id", "action_type", "occurred_at")
    expected = [(c, 5, CLICK, time) for odd in ODD.values() for c, time in odd.times.items()]
    expected += [(15, 5, LIKE, TEN), (17, 5, ORDER, MIDNIGHT)]
    assert sorted(tuple(row[name] for name in names) for row in found) == sorted(expected)
    store = lake.table_store("unified_actions")
    rejects = [
        (row["source_file"].rpartition("/")[2], row["reason"])
        for entry in store.list(published.quarantine_path(DAY))
        for row in SealedParquet(store.uri(entry.path)).read().to_pylist()
    ]
    wanted = [(name, reason) for name, odd in ODD.items() for reason in odd.reasons]
    assert Counter(rejects) == Counter([*wanted, ("a.jsonl", "item_id is null")])
    rankings = find_raw_days(lake, IMPRESSIONS, [DAY]).read_valid(spark).collect()
    shown = {r["ranking_id"]: [tuple(item) for item in r["impressions"]] for r in rankings}
    assert shown == {"7": [(5, True), (6, False)], "8": [(6, False), (5, True)]}
