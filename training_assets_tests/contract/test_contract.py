"""Every rule of the data contract as small literal cases, on every engine."""

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from training_assets import build_training_input
from training_assets.errors import SchemaError, SettingsError
from training_assets.schemas import TRAINING_INPUT
from training_assets_tests.support.frames import (
    DAY,
    at,
    before,
    cart,
    click,
    frame,
    histories,
    order,
    ranking,
    training_rows,
)

MAX_INT = 2**31 - 1


# Rule 1: the day of an action is its dt.


def test_late_event_counts_by_its_dt_and_not_by_its_event_time(spark: SparkSession) -> None:
    late = click(1, 5, before(1), at(before(30)))
    assert histories(spark, late) == [[5, 0, 0, 0], [1, 0, 0, 0]]


def test_action_filed_on_the_day_is_excluded_though_its_event_time_is_earlier(spark) -> None:
    assert histories(spark, click(1, 5, DAY, at(before(3)))) == [[0] * 4, [0] * 4]


def test_action_filed_before_the_day_counts_though_its_event_time_is_later(spark) -> None:
    assert histories(spark, click(1, 5, before(1), at(before(-2))))[0] == [5, 0, 0, 0]


def test_order_counts_by_its_order_date(spark: SparkSession) -> None:
    same_day, earlier = order(1, 5, DAY, at(before(2))), order(1, 6, before(1), at(DAY))
    assert histories(spark, same_day, earlier)[0] == [6, 0, 0, 0]


# Rule 2: strictly before.


@pytest.mark.parametrize("make", [click, cart, order])
def test_same_day_action_never_counts(spark: SparkSession, make) -> None:
    assert histories(spark, make(1, 5, DAY, at(DAY, "00:00")))[0] == [0] * 4


@pytest.mark.parametrize("make", [click, cart, order])
def test_action_of_the_day_before_counts(spark: SparkSession, make) -> None:
    assert histories(spark, make(1, 5, before(1), at(before(1), "23:59")))[0] == [5, 0, 0, 0]


def test_later_action_never_counts(spark: SparkSession) -> None:
    assert histories(spark, click(1, 5, before(-1), at(before(-1))))[0] == [0] * 4


# Rule 3: look-back, half-open from the old end, from each impression day.


def test_action_at_the_old_end_of_the_look_back_counts(spark: SparkSession) -> None:
    assert histories(spark, click(1, 5, before(365)))[0] == [5, 0, 0, 0]


def test_action_one_day_beyond_the_look_back_does_not_count(spark: SparkSession) -> None:
    assert histories(spark, click(1, 5, before(366)))[0] == [0] * 4


def test_shorter_look_back_cuts_earlier(spark: SparkSession) -> None:
    actions = [click(1, 5, before(7)), click(1, 6, before(8))]
    assert histories(spark, *actions, lookback_days=7)[0] == [5, 0, 0, 0]


def test_unlimited_look_back_counts_everything(spark: SparkSession) -> None:
    ancient = click(1, 5, before(40_000))
    assert histories(spark, ancient, lookback_days=None)[0] == [5, 0, 0, 0]


def test_look_back_is_counted_from_each_impression_day(spark: SparkSession) -> None:
    rankings = [ranking(1, [99], DAY), ranking(1, [99], before(1))]
    rows = training_rows(spark, rankings, click(1, 5, before(8)), history_length=2, lookback_days=7)
    assert [(row[0], row[5]) for row in rows] == [("2024-05-09", [5, 0]), ("2024-05-10", [0, 0])]


def test_an_action_between_two_impression_days_counts_for_the_later_only(spark) -> None:
    rankings = [ranking(1, [99], DAY), ranking(1, [99], before(2))]
    rows = training_rows(spark, rankings, click(1, 5, before(1)), history_length=1)
    assert [row[5] for row in rows] == [[0], [5]]


# Rule 4: order.


def test_newest_first(spark: SparkSession) -> None:
    actions = [click(1, i, before(i), at(before(i))) for i in (3, 1, 2)]
    assert histories(spark, *actions)[0] == [1, 2, 3, 0]


def test_event_time_orders_across_days(spark: SparkSession) -> None:
    late = click(1, 5, before(1), at(before(9)))
    assert histories(spark, late, click(1, 6, before(2), at(before(2))))[0] == [6, 5, 0, 0]


def test_microseconds_decide(spark: SparkSession) -> None:
    day = before(1)
    actions = [
        click(1, 5, day, at(day, "12:00:00.000001")),
        click(1, 6, day, at(day, "12:00:00.000002")),
    ]
    assert histories(spark, *actions)[0] == [6, 5, 0, 0]


def test_ties_go_by_item_then_by_type(spark: SparkSession) -> None:
    now = at(before(1))
    actions = [
        order(1, 7, before(1), now),
        cart(1, 3, before(1), now),
        click(1, 7, before(1), now),
    ]
    assert histories(spark, *actions) == [[3, 7, 7, 0], [2, 1, 3, 0]]


@pytest.mark.parametrize("make", [click, cart, order])
def test_null_event_time_is_the_day_at_midnight(spark: SparkSession, make) -> None:
    day = before(1)
    actions = [
        make(1, 5, day, None),
        click(1, 6, before(2), at(before(2), "23:59:59")),
        click(1, 7, day, at(day, "00:00:01")),
        click(1, 4, day, at(day, "00:00")),
    ]
    assert histories(spark, *actions)[0] == [7, 4, 5, 6]


def test_midnight_is_utc_in_any_session_time_zone(spark: SparkSession) -> None:
    actions = [order(1, 5, before(1), None), click(1, 6, before(1), at(before(1), "02:00"))]
    actions.append(click(1, 7, before(2), at(before(2), "22:00")))
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        assert histories(spark, *actions)[0] == [6, 5, 7, 0]
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_occurred_at_of_orders_may_be_absent(spark: SparkSession) -> None:
    orders = frame(spark, "previous_orders", [order(1, 5, before(1))]).drop("occurred_at")
    result = build_training_input(
        frame(spark, "impressions", [ranking(1, [99])]),
        frame(spark, "clicks", [click(1, 6, before(1), at(before(1)))]),
        frame(spark, "add_to_carts", []),
        orders,
        history_length=3,
    )
    assert result.collect()[0].action_items == [6, 5, 0]


def test_order_time_is_used_where_it_is_given(spark: SparkSession) -> None:
    day = before(1)
    actions = [order(1, 5, day, at(day, "15:00")), click(1, 6, day, at(day, "14:00"))]
    assert histories(spark, *actions) == [[5, 6, 0, 0], [3, 1, 0, 0]]


# Rule 5: length and duplicates.


@pytest.mark.parametrize("count", [3, 4, 5])
def test_the_newest_are_kept_at_the_limit(spark: SparkSession, count: int) -> None:
    actions = [click(1, i, before(i), at(before(i))) for i in range(1, count + 1)]
    assert histories(spark, *actions)[0] == [*range(1, min(count, 4) + 1), 0][:4]


def test_the_limit_holds_within_one_day(spark: SparkSession) -> None:
    day = before(1)
    actions = [click(1, i, day, at(day, f"12:00:{i:02d}")) for i in range(1, 9)]
    actions.append(click(1, 50, before(2), at(day, "12:00:07.5")))
    assert histories(spark, *actions)[0] == [8, 50, 7, 6]


def test_duplicates_are_kept(spark: SparkSession) -> None:
    twice = click(1, 5, before(1), at(before(1)))
    assert histories(spark, twice, twice, twice)[0] == [5, 5, 5, 0]


def test_the_default_is_a_thousand_actions_of_a_year(spark: SparkSession) -> None:
    day = before(1)
    actions = [click(1, i, day, at(day, f"{i // 60:02d}:{i % 60:02d}")) for i in range(1, 1101)]
    (row,) = training_rows(spark, [ranking(1, [99])], *actions, click(1, 9999, before(366)))
    assert row[5] == list(range(1100, 100, -1))
    assert len(row[6]) == 1000


# Rules 6 and 7: codes and padding.


def test_codes_are_1_click_2_cart_3_order(spark: SparkSession) -> None:
    actions = [click(1, 7, before(1)), cart(1, 7, before(1)), order(1, 7, before(1))]
    assert histories(spark, *actions) == [[7, 7, 7, 0], [1, 2, 3, 0]]


def test_zeros_stand_on_the_right_of_both_arrays(spark: SparkSession) -> None:
    assert histories(spark, cart(1, 5, before(1))) == [[5, 0, 0, 0], [2, 0, 0, 0]]


# Rule 8: every impression item is a row.


def test_customer_without_history_gets_zeros(spark: SparkSession) -> None:
    rows = training_rows(spark, [ranking(2, [99])], click(1, 5, before(1)), history_length=3)
    assert rows == [("2024-05-10", 2, "r", 99, 0, [0, 0, 0], [0, 0, 0])]


def test_no_actions_at_all(spark: SparkSession) -> None:
    assert training_rows(spark, [ranking(2, [99])], history_length=1)[0][5] == [0]


def test_item_that_stands_twice_gives_two_rows(spark: SparkSession) -> None:
    rows = training_rows(spark, [ranking(1, [(9, True), (8, False), (9, True)])], history_length=1)
    assert [(row[3], row[4]) for row in rows] == [(8, 0), (9, 1), (9, 1)]


def test_every_ranking_of_a_customer_gives_its_rows(spark: SparkSession) -> None:
    rankings = [ranking(1, [9], name="a"), ranking(1, [9, 8], name="b"), ranking(1, [9], name="b")]
    rows = training_rows(spark, rankings, click(1, 5, before(1)), history_length=1)
    assert [(row[2], row[3], row[5]) for row in rows] == [
        ("a", 9, [5]),
        ("b", 8, [5]),
        ("b", 9, [5]),
        ("b", 9, [5]),
    ]


@pytest.mark.parametrize("items", [None, [], [None], [(None, True)], [(9, None)]])
def test_array_without_a_valid_item_gives_no_row(spark: SparkSession, items) -> None:
    assert training_rows(spark, [ranking(1, items)], history_length=1) == []


def test_invalid_items_leave_the_valid_ones(spark: SparkSession) -> None:
    items = [None, (None, True), (7, None), (0, True), (-3, False), (MAX_INT + 1, False), (7, True)]
    rows = training_rows(spark, [ranking(1, items)], history_length=1)
    assert [(row[3], row[4]) for row in rows] == [(7, 1)]


def test_ranking_without_customer_or_day_gives_no_row(spark: SparkSession) -> None:
    rankings = [ranking(None, [9]), ranking(1, [9], day=None)]
    assert training_rows(spark, rankings, click(1, 5, before(1)), history_length=1) == []


# Rule 9: invalid actions.


@pytest.mark.parametrize("make", [click, cart, order])
@pytest.mark.parametrize(
    ("customer", "item", "day"),
    [
        (None, 5, before(1)),
        (1, None, before(1)),
        (1, 0, before(1)),
        (1, -1, before(1)),
        (1, MAX_INT + 1, before(1)),
        (1, 2**62, before(1)),
        (1, 5, None),
    ],
)
def test_invalid_action_does_not_enter_a_history(spark, make, customer, item, day) -> None:
    when = at(before(1))
    assert histories(spark, make(customer, item, day, when), click(1, 6, before(1), when)) == [
        [6, 0, 0, 0],
        [1, 0, 0, 0],
    ]


def test_the_largest_item_id_is_valid(spark: SparkSession) -> None:
    assert histories(spark, click(1, MAX_INT, before(1)))[0] == [MAX_INT, 0, 0, 0]


def test_customer_ids_are_64_bit_and_may_be_zero_or_negative(spark: SparkSession) -> None:
    ids = [0, -5, 2**62]
    rows = training_rows(
        spark,
        [ranking(i, [9]) for i in ids],
        *(click(i, 7, before(1)) for i in ids),
        history_length=1,
    )
    assert sorted((row[1], row[5]) for row in rows) == [(-5, [7]), (0, [7]), (2**62, [7])]


# Rule 10 and the shape of the result.


def test_customer_without_impressions_gives_no_row(spark: SparkSession) -> None:
    rows = training_rows(spark, [ranking(1, [9])], click(2, 5, before(1)), history_length=1)
    assert [(row[1], row[5]) for row in rows] == [(1, [0])]


def test_histories_are_never_mixed_between_customers(spark: SparkSession) -> None:
    rankings = [ranking(c, [9]) for c in (1, 2)]
    rows = training_rows(
        spark, rankings, click(1, 5, before(1)), click(2, 6, before(1)), history_length=2
    )
    assert [(row[1], row[5]) for row in rows] == [(1, [5, 0]), (2, [6, 0])]


def test_result_has_exactly_the_declared_columns_and_types(spark: SparkSession) -> None:
    empty = [frame(spark, name, []) for name in ("impressions", "clicks", "add_to_carts")]
    result = build_training_input(*empty, frame(spark, "previous_orders", []))
    assert [(f.name, f.dataType.simpleString()) for f in result.schema.fields] == [
        (c.name, c.type.replace("long", "bigint")) for c in TRAINING_INPUT.columns
    ]
    assert result.collect() == []


def test_text_days_and_narrow_ids_are_read_as_well(spark: SparkSession) -> None:
    impressions = frame(spark, "impressions", [ranking(1, [9])])
    clicks = frame(spark, "clicks", [click(1, 5, before(1))])
    result = build_training_input(
        impressions.withColumn("dt", F.col("dt").cast("string")),
        clicks.withColumn("dt", F.col("dt").cast("string")).withColumn(
            "customer_id", F.col("customer_id").cast("int")
        ),
        frame(spark, "add_to_carts", []),
        frame(spark, "previous_orders", []),
        history_length=1,
    )
    assert [tuple(r) for r in result.collect()] == [("2024-05-10", 1, "r", 9, 0, [5], [1])]


def test_frames_may_be_files_with_the_day_in_their_path(spark: SparkSession, tmp_path) -> None:
    frames = {
        "impressions": [ranking(1, [9, None, (8, None)]), ranking(1, []), ranking(2, [7])],
        "clicks": [click(1, 5, before(1)), click(1, 0, before(1)), click(None, 5, before(1))],
        "add_to_carts": [cart(1, 6, before(2))],
        "previous_orders": [order(2, 4, before(3))],
    }
    read = []
    for name, rows in frames.items():
        path = str(tmp_path / name)
        if name == "previous_orders":
            frame(spark, name, rows).write.parquet(path)
        else:
            frame(spark, name, rows).write.partitionBy("dt").parquet(path)
        read.append(spark.read.parquet(path))
    result = build_training_input(*read, history_length=2)
    assert sorted(
        (r.customer_id, r.impression_item_id, r.action_items) for r in result.collect()
    ) == [
        (1, 9, [5, 6]),
        (2, 7, [4, 0]),
    ]


# Errors.


def test_missing_column_is_named_with_table_and_expectation(spark: SparkSession) -> None:
    clicks = frame(spark, "clicks", []).withColumnRenamed("item_id", "item")
    with pytest.raises(SchemaError, match=r"clicks\.item_id.*missing.*expected int.*item"):
        build_training_input(
            frame(spark, "impressions", []),
            clicks,
            frame(spark, "add_to_carts", []),
            frame(spark, "previous_orders", []),
        )


def test_wrong_type_is_named_with_expected_and_found(spark: SparkSession) -> None:
    impressions = frame(spark, "impressions", []).withColumn("customer_id", F.lit("x"))
    with pytest.raises(SchemaError, match=r"impressions\.customer_id: found string; expected long"):
        build_training_input(
            impressions,
            *(frame(spark, n, []) for n in ("clicks", "add_to_carts")),
            frame(spark, "previous_orders", []),
        )


@pytest.mark.parametrize("knobs", [{"history_length": 0}, {"lookback_days": 0}])
def test_knobs_below_one_are_refused(spark: SparkSession, knobs) -> None:
    with pytest.raises(SettingsError, match=r"is 0; expected at least 1"):
        training_rows(spark, [], **knobs)
