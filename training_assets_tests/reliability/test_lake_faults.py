"""A store that refuses, breaks off, or loses the answer to what it did."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta

import pytest

from training_assets.errors import PublishError, StoreError
from training_assets.lake import OVERTAKEN, PUBLISHED, Store, open_store, publish, restore, vacuum
from training_assets.lake.remote import _connected
from training_assets_tests.support.faulty_network import Fault, Rule, faulty_network
from training_assets_tests.support.published_days import (
    DAYS,
    TABLE,
    look,
    numbers_of,
    publish_days,
    published_names,
    rows_by_delta,
    write_days,
)
from training_assets_tests.support.s3 import S3Place

A, B = DAYS[:2]
Network = Callable[[Rule], AbstractContextManager[None]]


@pytest.fixture
def network(s3_server: S3Place, monkeypatch: pytest.MonkeyPatch) -> Network:
    """Have all go through a proxy with a rule, for a while."""

    @contextmanager
    def through(rule: Rule) -> Iterator[None]:
        with faulty_network(s3_server.port, rule) as url, monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", url)
            _connected.cache_clear()
            yield
        _connected.cache_clear()

    return through


@pytest.fixture
def store(s3_server: S3Place) -> Store:
    """A table with a day."""
    store = open_store(f"{s3_server.new_url()}/unified_actions")
    publish_days(store, [A])
    return store


class Faults:
    """The first ``times`` requests of a kind fail; counts them."""

    def __init__(self, fault: Fault, times: int, method: str = "PUT", part: str = "_delta_log"):
        self.fault, self.times, self.method, self.part = fault, times, method, part
        self.seen = 0
        self._lock = threading.Lock()

    def __call__(self, method: str, path: str, headers: Mapping[str, str]) -> Fault:
        with self._lock:
            if method != self.method or self.part not in path:
                return None
            self.seen += 1
            return self.fault if self.seen <= self.times else None


LOST: list[Fault] = ["lost", ("done", 500), ("done", 503)]


@pytest.mark.parametrize("fault", LOST)
def test_a_commit_whose_answer_is_lost_is_published_once(
    network: Network, store: Store, fault: Fault
) -> None:
    before = look(store)
    new = write_days(store, [A, B], number=2)
    faults = Faults(fault, times=1)
    with network(faults):
        assert publish(store, TABLE, new, before, {}) == {A: PUBLISHED, B: PUBLISHED}
    assert faults.seen >= 2, "the client asked again"
    now = look(store)
    assert now.version == before.version + 1
    assert rows_by_delta(store) == {A: 6, B: 6}
    assert published_names(now) == {file.name for day in new.values() for file in day.files}


@pytest.mark.parametrize("fault", LOST)
def test_a_first_commit_whose_answer_is_lost_makes_the_table_once(
    network: Network, s3_server: S3Place, fault: Fault
) -> None:
    store = open_store(f"{s3_server.new_url()}/unified_actions")
    before = look(store)
    new = write_days(store, [A, B])
    with network(Faults(fault, times=1)):
        assert publish(store, TABLE, new, before, {}) == {A: PUBLISHED, B: PUBLISHED}
    assert rows_by_delta(store) == {A: 6, B: 6}


def test_a_commit_whose_answer_is_lost_and_whose_day_is_replaced_at_once_is_overtaken(
    network: Network, store: Store
) -> None:
    before = look(store)
    new = write_days(store, [A], number=2, inputs="mine")
    is_done = threading.Event()

    def then_another_run(method: str, path: str, headers: Mapping[str, str]) -> Fault:
        if method != "PUT" or "_delta_log" not in path or is_done.is_set():
            return None
        is_done.set()
        return "lost"

    def another_run(step: str) -> None:
        if step == "read back":
            publish_days(store, [A], number=3, inputs="newer")

    with network(then_another_run):
        assert publish(store, TABLE, new, before, {}, another_run) == {A: OVERTAKEN}
    assert rows_by_delta(store) == {A: 6}
    assert {file.name for file in new[A].files} <= {e.path for e in store.list()}


@pytest.mark.parametrize("fault", [500, 503, "refused"])
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_store_that_fails_for_a_moment_is_asked_again(
    network: Network, store: Store, method: str, fault: Fault
) -> None:
    before = look(store)
    new = write_days(store, [A, B], number=2)
    with network(Faults(fault, times=2, method=method, part="")):
        assert publish(store, TABLE, new, before, {}) == {A: PUBLISHED, B: PUBLISHED}
        assert rows_by_delta(store) == {A: 6, B: 6}


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("n_faults", [1, 2, 20])
def test_answers_that_break_off_leave_the_day_published_whole_or_as_it_was(
    network: Network, store: Store, method: str, n_faults: int
) -> None:
    before = look(store)
    new = write_days(store, [A, B], number=2)
    faults = Faults("cut", times=n_faults, method=method, part="")
    with network(faults), suppress(PublishError):
        assert publish(store, TABLE, new, before, {}) == {A: PUBLISHED, B: PUBLISHED}
    assert faults.seen
    assert rows_by_delta(store) in ({A: 6}, {A: 6, B: 6})
    assert publish(store, TABLE, new, before, {}) == {A: PUBLISHED, B: PUBLISHED}
    assert rows_by_delta(store) == {A: 6, B: 6}


@pytest.mark.parametrize("fault", [400, 403, 412])
@pytest.mark.parametrize("part", ["_manifests", "_delta_log"])
def test_a_store_that_refuses_is_a_publish_error_and_the_day_stands(
    network: Network,
    store: Store,
    s3_server: S3Place,
    part: str,
    fault: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    before = look(store)
    new = write_days(store, [A, B], number=2)
    problem = pytest.raises(PublishError, match="days 2026-03-01 to 2026-03-02 could not")
    with network(Faults(fault, times=10**6, part=part)), problem as raised:
        publish(store, TABLE, new, before, {})
    assert look(store) == before
    assert numbers_of(before, A) == [1] * 6
    for text in (str(raised.value), repr(raised.value), caplog.text, repr(store)):
        assert s3_server.secret not in text
    assert publish(store, TABLE, new, before, {}) == {A: PUBLISHED, B: PUBLISHED}


def test_restoring_is_done_once_where_the_answer_is_lost(network: Network, store: Store) -> None:
    publish_days(store, [A, B], number=2)
    with network(Faults("lost", times=1)):
        assert restore(store, TABLE.name, 1, {}) == [A, B]
    assert look(store).version == 3
    assert rows_by_delta(store) == {A: 6}


def test_what_is_published_as_soon_as_a_version_was_restored_stays(
    network: Network, store: Store
) -> None:
    publish_days(store, [A], number=2)
    seen: list[str] = []

    def another_run_next(method: str, path: str, headers: Mapping[str, str]) -> Fault:
        is_next = seen == ["PUT"]
        seen.append(method) if "PUT" in seen or method == "PUT" else None
        if is_next:
            publish_days(store, [A], number=3)
        return None

    with network(another_run_next):
        assert restore(store, TABLE.name, 1, {}) == [A]
    assert numbers_of(look(store), A) == [3] * 6


def test_a_vacuum_that_is_refused_is_a_store_error_and_goes_on_the_next_time(
    network: Network, store: Store
) -> None:
    publish_days(store, [A], number=2)
    with network(Faults(403, times=10**6, method="POST", part="")), pytest.raises(StoreError):
        vacuum(store, TABLE.name, keep=timedelta(0), dry_run=False)
    assert numbers_of(look(store), A) == [2] * 6
    vacuum(store, TABLE.name, keep=timedelta(0), dry_run=False)
    assert {e.path for e in store.list() if e.path.startswith("dt=")} == published_names(
        look(store)
    )
