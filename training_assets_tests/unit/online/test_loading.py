"""Published days in a store: every value of every row, on SQLite, Valkey and DynamoDB's API."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from training_assets.errors import DayNotPublishedError
from training_assets.lake import Lake
from training_assets.online import OnlineStore, compare_day, load_day, open_store
from training_assets.schemas import CUSTOMER_IDS, Column, Table
from training_assets.sources.id_tables import add_customers
from training_assets_tests.support.online_cases import DAY, ROWS, SCHEMA, days_before
from training_assets_tests.support.planting import publish_day

Opens = Callable[..., OnlineStore]
_TYPES = {
    "int64": "long",
    "double": "double",
    "decimal128(18, 4)": "decimal(18,4)",
    "string": "string",
    "bool": "boolean",
    "timestamp[us, tz=UTC]": "timestamp",
    "date32[day]": "date",
}
USERS = Table(
    "user_features",
    "one customer",
    (
        Column("dt", "date", ""),
        *(Column(f.name, _TYPES.get(str(f.type), "array<long>"), "") for f in SCHEMA),
    ),
    ("customer_id",),
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake.at(tmp_path / "lake")
    for number in (1, 0):
        halves = [pa.Table.from_pylist(rows, SCHEMA) for rows in (ROWS[:2], ROWS[2:])]
        publish_day(found, USERS, days_before(number), *halves[number:])
    return found


def test_every_value_online_is_that_of_the_published_row(opens: Opens, lake: Lake) -> None:
    store = opens()
    assert load_day(store, lake, "users").version.rows == len(ROWS)
    found = compare_day(store, lake, "users", DAY)
    assert (found.rows, found.different) == (len(ROWS), 0)


def test_ids_are_those_that_were_delivered(opens: Opens, lake: Lake) -> None:
    numbers = [row["customer_id"] for row in ROWS]
    # The last one came from a source whose ids are integers.
    ids = {
        "id": numbers[:-1],
        "text": ["anna@shop", "böb"],
        "first_seen": [days_before(1)] * 2,
    }
    assert add_customers(lake, pa.table(ids), lake.snapshot(CUSTOMER_IDS.name))
    lake.refresh()
    store = opens()
    load_day(store, lake, "users")
    answers = store.users(["anna@shop", "böb", str(numbers[-1]), numbers[-1], "17"])
    assert [answer.state for answer in answers] == ["found"] * 4 + ["not_found"]
    assert (answers[0].values or {})["total_purchases"] == ROWS[0]["total_purchases"]
    found = compare_day(store, lake, "users", DAY)
    assert (found.rows, found.different) == (len(ROWS), 0)


def test_another_value_or_day_is_found(opens: Opens, lake: Lake) -> None:
    store = opens()
    load_day(store, lake, "users", days_before(1))
    assert compare_day(store, lake, "users", DAY).different == len(ROWS)
    publish_day(
        lake, USERS, days_before(1), pa.Table.from_pylist([ROWS[2] | {"is_new": False}], SCHEMA)
    )
    assert compare_day(store, lake, "users", days_before(1)) == (1, 1, (2**62,))


def test_the_newest_published_day_is_loaded_once(tmp_path: Path, lake: Lake) -> None:
    with open_store(f"sqlite:{tmp_path / 'online'}") as store:
        assert load_day(store, lake, "users").version.dt == DAY
        assert not load_day(store, lake, "users").is_new
        assert load_day(store, lake, "users", days_before(1)).kept == "older"


def test_a_day_that_is_not_published_is_named(tmp_path: Path, lake: Lake) -> None:
    with open_store(f"sqlite:{tmp_path / 'online'}") as store:
        with pytest.raises(DayNotPublishedError, match="item_features: no day is published"):
            load_day(store, lake, "items")
        with pytest.raises(DayNotPublishedError, match="day 2020-01-01 is not published"):
            load_day(store, lake, "users", date(2020, 1, 1))


def test_a_day_without_rows_finds_nobody(tmp_path: Path, lake: Lake) -> None:
    items = replace(USERS, name="item_features")
    columns = (Column("item_id", "int", ""), *USERS.columns[2:])
    items = replace(items, columns=(USERS.columns[0], *columns), key=("item_id",))
    publish_day(lake, items, DAY, items.arrow_schema.empty_table())
    with open_store(f"sqlite:{tmp_path / 'online'}") as store:
        assert load_day(store, lake, "items").is_new
        assert store.items([1])[0].state == "not_found"
        assert store.items([1])[0].dt == DAY
