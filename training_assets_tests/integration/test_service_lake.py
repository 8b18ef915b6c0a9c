"""What the service has accepted is what the platform reads from the raw layer."""

from datetime import date, datetime, timedelta
from pathlib import Path

from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.schemas import SHOP_TABLES
from training_assets.sources import find_raw_days
from training_assets_tests.support.service import HEADER, serving

DAYS = [date(2026, 11, 18), date(2026, 11, 19)]


def test_platform_reads_what_was_uploaded(spark: SparkSession, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    csv = HEADER + "".join(f"u{n},i{n},click,{DAYS[n % 2]}T10:00:0{n}Z\n" for n in range(6))
    bad = ",i,click,2026-11-18T10:00:00Z\n"
    more = [
        {
            "customer_id": 7,
            "product_id": "i9",
            "interaction_type": "purchase",
            "timestamp": "2026-11-19T12:00:00+02:00",
            "price": 1.25,
            "spare": "column",
        }
    ]
    with serving(lake=str(lake)) as served:
        client = served.client()
        for _ in range(2):
            client.upload((csv + bad).encode(), query="mode=partial&backfill=true")
        sent = client.post("/internal/data/interactions?backfill=true", json=more)
        assert sent.status_code == 201, sent.text
    table = SHOP_TABLES["interactions"]
    raw = find_raw_days(Lake.at(lake), table, DAYS)
    assert raw.read_rejects(spark).count() == 0
    rows = [row.asDict() for row in raw.read_valid(spark).collect()]
    assert sorted(row["user_id"] for row in rows) == ["7", *(f"u{n}" for n in range(6))]
    (bought,) = [row for row in rows if row["interaction_type"] == "purchase"]
    assert (bought["item_id"], float(bought["price"]), bought["dt"]) == ("i9", 1.25, DAYS[1])
    assert (
        bought["timestamp"].astimezone().timestamp()
        == datetime.fromisoformat("2026-11-19T10:00:00+00:00").timestamp()
    )
    arrived = {row["ingested_at"] for row in rows}
    assert len(arrived) == 2
    assert max(arrived) - min(arrived) < timedelta(hours=1)
