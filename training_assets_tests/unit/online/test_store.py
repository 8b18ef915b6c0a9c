"""What every store promises, on SQLite, on Valkey and on a server of DynamoDB's API."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from training_assets.errors import DayNotPublishedError, SettingsError
from training_assets.online import OnlineStore
from training_assets_tests.support.online_cases import (
    DAY,
    NOW,
    ROWS,
    days_before,
    in_blocks,
    load,
    numbered,
)

Opens = Callable[..., OnlineStore]


def test_every_value_comes_back_typed_as_it_was(store: OnlineStore) -> None:
    assert load(store).is_new
    answers = store.users([row["customer_id"] for row in ROWS])
    for answer, row in zip(answers, ROWS, strict=True):
        assert answer.state == "found"
        assert answer.values == {n: v for n, v in row.items() if n != "customer_id"}
        assert {n: type(v) for n, v in (answer.values or {}).items()} == {
            n: type(v) for n, v in row.items() if n != "customer_id"
        }
        assert (answer.dt, answer.age) == (DAY, timedelta(hours=6))


def test_an_unknown_id_is_not_found_and_not_null(store: OnlineStore) -> None:
    load(store)
    null, unknown = store.users([18, 19])
    assert (null.state, unknown.state) == ("found", "not_found")
    assert set((null.values or {}).values()) == {None}
    assert unknown.values is None
    assert unknown.version == null.version


def test_answers_stand_in_the_order_of_ids_and_repeat_with_them(store: OnlineStore) -> None:
    load(store)
    answers = store.users([18, "17", 5, 17, 2**62, "x", True, 2**70, 1.5, "017"])
    assert [answer.state for answer in answers] == [
        *("found", "found", "not_found", "found", "found"),
        *["not_found"] * 5,
    ]
    assert [answer.id for answer in answers[:4]] == [18, "17", 5, 17]
    assert store.users([]) == []


def test_nothing_loaded_finds_nothing(store: OnlineStore) -> None:
    [answer] = store.items([1])
    assert (answer.state, answer.dt, answer.version, answer.age) == ("not_found", None, None, None)
    assert (store.current("items"), store.versions("items")) == (None, [])


def test_some_features_by_name(store: OnlineStore) -> None:
    load(store)
    [answer] = store.users([17], features=["is_new", "total_purchases"])
    assert answer.values == {"is_new": False, "total_purchases": 2}
    with pytest.raises(SettingsError, match="'height' is no feature of version"):
        store.users([17], features=["height"])


@pytest.mark.parametrize(
    ("hours", "state"), [(36, "found"), (37, "stale"), (168, "stale"), (169, "expired")]
)
def test_an_answer_says_its_age(opens: Opens, hours: int, state: str) -> None:
    load(opens())
    later = opens(datetime(2026, 3, 11, tzinfo=UTC) + timedelta(hours=hours))
    known, unknown = later.users([17, 5])
    assert (known.state, unknown.state) == (state, "not_found")
    assert (known.values is None) == (state == "expired")
    assert known.age == timedelta(hours=hours)
    assert known.is_stale == (state != "found")


def test_an_older_day_replaces_no_newer_one(store: OnlineStore) -> None:
    load(store)
    outcome = load(store, days_before(1))
    assert (outcome.is_new, outcome.kept) == (False, "older")
    assert [version.dt for version in store.versions("users")] == [DAY]


def test_a_day_that_was_built_anew_replaces_itself(store: OnlineStore) -> None:
    load(store, rows=numbered(1, [17]))
    assert not load(store, rows=numbered(2, [17])).is_new
    assert load(store, rows=numbered(2, [17]), content="f" * 16).is_new
    assert (store.users([17])[0].values or {})["total_purchases"] == 2


def test_rollback_goes_back_on_purpose_and_stays(store: OnlineStore) -> None:
    for number in (2, 1, 0):
        load(store, days_before(number))
    assert store.rollback("users").dt == days_before(1)
    assert store.users([17])[0].dt == days_before(1)
    assert load(store).kept == "rolled_back"
    assert store.rollback("users", days_before(2)).dt == days_before(2)
    assert load(store, days_before(1)).kept == "rolled_back"
    assert load(store, days_before(-1)).is_new
    assert load(store, DAY, force=True).is_new


def test_rollback_needs_a_version_that_is_kept(store: OnlineStore) -> None:
    with pytest.raises(DayNotPublishedError, match=r"none"):
        store.rollback("users")
    load(store)
    with pytest.raises(DayNotPublishedError, match="2026-03-10-"):
        store.rollback("users", days_before(5))
    assert store.rollback("users", DAY).dt == DAY


def test_three_versions_are_kept_and_can_be_asked_for(store: OnlineStore) -> None:
    loaded = [load(store, days_before(n), rows=numbered(n, [1])) for n in (4, 3, 2, 1)]
    names = [outcome.version.name for outcome in loaded]
    assert [version.name for version in store.versions("users")] == names[1:]
    [pinned] = store.users([1], version=names[1])
    assert (pinned.values or {})["total_purchases"] == 3
    with pytest.raises(DayNotPublishedError, match="has no version"):
        store.users([1], version=names[0])


def test_a_load_that_fails_leaves_what_was_there(store: OnlineStore) -> None:
    load(store, rows=numbered(1, [1, 2]))

    def broken() -> Iterator[tuple[list[int], list[str]]]:
        yield next(iter(in_blocks(numbered(2, [1]), 1)))
        raise ConnectionError("the disk went away")

    columns = store.current("users").columns  # type: ignore[union-attr]
    with pytest.raises(Exception, match="the disk went away"):
        store.load("users", days_before(-1), broken(), content="c" * 16, columns=columns)
    assert [(a.values or {})["total_purchases"] for a in store.users([1, 2])] == [1, 1]
    assert len(store.versions("users")) == 1


def test_users_and_items_are_apart(store: OnlineStore) -> None:
    load(store, rows=numbered(1, [1]))
    load(store, days_before(3), table="items", rows=numbered(2, [1]))
    assert (store.users([1])[0].values or {})["total_purchases"] == 1
    assert (store.items([1])[0].values or {})["total_purchases"] == 2


def test_no_answer_mixes_versions_while_they_change(opens: Opens) -> None:
    """Readers ask for many ids while versions come, go back and are removed."""
    ids, loader = list(range(1, 121)), opens()
    # The server of DynamoDB's API that tests have takes a second for a load.
    last, num_readers = (46, 1) if loader.url.startswith("dynamodb") else (37, 2)
    load(loader, days_before(50), rows=numbered(50, ids))
    stop, problems, answered = threading.Event(), [], []

    def ask() -> None:
        with opens() as store:
            while not stop.is_set():
                answers = store.users(ids)
                seen = {(a.version, (a.values or {}).get("total_purchases")) for a in answers}
                answered.append(len(answers))
                if len(seen) != 1 or any(a.state == "not_found" for a in answers):
                    problems.append(seen)

    readers = [threading.Thread(target=ask) for _ in range(num_readers)]
    for reader in readers:
        reader.start()
    try:
        for number in range(49, last, -1):
            load(loader, days_before(number), rows=numbered(number, ids))
            if number % 4 == 0:
                loader.rollback("users")
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not problems
    assert answered


def test_of_two_loads_at_once_the_newer_day_wins(opens: Opens) -> None:
    """The older one has written all its rows when the newer one gets in between."""
    older, newer = opens(), opens()

    def overtaken() -> Iterator[tuple[list[int], list[str]]]:
        yield from in_blocks(numbered(1, [1]), 1)
        load(newer, DAY, rows=numbered(2, [1]))

    load(older, days_before(9), rows=numbered(0, [1]))
    columns = older.current("users").columns  # type: ignore[union-attr]
    outcome = older.load("users", days_before(1), overtaken(), content="d" * 16, columns=columns)
    assert outcome.kept == "older"
    assert older.users([1])[0].dt == DAY
    assert [version.dt for version in older.versions("users")] == [days_before(9), DAY]


def test_what_a_killed_load_left_is_removed_by_a_later_one(opens: Opens) -> None:
    store = opens(NOW - timedelta(days=1))

    class KilledError(BaseException):
        pass

    def killed() -> Iterator[tuple[list[int], list[str]]]:
        yield from in_blocks(numbered(1, [1]), 1)
        store._abandon = lambda table, name: None  # type: ignore[method-assign]
        raise KilledError

    load(store, days_before(2))
    columns = store.current("users").columns  # type: ignore[union-attr]
    with pytest.raises(KilledError):
        store.load("users", days_before(1), killed(), content="e" * 16, columns=columns)
    [lost] = store._state("users")[0].pending
    later, dropped = opens(), []
    drop = later._backend.drop
    later._backend.drop = lambda *what: (dropped.append(what), drop(*what))[1]  # type: ignore[method-assign,func-returns-value]
    load(later)
    assert dropped == [("users", lost)]
    assert later._state("users")[0].pending == {}


def test_one_id_in_the_place_of_several_is_refused(store: OnlineStore) -> None:
    with pytest.raises(SettingsError, match=r"Put it into a list: \['17'\]"):
        store.users("17")
    with pytest.raises(SettingsError, match="'carts' is not served; expected users or items"):
        store.get("carts", [1])
