"""Impressions with one row per item are rankings, whatever file and order they come in."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from training_assets.errors import RawDataError
from training_assets.lake import Lake
from training_assets.schemas import CLICKS, IMPRESSIONS, PREVIOUS_ORDERS, Table
from training_assets.sources import find_raw_days
from training_assets_tests.support.frames import DAY
from training_assets_tests.support.raw_input import clicks, orders, put, put_rows


def test_rows_of_items_are_grouped_by_position_and_faults_set_aside(
    spark: SparkSession, tmp_path: Path
) -> None:
    head = "ranking_id,customer_id,item_id,is_order,position\n"
    put(tmp_path, "a.csv", f"{head}r,1,7,0,2\nr,1,5,1,1\ns,2,9,t,1\nr,1,x,0,3\n", IMPRESSIONS)
    put(tmp_path, "b.csv", f"{head}r,1,6,false,3\n,1,6,0,1\n", IMPRESSIONS)
    found = find_raw_days(Lake.at(tmp_path), IMPRESSIONS, [DAY])
    rows = {r["ranking_id"]: r for r in found.read_valid(spark).collect()}
    shown = {n: [(i["item_id"], i["is_order"]) for i in r["impressions"]] for n, r in rows.items()}
    assert shown == {"r": [(5, True), (7, False), (6, False)], "s": [(9, True)]}
    reasons = sorted(row["reason"] for row in found.read_rejects(spark).collect())
    assert reasons == ["item_id is not an integer", "ranking_id is null"]
    assert found.count_rows() == {DAY: 6}


@pytest.mark.parametrize(
    ("table", "folder"),
    [
        (CLICKS, "2026/03/01/10"),
        (CLICKS, "export"),
        (PREVIOUS_ORDERS, "batch-1"),
    ],
)
def test_files_in_a_folder_that_is_no_day_are_an_error(
    tmp_path: Path, table: Table, folder: str
) -> None:
    rows = clicks((1, 1)) if table is CLICKS else orders(DAY)
    put_rows(tmp_path, "parquet", rows, table)
    put_rows(tmp_path, "parquet", rows, table, folder=folder)
    with pytest.raises(RawDataError, match="the folder is read for no day") as caught:
        find_raw_days(Lake.at(tmp_path), table, [DAY])
    assert f"raw/{table.name}/{folder.partition('/')[0]}:" in str(caught.value)
