"""What is counted of which column, and that counts of files, days and JSON add up."""

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.monitoring.profile import MAX_LEVELS, Feature, Profile
from training_assets.monitoring.profile_files import profile_rows, watched_features
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, UNIFIED_ACTIONS, Column, Table

PRICES = Table(
    name="prices",
    grain="one line",
    key=("line",),
    columns=(
        Column("dt", "date", "Day."),
        Column("line", "long", "Key."),
        Column("item_id", "string", "An identifier."),
        Column("category", "string", "A category."),
        Column("is_bot", "boolean", "A flag."),
        Column("price", "decimal(18,4)", "A decimal."),
        Column("score", "double", "A double."),
        Column("at", "timestamp", "A time."),
    ),
)
NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def rows(**columns: list) -> pa.Table:
    length = len(next(iter(columns.values())))
    return pa.table(
        [
            pa.array(columns.get(column.name, [None] * length), column.arrow)
            for column in PRICES.stored_columns
        ],
        schema=PRICES.arrow_schema,
    )


def test_what_is_watched_follows_from_the_types() -> None:
    assert [watch.name for watch in watched_features(CUSTOMER_HISTORY)] == [
        "action_items.length",
        "action_types.kinds",
        "action_days_ago.ages",
    ]
    lists = ("action_items", "action_types")
    assert [watch.name for watch in watched_features(TRAINING_INPUT, lists)] == ["is_order"]
    names = [watch.name for watch in watched_features(UNIFIED_ACTIONS)]
    assert names[:2] == ["action_type", "occurred_at.hour"]
    assert [watch.name for watch in watched_features(PRICES)] == [
        "category",
        "is_bot",
        "price",
        "score",
        "at.hour",
    ]


def test_values_nulls_and_ends_by_hand() -> None:
    found = profile_rows(
        rows(
            line=[1, 2, 3, 4],
            category=["a", "b", "a", None],
            is_bot=[True, False, None, False],
            price=[Decimal("1.5"), Decimal("1.5"), None, Decimal("-2")],
            score=[0.0, float("nan"), None, 5.0],
            at=[NOON, NOON, None, NOON.replace(hour=23)],
        ),
        PRICES,
    )
    assert found.rows == 4
    assert found.features["category"].levels == {"a": 2, "b": 1}
    assert found.features["is_bot"].levels == {"true": 1, "false": 2}
    assert sorted(found.features["price"].bins.values()) == [1, 2]
    assert found.features["score"].nulls == found.columns["score"].nulls == 2
    assert (found.columns["price"].low, found.columns["price"].high) == (-2, 1.5)
    assert found.columns["item_id"].nulls == 4
    assert sum(found.features["at.hour"].bins.values()) == 3
    assert found.newest == {"at": int(NOON.replace(hour=23).timestamp()) * 1_000_000}
    assert found.segment_column == "category"
    assert {name: segment.rows for name, segment in found.segments.items()} == {"a": 2, "b": 1}
    assert found.segments["a"].features["is_bot"].levels == {"true": 1}


def test_lists_are_counted_by_length_kinds_and_ages() -> None:
    history = pa.table(
        {
            "customer_id": [1, 2],
            "action_items": pa.array([[7, 8, 7], []], pa.list_(pa.int32())),
            "action_types": pa.array([[1, 3, 1], []], pa.list_(pa.int8())),
            "action_days_ago": pa.array([[1, 2, 30], []], pa.list_(pa.int16())),
        }
    )
    found = profile_rows(history, CUSTOMER_HISTORY)
    assert sorted(found.features["action_items.length"].bins.values()) == [1, 1]
    assert found.features["action_types.kinds"].levels == {"1": 2, "3": 1}
    assert sum(found.features["action_days_ago.ages"].bins.values()) == 3


def test_no_rows_have_a_profile_too() -> None:
    found = profile_rows(rows(line=[]), PRICES)
    assert (found.rows, Profile.of_json(found.to_json()).rows) == (0, 0)


def test_many_levels_are_kept_by_number_only() -> None:
    many = Feature(levels={f"{n:04d}": 1 + (n == 500) for n in range(1_000)}, is_category=True)
    found = many.trimmed()
    assert (len(found.levels), found.total) == (MAX_LEVELS, many.total)
    assert found.levels["0500"] == 2
    assert found.is_text


@given(st.lists(st.sampled_from([None, 0.0, 1.5, -3.0, 1e9]), max_size=20), st.integers(0, 20))
def test_parts_add_up_to_the_whole(values: list, cut: int) -> None:
    table = rows(line=list(range(len(values))), score=values, category=["c"] * len(values))
    whole = profile_rows(table, PRICES)
    parts = [profile_rows(part, PRICES) for part in (table[:cut], table[cut:])]
    read = [Profile.of_json(part.to_json()) for part in parts]
    assert Profile.sum(read).to_json() == whole.to_json()


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 3)), max_size=12))
def test_segments_are_what_their_rows_have(lines: list[tuple[str | None, int]]) -> None:
    names, scores = [name for name, _ in lines], [float(score) for _, score in lines]
    at = [NOON.replace(hour=score) for _, score in lines]
    table = rows(line=list(range(len(lines))), category=names, score=scores, at=at)
    found = profile_rows(table, PRICES).segments
    for name in {name for name in names if name}:
        alone = profile_rows(table.filter([each == name for each in names]), PRICES)
        alone.segment_column, alone.segments = "", {}
        del alone.features["category"]
        assert found[name].to_json() == alone.to_json()
    assert found.keys() == {name for name in names if name}


@pytest.mark.parametrize("batch", [1, 3])
def test_however_the_rows_are_cut_the_profile_is_the_same(batch: int) -> None:
    table = rows(line=[1, 2, 3, 4, 5], score=[1.0, 2.0, None, 2.0, 9.0])
    cut = pa.Table.from_batches(table.to_batches(max_chunksize=batch))
    assert profile_rows(cut, PRICES).to_json() == profile_rows(table, PRICES).to_json()
