"""The same checks of a lake in an object store, where no engine can go: the workers can."""

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from training_assets.checks import CheckContext, CheckResult, run_checks
from training_assets.lake import Lake
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT
from training_assets_tests.support.lakes import (
    ACTION_DAYS,
    IMPRESSION_DAYS,
    SETTINGS,
    tiny_actions,
    tiny_rankings,
    write_tiny_lake,
)
from training_assets_tests.support.planting import replant, rows_of, table_of
from training_assets_tests.support.reference_lakes import publish_reference
from training_assets_tests.support.s3 import S3Place
from training_assets_tests.support.tables import SEQUENCE

GOOD_DAY, BAD_DAY = DAYS = IMPRESSION_DAYS[1:3]
# Nothing was built, so nothing is recorded; and one of the few clicks of the bad day has no item.
UNASKED = ("up_to_date", "valid_share")


@pytest.fixture
def lake(s3_server: S3Place, tmp_path: Path) -> Lake:
    """What the reference says, published in a bucket beside its raw files."""
    root, lake = write_tiny_lake(tmp_path), Lake.at(s3_server.new_url())
    for day in (*ACTION_DAYS, *IMPRESSION_DAYS):
        lake.store.put(f"raw/clicks/dt={day}/_SUCCESS", b"")
        lake.store.put(f"raw/add_to_carts/dt={day}/_SUCCESS", b"")
    for file in (path for path in root.rglob("*") if path.is_file()):
        lake.store.put(str(file.relative_to(root)), file.read_bytes())
    publish_reference(
        lake,
        SETTINGS,
        tiny_rankings(),
        tiny_actions(),
        action_days=ACTION_DAYS,
        impression_days=DAYS,
    )
    return lake


def failed(spark: SparkSession, lake: Lake) -> list[tuple[str, str, date]]:
    found: list[CheckResult] = []
    for spec in SEQUENCE.values():
        table, sources = spec.table, spec.rejected_sources(lake)
        context = CheckContext(spark, lake, SETTINGS, table, tuple(DAYS), sources)
        checks = [check for check in spec.checks if check.name not in UNASKED]
        found += run_checks(context, checks)
        assert spec.metrics(context)[BAD_DAY]["rows"] == sum(
            file.rows for file in lake.snapshot(spec.name).files_of(BAD_DAY)
        )
    return [(r.check.table, r.check.name, r.day) for r in found if not r.passed]


# On Spark, all checks of a store are made by the cluster of ``integration/test_stores.py``.
@pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")
def test_checks_of_a_store_see_what_is_wrong_and_nothing_else(
    spark: SparkSession, lake: Lake
) -> None:
    rows = rows_of(lake, CUSTOMER_HISTORY.name, BAD_DAY).to_pylist()
    spoilt = ({**row, "action_days_ago": [1] * len(row["action_items"])} for row in rows)
    replant(lake, CUSTOMER_HISTORY.name, BAD_DAY, table_of(CUSTOMER_HISTORY, spoilt))
    fewer = rows_of(lake, TRAINING_INPUT.name, BAD_DAY).slice(1)
    replant(lake, TRAINING_INPUT.name, BAD_DAY, fewer)
    flip_bit(lake, TRAINING_INPUT.name, GOOD_DAY)
    assert failed(spark, lake) == [
        (CUSTOMER_HISTORY.name, "leakage", BAD_DAY),
        (TRAINING_INPUT.name, "schema", GOOD_DAY),
        (TRAINING_INPUT.name, "row_counts", BAD_DAY),
    ]


def flip_bit(lake: Lake, table: str, day: date) -> None:
    store, (file,) = lake.table_store(table), lake.snapshot(table).files_of(day)
    content = bytearray(store.read(file.name))
    content[len(content) // 3] ^= 1
    store.put(file.name, bytes(content))
