"""A column that a table gets later: in the log with the next day, null in all files before it."""

from dataclasses import replace
from datetime import date

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from training_assets.lake import Lake, LocalStore, Store, open_snapshot, publish
from training_assets.lake.frames import read_days
from training_assets.lake.log import add_columns, delta_uri, open_delta
from training_assets.schemas import UNIFIED_ACTIONS, Table
from training_assets_tests.support.planting import publish_day, table_of
from training_assets_tests.support.published_days import DAYS, write_day

A, B = DAYS[:2]
OLD = replace(UNIFIED_ACTIONS, columns=UNIFIED_ACTIONS.columns[:5])


def publish_with(store: Store, table: Table, day: date) -> None:
    new = {day: write_day(store, day, table=table)}
    before = open_snapshot(store, table.name)
    assert publish(store, table, new, before, {"run": "test"}) == {day: "published"}


def columns_of(store: Store) -> list[str]:
    return [field.name for field in DeltaTable(delta_uri(store)).schema().fields]


def test_a_table_gets_its_new_columns_with_the_next_day(store: Store) -> None:
    publish_with(store, OLD, A)
    assert columns_of(store) == OLD.column_names
    publish_with(store, UNIFIED_ACTIONS, B)
    assert columns_of(store) == UNIFIED_ACTIONS.column_names
    rows = DeltaTable(delta_uri(store)).to_pyarrow_dataset().to_table()
    assert len(rows) == 12
    assert rows["is_bot"].null_count == 12
    version = open_snapshot(store, OLD.name).version
    publish_with(store, UNIFIED_ACTIONS, DAYS[2])
    assert open_snapshot(store, OLD.name).version == version + 1


def test_two_runs_add_the_same_columns_once(store: Store) -> None:
    publish_with(store, OLD, A)
    first, second = (open_delta(store, OLD.name) for _ in range(2))
    assert first is not None
    assert second is not None
    for delta in (first, second):
        found = add_columns(store, delta, UNIFIED_ACTIONS)
        assert [field.name for field in found.schema().fields] == UNIFIED_ACTIONS.column_names
    assert open_snapshot(store, OLD.name).days == [A]


@pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")
def test_days_before_it_are_read_with_null(spark: SparkSession, local: LocalStore) -> None:
    lake = Lake(local)
    for table, day in ((OLD, A), (UNIFIED_ACTIONS, B)):
        publish_day(lake, table, day, table_of(table, [{"customer_id": 1}]))
    snapshot, names = lake.snapshot(OLD.name), ["dt", "customer_id", "rating", "is_bot"]
    rows = read_days(spark, snapshot, UNIFIED_ACTIONS, [A, B], names).collect()
    assert sorted(tuple(row) for row in rows) == [(day, 1, None, None) for day in (A, B)]
    assert read_days(spark, snapshot, UNIFIED_ACTIONS, [A], ["rating"]).count() == 1
