"""Random small lakes: what is built from raw files to training rows is what plain loops give."""

import random
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from training_assets.kernels import day_files
from training_assets.kernels.training_rows import write_training_rows
from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.schemas import IMPRESSIONS, UNIFIED_ACTIONS
from training_assets_tests.support.frames import training_rows as training_rows_of
from training_assets_tests.support.lakes import Row
from training_assets_tests.support.worlds import (
    CH,
    RANKING_DAYS,
    TI,
    UA,
    WORLDS,
    build_world,
    files_of,
    require_truth,
)

RUN = 12 * "0"
# For what Spark would do with the same code, only slower.
ONLY_SAIL = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")


def test_all_tables_are_those_of_the_reference(first_world: Lake) -> None:
    require_truth(first_world, WORLDS[0])


@ONLY_SAIL
@pytest.mark.parametrize("number", range(1, len(WORLDS)))
def test_other_lengths_and_look_backs_give_the_tables_of_the_reference(
    spark: SparkSession, tmp_path: Path, number: int
) -> None:
    lake = WORLDS[number].write(tmp_path)
    build_world(spark, lake, WORLDS[number])
    require_truth(lake, WORLDS[number])


def test_training_rows_are_those_of_the_pure_function(
    spark: SparkSession, first_world: Lake
) -> None:
    world = WORLDS[0]
    result = training_rows_of(
        spark,
        world.rankings,
        *world.actions,
        history_length=world.length,
        lookback_days=world.lookback,
    )
    found = [
        (str(day), *row)
        for day in world.ranking_days
        for file in files_of(first_world, TI, day)
        for row in file
    ]
    assert sorted(found, key=repr) == result


# --- the same bytes, whichever engine -------------------------------------------------------------


def test_files_are_those_that_the_kernels_write_of_the_rows_in_any_order(
    first_world: Lake, tmp_path: Path
) -> None:
    """No engine has a part in the bytes, so that they are the same on both."""
    rng = random.Random(1)
    for day in RANKING_DAYS:
        for table, columns in ((UA, UNIFIED_ACTIONS),):
            write = day_files.write_actions
            (file,) = first_world.snapshot(table).uris(day)
            rows = SealedParquet(file).read()
            if rows.num_rows:
                mixed = with_part(shuffled(rows, rng), day)
                assert mixed.column_names[2:] == columns.column_names[1:]
                list(write(mixed.to_batches(3), str(tmp_path / table), RUN))
                assert written(tmp_path / table, day) == Path(file).read_bytes()
        histories = first_world.snapshot(CH).uris(day)
        (file,) = first_world.snapshot(TI).uris(day)
        if rankings := valid_rankings(WORLDS[0].rankings, day):
            mixed = with_part(shuffled(pa.Table.from_pylist(rankings, RANKING_SCHEMA), rng), day)
            found = {number_of(day): histories}
            list(write_training_rows(mixed.to_batches(3), str(tmp_path / TI), RUN, found, 5))
            assert written(tmp_path / TI, day) == Path(file).read_bytes()


RANKING_SCHEMA = pa.schema(
    [IMPRESSIONS.arrow_schema.field(n) for n in ("customer_id", "ranking_id", "impressions")]
)


def valid_rankings(rankings: list[Row], day: date) -> list[Row]:
    found = []
    for row in rankings:
        if row["dt"] == day and row["customer_id"] is not None:
            items = [
                item
                for item in row["impressions"] or []
                if item and item["item_id"] and item["is_order"] is not None
            ]
            found += [{**row, "impressions": items}] if items else []
    return found


def number_of(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def shuffled(table: pa.Table, rng: random.Random) -> pa.Table:
    return table.take(rng.sample(range(len(table)), len(table)))


def with_part(table: pa.Table, day: date) -> pa.Table:
    part = pa.array([0] * len(table), pa.int32())
    days = pa.array([day] * len(table), pa.date32())
    return table.add_column(0, "part", part).add_column(0, "dt", days)


def written(root: Path, day: date) -> bytes:
    (file,) = (root / f"dt={day}").iterdir()
    return file.read_bytes()
