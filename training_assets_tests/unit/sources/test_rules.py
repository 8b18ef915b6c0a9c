"""Rules as data: what each finds, against a loop over rows; and the JSON Schema made of them."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.schemas import RAW_INTERACTIONS, RAW_ITEMS, SHOP_TABLES, Table
from training_assets.sources.rules import (
    FUTURE,
    OLDEST,
    RULES,
    broken_rows,
    first_reasons,
    json_schema,
    judge_rows,
    rules_markdown,
    rules_of,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = {
    "interactions": {
        "user_id": "u1",
        "item_id": "p1",
        "interaction_type": "click",
        "timestamp": NOW,
        "rating": 5.0,
        "price": Decimal("1.50"),
    },
    "items": {"item_id": "p1", "title": "A", "attributes": '{"a": 1}', "price": Decimal(0)},
    "users": {"user_id": "u1", "join_date": date(2020, 1, 1)},
}


def table_of(table: Table, *rows: dict[str, Any]) -> pa.Table:
    schema = pa.schema([(column.name, column.arrow) for column in table.columns])
    return pa.Table.from_pylist([{**GOOD[table.name], **row} for row in rows], schema)


BROKEN = [
    ("interactions", {"user_id": None}, "required"),
    ("interactions", {"user_id": "  "}, "required"),
    ("interactions", {"item_id": None}, "required"),
    ("interactions", {"timestamp": None}, "required"),
    ("interactions", {"interaction_type": None}, "required"),
    ("interactions", {"interaction_type": "buy"}, "not_allowed"),
    ("interactions", {"rating": 5.01}, "out_of_range"),
    ("interactions", {"rating": 0.99}, "out_of_range"),
    ("interactions", {"rating": float("nan")}, "out_of_range"),
    ("interactions", {"quantity": float("inf")}, "out_of_range"),
    ("interactions", {"quantity": 0.0}, "out_of_range"),
    ("interactions", {"quantity": -1.0}, "out_of_range"),
    ("interactions", {"price": Decimal("-0.0001")}, "out_of_range"),
    ("interactions", {"item_id": "x" * 256}, "too_long"),
    ("interactions", {"timestamp": NOW + FUTURE + timedelta(microseconds=1)}, "out_of_range"),
    ("interactions", {"timestamp": OLDEST - timedelta(microseconds=1)}, "out_of_range"),
    ("items", {"title": "x" * 501}, "too_long"),
    ("items", {"title": None}, "required"),
    ("items", {"description": "x" * 10_001}, "too_long"),
    ("items", {"attributes": "[1]"}, "not_json"),
    ("items", {"attributes": "{"}, "not_json"),
    ("items", {"num_reviews": -1}, "out_of_range"),
    ("users", {"user_id": None}, "required"),
    ("users", {"preferences": "none"}, "not_json"),
]


@pytest.mark.parametrize(("name", "row", "code"), BROKEN)
def test_broken_row_is_found_once_and_its_good_neighbours_are_not(name, row, code) -> None:
    rows = table_of(SHOP_TABLES[name], {}, row, {})
    (fault,) = judge_rows(name, rows, now=NOW)
    assert (fault.row, fault.column, fault.code) == (1, next(iter(row)), code)
    reasons = first_reasons(name, rows, now=NOW).to_pylist()
    assert [reason is None for reason in reasons] == [True, False, True]


@pytest.mark.parametrize(
    "row",
    [
        {"timestamp": NOW + FUTURE},
        {"timestamp": OLDEST},
        {"rating": 1.0, "price": Decimal(0), "item_id": "ä" * 255},
        {"rating": None, "price": None},
    ],
)
def test_limits_themselves_are_allowed(row: dict[str, Any]) -> None:
    assert judge_rows("interactions", table_of(RAW_INTERACTIONS, row), now=NOW) == []


def test_row_has_all_of_its_faults_in_order_of_the_rules() -> None:
    rows = table_of(RAW_INTERACTIONS, {"interaction_type": "buy", "rating": 9.0, "user_id": None})
    found = [fault.rule for fault in judge_rows("interactions", rows, now=NOW)]
    assert found == [
        "interactions.user_id.required",
        "interactions.interaction_type.allowed",
        "interactions.rating.range",
    ]
    assert first_reasons("interactions", rows, now=NOW).to_pylist() == ["user_id is null"]


def test_absent_columns_are_null_and_empty_tables_have_no_faults() -> None:
    rows = pa.table({"user_id": ["u1"], "item_id": ["p1"]})
    found = {fault.column for fault in judge_rows("interactions", rows, now=NOW)}
    assert found == {"interaction_type", "timestamp"}
    assert judge_rows("interactions", table_of(RAW_INTERACTIONS).slice(0, 0), now=NOW) == []


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "rating": st.none() | st.floats(width=32),
                "interaction_type": st.none() | st.sampled_from(["click", "buy", "view", ""]),
                "price": st.none() | st.decimals(-2, 2, places=4),
                "session_id": st.none() | st.text("ab", max_size=300),
            }
        ),
        max_size=20,
    )
)
def test_faults_are_those_of_a_loop_over_rows(rows: list[dict[str, Any]]) -> None:
    expected = set()
    for number, row in enumerate(rows):
        rating, kind, price = row["rating"], row["interaction_type"], row["price"]
        if rating is not None and not 1 <= rating <= 5:
            expected.add((number, "rating"))
        if kind not in ("click", "view"):
            expected.add((number, "interaction_type"))
        if price is not None and price < 0:
            expected.add((number, "price"))
        if row["session_id"] is not None and len(row["session_id"]) > 255:
            expected.add((number, "session_id"))
    found = judge_rows("interactions", table_of(RAW_INTERACTIONS, *rows), now=NOW)
    assert {(fault.row, fault.column) for fault in found} == expected


def test_rules_have_names_of_their_own_and_stand_in_the_docs_table() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(name in rules_markdown() for name in names)
    assert rules_of("clicks") == ()


def test_rule_of_many_rows_judges_no_single_one() -> None:
    rule = next(rule for rule in RULES if rule.kind == "unique")
    with pytest.raises(ValueError, match="no single row breaks it"):
        rule.broken(pa.array(["a"]), NOW)


@pytest.mark.parametrize("name", SHOP_TABLES)
def test_json_schema_speaks_of_every_column_and_alias(name: str) -> None:
    schema = json_schema(name)
    json.dumps(schema)
    for column in SHOP_TABLES[name].stored_columns:
        for known_as in (column.name, *column.aliases):
            found = schema["properties"][known_as]
            assert found.get("maximum") == column.maximum
            assert found.get("maxLength") == column.max_length
    with pytest.raises(KeyError):
        json_schema("clicks")


def test_json_schema_of_items_takes_either_name_of_a_required_column() -> None:
    schema = json_schema("items")
    assert {"anyOf": [{"required": ["title"]}, {"required": ["name"]}]} in schema["allOf"]
    assert {"anyOf": [{"required": ["item_id"]}, {"required": ["product_id"]}]} in schema["allOf"]
    assert set(schema["properties"]["item_id"]["type"]) == {"string", "integer"}
    assert RAW_ITEMS.name == schema["title"]


def test_texts_that_keep_a_rule_by_their_lengths_keep_it_one_by_one() -> None:
    odd = ["", " ", "0", "-1", "1", "2147483647", "2147483648", "9" * 18, "9" * 19, "é", "a b"]
    odd += ["x" * 255, "x" * 256, "Click", "click"]
    few = (["u1", "u22"], ["7", "-7"], ["999999999"], ["1" * 18], ["x" * 256], ["", "a"])
    for some in (odd, [*odd, None], *few):
        texts = pa.array([one for one in some for _ in range(2)], pa.string())
        for values in (texts, texts.slice(1, 3)):
            rows = pa.table(dict.fromkeys(("user_id", "item_id", "session_id"), values))
            expected = {
                rule.name: pc.fill_null(rule.broken(values, NOW), False).to_pylist()
                for rule in rules_of("interactions")
                if rule.is_of_rows and rule.column in rows.column_names
            }
            found = {
                rule.name: mask.to_pylist()
                for rule, mask in broken_rows("interactions", rows, now=NOW)
                if rule.name in expected
            }
            assert found == {name: mask for name, mask in expected.items() if any(mask)}
