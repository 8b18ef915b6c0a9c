"""Rows that no table could take are written by the workers, sealed, the same bytes each time."""

import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from training_assets.lake import Lake, quarantine_path
from training_assets.list_format import SealedParquet
from training_assets.schemas import CLICKS, QUARANTINE
from training_assets.sources import REJECTS_DDL, find_raw_days, write_rejects
from training_assets_tests.support.frames import DAY, before
from training_assets_tests.support.raw_input import put
from training_assets_tests.support.s3 import S3Place

RUN = "0123456789ab"
OTHER_RUN = "ba9876543210"
Row = dict[str, Any]


def reject(day: date, source: str, file: str, reason: str, content: str) -> Row:
    return {
        "dt": day,
        "reason": reason,
        "source_file": file,
        "content": content,
        "source": source,
    }


ROWS = [
    reject(DAY, "clicks", "raw/b", "item_id is null", "x"),
    reject(DAY, "clicks", "raw/a", "row is not CSV", "y"),
    reject(DAY, "clicks", "raw/a", "item_id is null", "z"),
    reject(DAY, "clicks", "raw/a", "item_id is null", "ä\n"),
    reject(DAY, "clicks", "raw/a", "item_id is null", "z"),
    reject(DAY, "add_to_carts", "raw/c", "row is not CSV", ""),
    reject(before(1), "clicks", "raw/d", "row is not CSV", "q"),
]


def batches(rows: list[Row], size: int = 2) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(rows), size):
        yield pa.RecordBatch.from_pylist(rows[start : start + size])


def written(rows: list[Row], root: str, run: str = RUN, size: int = 2) -> list[Row]:
    found = write_rejects(batches(rows, size), root, run)
    return [row for batch in found for row in batch.to_pylist()]


def contents(place: str) -> list[tuple[str, ...]]:
    with SealedParquet(place) as file:
        assert file.is_sealed
        assert file.schema_arrow.equals(QUARANTINE.arrow_schema)
        return [tuple(row.values()) for row in file.read().to_pylist()]


def test_each_source_and_day_has_one_file_where_its_run_says(tmp_path: Path) -> None:
    found = written(ROWS, str(tmp_path))
    assert [(row["dt"], row["source"], row["rows"]) for row in found] == [
        (before(1), "clicks", 1),
        (DAY, "add_to_carts", 1),
        (DAY, "clicks", 5),
    ]
    for row in found:
        folder = f"{quarantine_path(row['dt'], RUN)}/source={row['source']}"
        assert row["name"].startswith(f"{folder}/part-00000-")
        assert row["name"].endswith(f"-{RUN}.pq")
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {row["name"] for row in found}


def test_rows_stand_by_file_reason_and_content_and_duplicates_stay(tmp_path: Path) -> None:
    *_, clicks = written(ROWS, str(tmp_path))
    assert contents(f"{tmp_path}/{clicks['name']}") == [
        ("item_id is null", "raw/a", "z"),
        ("item_id is null", "raw/a", "z"),
        ("item_id is null", "raw/a", "ä\n"),
        ("row is not CSV", "raw/a", "y"),
        ("item_id is null", "raw/b", "x"),
    ]


def test_same_rows_in_any_order_and_run_give_the_same_bytes(tmp_path: Path) -> None:
    seen = set()
    for seed in range(6):
        rows = random.Random(seed).sample(ROWS, len(ROWS))
        run = (RUN, OTHER_RUN)[seed % 2]
        found = written(rows, str(tmp_path / str(seed)), run, 1 + seed)
        names = tuple(row["name"].replace(run, "") for row in found)
        seen.add((names, *((tmp_path / str(seed) / row["name"]).read_bytes() for row in found)))
    assert len(seen) == 1


def test_no_rows_write_nothing(tmp_path: Path) -> None:
    assert written([], str(tmp_path)) == []
    (empty,) = write_rejects(iter([]), str(tmp_path), RUN)
    assert empty.schema.names == ["dt", "source", "rows", "name"]
    assert list(tmp_path.iterdir()) == []


def test_more_rows_than_a_group_are_all_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_assets.sources.rejects._GROUP_ROWS", 7)
    rows = [reject(DAY, "clicks", "raw/a", "row is not CSV", f"{n:03}") for n in range(100)]
    (found,) = written(rows, str(tmp_path), size=13)
    assert found["rows"] == 100
    assert [row[2] for row in contents(f"{tmp_path}/{found['name']}")] == [
        f"{n:03}" for n in range(100)
    ]


@pytest.mark.parametrize("is_remote", [False, True], ids=["local", "s3"])
def test_engines_write_the_same_bytes_to_any_store(
    tmp_path: Path, spark: SparkSession, s3_server: S3Place, is_remote: bool
) -> None:
    put(tmp_path, "a.csv", "customer_id,item_id\n1,2\n,3\nx,1\n5,0\n")
    found = find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    rejects = found.read_rejects(spark).withColumn("source", F.lit("clicks"))
    lake = Lake.at(s3_server.new_url() if is_remote else tmp_path / "lake")
    store = lake.table_store("unified_actions")
    root = store.uri()

    def write(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return write_rejects(rows, root, RUN)

    done = rejects.repartition(1).mapInArrow(write, REJECTS_DDL).collect()
    (row,) = [tuple(row) for row in done]
    assert row[:3] == (DAY, "clicks", 3)
    assert contents(store.uri(row[3])) == [
        ("customer_id is not an integer", f"raw/clicks/dt={DAY}/a.csv", "x,1"),
        ("customer_id is null", f"raw/clicks/dt={DAY}/a.csv", ",3"),
        ("item_id outside 1..2147483647", f"raw/clicks/dt={DAY}/a.csv", "5,0"),
    ]
    (expected,) = written(
        [{**r.asDict(), "source": "clicks"} for r in rejects.collect()], str(tmp_path / "plain")
    )
    assert row[3] == expected["name"]
