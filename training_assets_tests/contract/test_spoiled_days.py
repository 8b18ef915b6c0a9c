"""Days that are spoiled while they are built stay as they were, and no other day with them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.pipeline import build_days
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.tables import SPECS, Build, NewFiles
from training_assets_tests.support.lakes import (
    IMPRESSION_DAYS,
    SETTINGS,
    SHORT,
)
from training_assets_tests.support.planting import (
    read_rows,
    write_day,
)
from training_assets_tests.support.plants import (
    BAD_DAY,
    PLANTED,
    Plant,
    cast_column,
    drop_row,
    halve_file,
    on_file,
    set_history,
    set_padded,
)

on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True)


@pytest.fixture
def lake(tiny_copy: Lake) -> Lake:
    return tiny_copy


def poison(monkeypatch: pytest.MonkeyPatch, table: Table, plant: Plant) -> None:
    """Let the build of a table plant a fault in what it wrote of the bad day."""
    spec = SPECS[table.name]

    def poisoned(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
        written = dict(spec.build(build, days))
        if BAD_DAY in written:
            written[BAD_DAY] = spoiled(build, table, plant, written[BAD_DAY])
        return written

    monkeypatch.setitem(SPECS, table.name, replace(spec, build=poisoned))


def spoiled(build: Build, table: Table, plant: Plant, new: NewFiles) -> NewFiles:
    paths = [Path(build.root(table.name), file.name) for file in new.files]
    if plant.file:
        for path in paths:
            plant.file(path)
        return new
    rows = plant.rows(read_rows(map(str, paths)))
    for path in paths:
        path.unlink()
    spoilt = write_day(build.lake, table, BAD_DAY, [rows], build.run)
    return NewFiles(spoilt.files, spoilt.bounds)


def rebuild_and_expect_lost(spark: SparkSession, lake: Lake, *lost: str) -> dict[str, str]:
    """Build all days anew, shorter; of the bad day ``lost`` must stay. Gives their problems."""
    settings = replace(SETTINGS, history_length=5)
    before = {table: lake.snapshot(table).files_of(BAD_DAY) for table in PLANTED}
    reports = list(
        build_days(spark, lake, settings, [SPECS[name] for name in PLANTED], IMPRESSION_DAYS)
    )
    lake.refresh()
    assert {(r.table, r.day) for r in reports} == {(t, d) for t in PLANTED for d in IMPRESSION_DAYS}
    problems = {(r.table, r.day): r.problem for r in reports if r.problem}
    assert problems.keys() == {(table, BAD_DAY) for table in lost}
    for table in PLANTED:
        for day in IMPRESSION_DAYS:
            if table != UNIFIED_ACTIONS.name:
                length = lake.manifest(table, day)["settings"]["history_length"]
                assert length == (6 if (table, day) in problems else 5)
        is_same = lake.snapshot(table).files_of(BAD_DAY) == before[table]
        assert is_same == (table in lost or table == UNIFIED_ACTIONS.name)
        # What was not published is gone.
        of_day = lake.table_store(table).list(f"dt={BAD_DAY}")
        published = {file.name for file in lake.snapshot(table).files_of(BAD_DAY)}
        old = {file.name for file in before[table]}
        assert {entry.path for entry in of_day} == published | old
    return {table: problem for (table, _), problem in problems.items()}


NOT_BUILT = f"training_input: day {BAD_DAY} was not built, because its customer_history failed."


@on_sail_only
@pytest.mark.parametrize(
    ("table", "plant", "lost", "says"),
    [
        (UNIFIED_ACTIONS, drop_row(SHORT), [], "row_counts: Rows were lost or added"),
        (CUSTOMER_HISTORY, set_history(SHORT, [(202, 1, 1)]), [TRAINING_INPUT], "leakage: 1 of 9"),
        (CUSTOMER_HISTORY, on_file(halve_file), [TRAINING_INPUT], f"schema: On {BAD_DAY}: part-0"),
        (TRAINING_INPUT, set_padded(SHORT, [205], [1]), [], "sequence_length: 1 of 54 rows"),
        (TRAINING_INPUT, cast_column("is_order", pa.int64()), [], "is_order is int64"),
    ],
    ids=["lost action", "leak", "unreadable history", "short rows", "wide labels"],
)
def test_day_that_is_staged_wrong_stays_as_it_was_and_the_others_are_published(
    spark: SparkSession,
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
    table: Table,
    plant: Plant,
    lost: list[Table],
    says: str,
) -> None:
    poison(monkeypatch, table, plant)
    problems = rebuild_and_expect_lost(spark, lake, table.name, *(t.name for t in lost))
    assert says in problems[table.name]
    assert str(BAD_DAY) in problems[table.name]
    assert [problems[t.name] for t in lost] == [NOT_BUILT] * len(lost)


@on_sail_only
def test_day_whose_raw_files_are_broken_stays_in_all_tables_and_the_others_are_published(
    spark: SparkSession, lake: Lake
) -> None:
    for source in ("clicks", "impressions"):
        halve_file(Path(lake.store.url) / f"raw/{source}/dt={BAD_DAY}/part-0.parquet")
    problems = rebuild_and_expect_lost(spark, lake, *PLANTED)
    assert f"raw/clicks/dt={BAD_DAY}/part-0.parquet" in problems[UNIFIED_ACTIONS.name]
    assert f"raw/impressions/dt={BAD_DAY}/part-0.parquet" in problems[CUSTOMER_HISTORY.name]
    assert problems[TRAINING_INPUT.name] == NOT_BUILT


@on_sail_only
def test_day_whose_raw_file_breaks_while_it_is_read_does_not_fail_the_range(
    spark: SparkSession, lake: Lake
) -> None:
    file = Path(lake.store.url) / f"raw/clicks/dt={BAD_DAY}/part-0.parquet"
    content = file.read_bytes()
    # The footer, which is all that is looked at before a job starts, stays whole.
    file.write_bytes(content[:4] + b"\xff" * 40 + content[44:])
    problems = rebuild_and_expect_lost(spark, lake, UNIFIED_ACTIONS.name)
    assert f"raw/clicks/dt={BAD_DAY}/part-0.parquet" in problems[UNIFIED_ACTIONS.name]
