"""What frames of any origin may look like, and how wrong ones are named, on every engine."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets import build_training_input
from training_assets.errors import SchemaError, SettingsError
from training_assets.schemas import TRAINING_INPUT
from training_assets_tests.support.frames import (
    at,
    before,
    cart,
    click,
    frame,
    order,
    ranking,
    training_rows,
)

EVE = before(1)


def build(spark: SparkSession, *, length: int = 3, **frames: DataFrame) -> list[tuple[Any, ...]]:
    """Sorted training rows of the given frames; the others are empty, or customer 1 shown 9."""
    rows = {"impressions": [ranking(1, [9])], "clicks": [], "add_to_carts": []}
    given = [
        frames[name] if name in frames else frame(spark, name, rows.get(name, []))
        for name in (*rows, "previous_orders")
    ]
    result = build_training_input(*given, history_length=length)
    return sorted((tuple(row) for row in result.collect()), key=repr)


def items_of(spark: SparkSession, **frames: DataFrame) -> list[int]:
    (row,) = build(spark, **frames)
    return row[5]


@contextmanager
def session_conf(spark: SparkSession, name: str, value: str) -> Iterator[None]:
    before_it = spark.conf.get(name, None)
    spark.conf.set(name, value)
    try:
        yield
    finally:
        if before_it is None:
            spark.conf.unset(name)
        else:
            spark.conf.set(name, before_it)


# Times and zones.


ZONES = pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "UTC"])


@ZONES
@pytest.mark.first_on_spark
def test_midnight_is_utc_in_any_session_time_zone(spark: SparkSession, zone: str) -> None:
    actions = [order(1, 5, EVE, None), click(1, 6, EVE, at(EVE, "02:00"))]
    actions.append(click(1, 7, before(2), at(before(2), "22:00")))
    with session_conf(spark, "spark.sql.session.timeZone", zone):
        (row,) = training_rows(spark, [ranking(1, [9])], *actions, history_length=4)
    assert row[5] == [6, 5, 7, 0]


@ZONES
@pytest.mark.first_on_spark
def test_times_without_a_zone_are_utc_in_any_session_time_zone(spark, zone: str) -> None:
    clicks = [(5, "22:59:59.999999"), (6, "23:00"), (8, None)]
    naive = pa.table(
        {
            "dt": [before(2)] * 3,
            "customer_id": [1] * 3,
            "item_id": [item for item, _ in clicks],
            "click_time": pa.array(
                [clock and at(before(2), clock).replace(tzinfo=None) for _, clock in clicks],
                pa.timestamp("us"),
            ),
        }
    )
    ddl = "dt date, customer_id long, item_id long, click_time timestamp_ntz"
    with session_conf(spark, "spark.sql.session.timeZone", zone):
        found = items_of(
            spark,
            length=5,
            clicks=spark.createDataFrame(naive, ddl),
            previous_orders=frame(spark, "previous_orders", [order(1, 7, EVE)]),
        )
    assert found == [7, 6, 5, 8, 0]


def test_a_time_that_a_zone_leaves_out_is_read_as_it_stands(spark: SparkSession, tmp_path) -> None:
    # At 02:30 of that day clocks in New York went from 02:00 to 03:00.
    skipped, later = datetime(2024, 3, 10, 2, 30), datetime(2024, 3, 10, 3, 0)
    rows = {
        "dt": [skipped.date()] * 2,
        "customer_id": [1, 1],
        "item_id": [5, 6],
        "click_time": pa.array([skipped, later], pa.timestamp("us")),
    }
    pq.write_table(pa.table(rows), tmp_path / "clicks.parquet")
    with session_conf(spark, "spark.sql.session.timeZone", "America/New_York"):
        clicks = spark.read.parquet(str(tmp_path / "clicks.parquet"))
        assert items_of(spark, clicks=clicks) == [6, 5, 0]


def test_the_session_may_have_times_without_a_zone_as_its_default(spark: SparkSession) -> None:
    actions = [order(1, 7, EVE), click(1, 5, before(2), at(before(2), "23:00"))]
    with (
        session_conf(spark, "spark.sql.timestampType", "TIMESTAMP_NTZ"),
        session_conf(spark, "spark.sql.session.timeZone", "America/New_York"),
    ):
        (row,) = training_rows(spark, [ranking(1, [9])], *actions, history_length=2)
    assert row[5] == [7, 5]


def test_occurred_at_of_orders_may_be_absent(spark: SparkSession) -> None:
    orders = frame(spark, "previous_orders", [order(1, 5, EVE)]).drop("occurred_at")
    clicks = frame(spark, "clicks", [click(1, 6, EVE, at(EVE))])
    assert items_of(spark, clicks=clicks, previous_orders=orders) == [6, 5, 0]


# Days.


NO_DAYS = (
    " 2024-05-09",
    "2024-05-09 ",
    "2024-05-09\n",
    "2024-05-09T",
    "2024-05-09T00:00:00",
    "2024-05-09 00:00:00",
    "20240509",
    "2024-5-9",
    "2024-05",
    "+2024-05-9",
    "2024-02-30",
    "2024-13-01",
    "0000-01-01",
    "10000-01-01",
    "٢٠٢٤-٠٥-٠٩",
    "now",
    "",
    None,
)


def test_text_is_a_day_only_as_year_month_day(spark: SparkSession) -> None:
    texts = [*NO_DAYS, "2024-05-09"]
    clicks = pa.table(
        {
            "dt": pa.array(texts, pa.string()),
            "customer_id": [1] * len(texts),
            "item_id": list(range(1, len(texts) + 1)),
            "click_time": pa.nulls(len(texts), pa.timestamp("us", "UTC")),
        }
    )
    assert items_of(spark, clicks=spark.createDataFrame(clicks)) == [len(texts), 0, 0]


def test_a_ranking_whose_day_is_another_text_gives_no_row(spark: SparkSession) -> None:
    listed = [ranking(1, [number + 1]) for number in range(len(NO_DAYS) + 1)]
    table = pa.Table.from_pylist(listed).drop_columns("dt")
    table = table.append_column("dt", pa.array([*NO_DAYS, "2024-05-09"], pa.string()))
    rows = build(spark, impressions=spark.createDataFrame(table))
    assert [(row[0], row[3]) for row in rows] == [("2024-05-09", len(listed))]


def test_days_outside_the_years_1_to_9999_are_none(spark: SparkSession) -> None:
    clicks = frame(spark, "clicks", [click(1, n, EVE) for n in (1, 2, 3)])
    number = F.col("item_id").cast("int")
    # The first day of the year 1, the one before it, and the first of the year 10000.
    day = F.when(number == 1, -719_162).when(number == 2, -719_163).otherwise(2_932_897)
    clicks = clicks.withColumn("dt", F.date_from_unix_date(day.cast("int")))
    rankings = frame(spark, "impressions", [ranking(1, [9])])
    rows = build_training_input(
        rankings,
        clicks,
        frame(spark, "add_to_carts", []),
        frame(spark, "previous_orders", []),
        history_length=3,
        lookback_days=None,
    ).collect()
    assert [row.action_items for row in rows] == [[1, 0, 0]]


# Columns and fields.


def json_frame(spark: SparkSession, folder: Path, rows: list[dict[str, Any]]) -> DataFrame:
    folder.mkdir()
    (folder / "part.json").write_text("\n".join(json.dumps(row) for row in rows))
    return spark.read.json(str(folder))


def test_items_from_json_are_read_by_the_names_of_their_fields(spark, tmp_path) -> None:
    # Inferred from JSON, fields are in the order of their names on Spark.
    shown = [{"item_id": 8, "is_order": False, "a": 1}, {"item_id": 9, "is_order": True, "z": "x"}]
    row = {"dt": "2024-05-10", "ranking_id": "r", "customer_id": 1, "impressions": shown}
    impressions = json_frame(spark, tmp_path / "impressions", [row])
    clicks = frame(spark, "clicks", [click(1, 5, EVE)])
    rows = build(spark, impressions=impressions, clicks=clicks)
    assert [row[3:6] for row in rows] == [(8, 0, [5, 0, 0]), (9, 1, [5, 0, 0])]


@pytest.mark.first_on_spark
@pytest.mark.parametrize("order_of", [("is_order", "item_id"), ("item_id", "is_order")])
@pytest.mark.parametrize("item_type", [pa.int8(), pa.int16(), pa.int32(), pa.int64()])
def test_fields_stand_in_any_order_and_width(spark, order_of, item_type) -> None:
    types = {"is_order": pa.bool_(), "item_id": item_type, "spare": pa.list_(pa.string())}
    struct = pa.struct([(name, types[name]) for name in (*order_of, "spare")])
    items = [{"item_id": 7, "is_order": True, "spare": ["x"]}, {"item_id": 6, "is_order": False}]
    table = pa.table(
        {
            "spare": [{"a": 1}],
            "impressions": pa.array([[None, *items]], pa.list_(struct)),
            "customer_id": pa.array([1], pa.int16()),
            "ranking_id": ["r"],
            "dt": [EVE],
        }
    )
    rows = build(spark, impressions=spark.createDataFrame(table))
    assert [row[3:5] for row in rows] == [(6, 0), (7, 1)]


def test_spare_columns_of_any_type_are_ignored(spark: SparkSession) -> None:
    clicks = frame(spark, "clicks", [click(1, 5, EVE)])
    clicks = clicks.select("*", F.lit(True).alias("action_type"), F.array().alias("occurred_at"))
    shown = frame(spark, "impressions", [ranking(1, [9])]).withColumn("item_id", F.lit("x"))
    assert items_of(spark, clicks=clicks, impressions=shown) == [5, 0, 0]


@pytest.mark.first_on_spark
@pytest.mark.parametrize("width", ["tinyint", "smallint", "int", "bigint"])
def test_ids_of_any_integer_width_are_read(spark: SparkSession, width: str) -> None:
    clicks = frame(spark, "clicks", [click(1, 5, EVE)])
    for name in ("customer_id", "item_id"):
        clicks = clicks.withColumn(name, F.col(name).cast(width))
    assert items_of(spark, clicks=clicks) == [5, 0, 0]


@pytest.mark.parametrize(
    "items",
    ["array()", "array(null)", "null", "array(named_struct('item_id', null, 'is_order', null))"],
)
def test_impressions_of_nothing_but_nulls_give_no_row(spark: SparkSession, items: str) -> None:
    shown = frame(spark, "impressions", [ranking(1, [9])]).withColumn("impressions", F.expr(items))
    assert build(spark, impressions=shown) == []


def test_text_days_and_narrow_ids_are_read_as_well(spark: SparkSession) -> None:
    shown = frame(spark, "impressions", [ranking(1, [9])])
    clicks = frame(spark, "clicks", [click(1, 5, EVE)])
    rows = build(
        spark,
        impressions=shown.withColumn("dt", F.col("dt").cast("string")),
        clicks=clicks.withColumn("dt", F.col("dt").cast("string")),
    )
    assert rows == [("2024-05-10", 1, "r", 9, 0, [5, 0, 0], [1, 0, 0])]


def test_frames_may_be_files_with_the_day_in_their_path(spark: SparkSession, tmp_path) -> None:
    frames = {
        "impressions": [ranking(1, [9, None, (8, None)]), ranking(1, []), ranking(2, [7])],
        "clicks": [click(1, 5, EVE), click(1, 0, EVE), click(None, 5, EVE)],
        "add_to_carts": [cart(1, 6, before(2))],
        "previous_orders": [order(2, 4, before(3))],
    }
    read = {}
    for name, rows in frames.items():
        path = str(tmp_path / name)
        if name == "previous_orders":
            frame(spark, name, rows).write.parquet(path)
        else:
            frame(spark, name, rows).write.partitionBy("dt").parquet(path)
        read[name] = spark.read.parquet(path)
    rows = build(spark, length=2, **read)
    assert [(row[1], row[3], row[5]) for row in rows] == [(1, 9, [5, 6]), (2, 7, [4, 0])]


# Frames that are not the same twice.


@pytest.mark.parametrize("seed", [None, 7])
def test_a_sample_of_rankings_keeps_its_histories(spark: SparkSession, seed: int | None) -> None:
    num_customers = 400
    draw = F.rand() if seed is None else F.rand(seed)
    shown = frame(spark, "impressions", [ranking(c, [9]) for c in range(num_customers)])
    clicks = frame(spark, "clicks", [click(c, c + 1, EVE) for c in range(num_customers)])
    rows = build(spark, impressions=shown.where(draw < 0.5), clicks=clicks)
    assert 100 < len(rows) < 300
    assert [row for row in rows if row[5] != [row[1] + 1, 0, 0]] == []


def test_a_customer_that_is_drawn_keeps_one_history(spark: SparkSession) -> None:
    shown = frame(spark, "impressions", [ranking(1, [9], name=str(n)) for n in range(200)])
    drawn = shown.withColumn("customer_id", F.floor(F.rand() * 50).cast("long"))
    clicks = frame(spark, "clicks", [click(c, c + 1, EVE) for c in range(50)])
    rows = build(spark, impressions=drawn, clicks=clicks)
    assert len(rows) == 200
    assert [row for row in rows if row[5] != [row[1] + 1, 0, 0]] == []


# The result.


def test_result_has_exactly_the_declared_columns_and_types(spark: SparkSession) -> None:
    empty = [frame(spark, name, []) for name in ("impressions", "clicks", "add_to_carts")]
    result = build_training_input(*empty, frame(spark, "previous_orders", []))
    assert [(f.name, f.dataType.simpleString()) for f in result.schema.fields] == [
        (c.name, c.type.replace("long", "bigint")) for c in TRAINING_INPUT.columns
    ]
    assert result.collect() == []


def test_rows_of_many_batches_are_all_there(spark: SparkSession) -> None:
    # Padded, a thousand rows of 5000 are more than one batch.
    shown = frame(spark, "impressions", [ranking(1, [1] * 500), ranking(2, [1] * 500)])
    clicks = frame(spark, "clicks", [click(c, c, EVE) for c in (1, 2)])
    result = build_training_input(
        shown,
        clicks,
        frame(spark, "add_to_carts", []),
        frame(spark, "previous_orders", []),
        history_length=5_000,
    )
    counts = result.groupBy("customer_id", F.col("action_items")[0], F.size("action_types")).count()
    assert sorted(map(tuple, counts.collect())) == [(1, 1, 5_000, 500), (2, 2, 5_000, 500)]


# Errors.


def test_missing_column_is_named_with_table_and_expectation(spark: SparkSession) -> None:
    clicks = frame(spark, "clicks", []).withColumnRenamed("item_id", "item")
    with pytest.raises(SchemaError, match=r"clicks\.item_id.*missing.*expected int.*item"):
        build(spark, clicks=clicks)


@pytest.mark.parametrize(
    ("table", "column", "value", "found"),
    [
        ("impressions", "customer_id", "'x'", "string; expected long"),
        ("impressions", "impressions", "'x'", "string; expected array<struct"),
        ("impressions", "impressions", "array(1)", "array<int>; expected array<struct"),
        ("impressions", "ranking_id", "1", "int; expected string"),
        ("impressions", "dt", "1", "int; expected date"),
        ("clicks", "dt", "timestamp'2024-05-09 00:00:00'", "timestamp; expected date"),
        ("clicks", "item_id", "1.0", r"decimal\(2,1\); expected int"),
        ("clicks", "click_time", "'2024-05-09'", "string; expected timestamp"),
        ("add_to_carts", "occurred_at", "date'2024-05-09'", "date; expected timestamp"),
        ("previous_orders", "config_id", "'5'", "string; expected int"),
    ],
)
def test_wrong_type_is_named_with_expected_and_found(
    spark: SparkSession, table: str, column: str, value: str, found: str
) -> None:
    wrong = frame(spark, table, []).withColumn(column, F.expr(value))
    with pytest.raises(SchemaError, match=rf"^{table}\.{column}: found {found}.*\. Cast the "):
        build(spark, **{table: wrong})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("'item_id', 1, 'is_order', 1", "is_order: found int; expected boolean"),
        ("'item_id', 1, 'is_order', 'yes'", "is_order: found string; expected boolean"),
        ("'item_id', '1', 'is_order', true", "item_id: found string; expected int"),
        ("'item_id', 1", "is_order: the field is missing; expected boolean, found only item_id"),
        ("'Item_Id', 1, 'is_order', true", "item_id: the field is missing; expected int"),
        (
            "'item_id', 1, 'ITEM_ID', 2, 'is_order', true",
            r"item_id: the name stands 2 times \(item_id, ITEM_ID\)",
        ),
    ],
)
def test_wrong_field_of_an_item_is_named(spark: SparkSession, fields: str, message: str) -> None:
    items = F.expr(f"array(named_struct({fields}))")
    shown = frame(spark, "impressions", []).withColumn("impressions", items)
    with pytest.raises(SchemaError, match=rf"^impressions\.impressions\.{message}"):
        build(spark, impressions=shown)


def test_name_that_stands_twice_is_an_error(spark: SparkSession) -> None:
    clicks = frame(spark, "clicks", [])
    twice = clicks.select("*", F.lit(1).alias("ITEM_ID"))
    with pytest.raises(SchemaError, match=r"clicks\.item_id: the name stands 2 times"):
        build(spark, clicks=twice)


@pytest.mark.parametrize("value", [0, -1, 1.5, 7.0, float("nan"), float("inf"), "7", True])
@pytest.mark.parametrize("knob", ["history_length", "lookback_days"])
def test_knobs_that_are_no_whole_number_from_1_on_are_refused(spark, knob: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"^build_training_input: {knob} is .*; expected "):
        training_rows(spark, [], **{knob: value})


def test_knobs_may_be_integers_of_numpy(spark: SparkSession) -> None:
    knobs = {"history_length": np.int64(2), "lookback_days": np.uint8(7)}
    actions = [click(1, 5, before(7)), click(1, 6, before(8))]
    (row,) = training_rows(spark, [ranking(1, [9])], *actions, **knobs)
    assert row[5] == [5, 0]


def test_a_look_back_longer_than_any_calendar_is_unlimited(spark: SparkSession) -> None:
    knobs = {"history_length": 1, "lookback_days": 10**30}
    (row,) = training_rows(spark, [ranking(1, [9])], click(1, 5, before(40_000)), **knobs)
    assert row[5] == [5]
