"""An upload is accepted once and whole, whenever the service dies and whichever answer is lost."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from training_assets.errors import StoreError
from training_assets.lake import Lake, LocalStore, RemoteStore
from training_assets.service.bodies import unpack
from training_assets.service.outbox import DROP_SECONDS, Outbox
from training_assets.service.problems import Problem
from training_assets.service.receipts import Asked, Receipt, find_receipt
from training_assets.service.settings import ServiceSettings
from training_assets.service.uploads import Accepted, Uploads
from training_assets_tests.support.faulty_network import faulty_network
from training_assets_tests.support.s3 import S3Place

ASKED = Asked("default", "interactions", backfill=True)
PARTIAL = Asked("default", "interactions", mode="partial", backfill=True)
HEADER = "user_id,item_id,interaction_type,timestamp\n"
GOOD = [f"u{n},i{n},click,2026-11-{18 + n % 3}T10:00:00Z\n" for n in range(6)]
BAD = ",i9,click,2026-11-18T10:00:00Z\n"
CONTENT = (HEADER + "".join(GOOD)).encode()
MIXED = (HEADER + "".join(GOOD) + BAD).encode()
OPERATIONS = ("put", "put_new", "copy", "delete")


class Killed(BaseException):
    """The process is no more."""


class Log:
    """A log that takes what it is given, unless it is down."""

    def __init__(self) -> None:
        self.is_up = True
        self.events: list[str] = []

    def publish_receipt(self, receipt: Receipt) -> bool:
        if self.is_up:
            self.events.append(receipt.event["event_id"])
        return self.is_up


class Shop:
    """The uploads of one lake; a new one is a service that was started anew."""

    def __init__(
        self, location: str, log: Log | None = None, later: timedelta | None = None
    ) -> None:
        self.lake = Lake.at(location)
        self.store = self.lake.store.child("service")

        def clock() -> datetime:
            return datetime.now(UTC) + (later or timedelta())

        self.outbox = Outbox(self.lake, log, clock)
        self.uploads = Uploads(self.lake, self.outbox, ServiceSettings(lake=location), clock)

    def send(self, content: bytes = CONTENT, asked: Asked = ASKED) -> Accepted:
        body = unpack(io.BytesIO(content), {}, ServiceSettings())
        try:
            return self.uploads.accept(asked, body)
        finally:
            body.close()

    def users(self) -> list[str]:
        """Of all rows in the raw layer."""
        paths = [e.path for e in self.lake.raw.list("interactions")]
        tables = [pq.read_table(io.BytesIO(c)) for c in self.lake.raw.read_all(paths)]
        return sorted(user for table in tables for user in table["user_id"].to_pylist())

    def kept(self, folder: str) -> list[str]:
        return [entry.path for entry in self.store.list(folder)]

    def is_clean(self) -> bool:
        """Whether nothing is left of work that is done or given up."""
        return not self.kept("outbox") and not self.kept("landing")


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "lake")
    server: S3Place = request.getfixturevalue("s3_server")
    return f"{server.new_url()}/lake"


@contextmanager
def dying(at: int, *, before: bool, killed: type[BaseException] = Killed) -> Iterator[list[str]]:
    """The process dies at its n-th change of the store, before or after it; the changes it made."""
    made: list[str] = []

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, path: Any, *rest: Any) -> Any:
            if len(made) > at:
                raise killed
            made.append(f"{function.__name__} {path}")
            if len(made) - 1 == at and before:
                raise killed
            done = function(self, path, *rest)
            if len(made) - 1 == at:
                raise killed
            return done

        return call

    with pytest.MonkeyPatch.context() as patch:
        for kind in (LocalStore, RemoteStore):
            for name in OPERATIONS:
                patch.setattr(kind, name, wrapped(getattr(kind, name)))
        yield made


USERS = [f"u{n}" for n in range(6)]


def test_upload_lies_in_the_raw_layer_by_day(place: str) -> None:
    shop = Shop(place)
    accepted = shop.send()
    assert (accepted.is_replay, accepted.done) == (False, (True, True))
    assert accepted.receipt.days == {"2026-11-18": 2, "2026-11-19": 2, "2026-11-20": 2}
    assert shop.users() == USERS
    assert shop.is_clean()
    assert {e.path for e in shop.lake.store.list("raw")} == {f.raw for f in accepted.receipt.files}


def test_same_content_counts_once(place: str) -> None:
    shop = Shop(place)
    first, second = shop.send(), shop.send()
    assert second.is_replay
    assert second.receipt == first.receipt
    assert shop.users() == USERS


def test_same_content_with_another_key_counts_again(tmp_path: Path) -> None:
    shop = Shop(str(tmp_path))
    keys = ("a", "b", "a")
    found = [shop.send(asked=Asked("default", "interactions", key=key)) for key in keys]
    assert [one.is_replay for one in found] == [False, False, True]
    assert len(shop.users()) == 12


def test_key_of_other_content_is_refused(tmp_path: Path) -> None:
    shop = Shop(str(tmp_path))
    asked = Asked("default", "interactions", key="a")
    shop.send(asked=asked)
    with pytest.raises(Problem) as refused:
        shop.send(MIXED, asked)
    assert refused.value.kind == "key_reused"
    assert len(shop.users()) == 6


def test_strict_upload_with_a_bad_row_leaves_nothing(place: str) -> None:
    shop = Shop(place)
    with pytest.raises(Problem) as refused:
        shop.send(MIXED)
    report = refused.value.members
    assert (report["rows"], report["accepted"], report["rejected"]) == (7, 6, 1)
    assert report["errors"][0] | {"message": ""} == {
        "row": 7,
        "line": 8,
        "column": "user_id",
        "code": "required",
        "message": "",
        "value": None,
    }
    assert not shop.lake.store.list()


def test_partial_upload_keeps_what_is_refused(place: str) -> None:
    shop = Shop(place)
    receipt = shop.send(MIXED, PARTIAL).receipt
    assert (receipt.rows, receipt.accepted, receipt.rejected) == (7, 6, 1)
    assert shop.users() == USERS
    assert shop.store.read(f"{receipt.rejects}/rows.csv").decode() == HEADER + BAD


def test_partial_upload_without_a_good_row_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    shop = Shop(str(tmp_path))
    with pytest.raises(Problem, match="no row could be taken"):
        shop.send((HEADER + BAD).encode(), PARTIAL)
    assert not shop.lake.store.list()


def test_killed_anywhere_an_upload_counts_once_after_a_retry(place: str) -> None:
    at, has_ended = 0, False
    while not has_ended:
        for before in (True, False):
            location = f"{place}/{at}-{before}"
            with dying(at, before=before) as made:
                try:
                    Shop(location).send(MIXED, PARTIAL)
                    has_ended = True
                except Killed:
                    pass
            shop = Shop(location, later=timedelta(seconds=10))
            again = shop.send(MIXED, PARTIAL)
            shop.outbox.sweep()
            assert shop.users() == USERS, made
            assert shop.send(MIXED, PARTIAL).receipt.id == again.receipt.id
            receipts = shop.kept("receipts")
            assert receipts == [f"receipts/{again.receipt.id}.json"]
            assert len(shop.kept("index")) == 1
            Shop(location, later=timedelta(seconds=DROP_SECONDS + 10)).outbox.sweep()
            assert shop.is_clean(), made
            assert {p.rpartition("/")[0] for p in shop.kept("rejects")} == {again.receipt.rejects}
        at += 1
    assert at > 12


def test_killed_anywhere_and_never_sent_again_it_is_whole_or_nothing(tmp_path: Path) -> None:
    at, has_ended, outcomes = 0, False, set()
    while not has_ended:
        for before in (True, False):
            location = f"{tmp_path}/{at}-{before}"
            log = Log()
            with dying(at, before=before) as made:
                try:
                    Shop(location, log).send(MIXED, PARTIAL)
                    has_ended = True
                except Killed:
                    pass
            later = timedelta(seconds=DROP_SECONDS + 10)
            shop = Shop(location, log, later)
            shop.outbox.sweep()
            is_accepted = bool(shop.kept("receipts"))
            outcomes.add(is_accepted)
            assert shop.users() == (USERS if is_accepted else []), made
            assert bool(log.events) == is_accepted, made
            assert shop.is_clean(), made
            assert bool(shop.kept("rejects")) == is_accepted, made
        at += 1
    assert outcomes == {True, False}


def test_intent_without_receipt_stays_for_an_hour(tmp_path: Path) -> None:
    location = str(tmp_path)
    with dying(2, before=False), pytest.raises(Killed):
        Shop(location).send()
    young = Shop(location, later=timedelta(seconds=DROP_SECONDS - 60))
    assert young.outbox.sweep().intents == 1
    assert young.kept("landing")
    old = Shop(location, later=timedelta(seconds=DROP_SECONDS + 1))
    assert old.outbox.sweep().intents == 0
    assert old.is_clean()


def test_upload_is_accepted_while_the_log_is_down_and_announced_later(place: str) -> None:
    log = Log()
    log.is_up = False
    shop = Shop(place, log)
    accepted = shop.send()
    assert accepted.done == (True, False)
    assert shop.users() == USERS
    later = Shop(place, log, timedelta(seconds=10))
    pending = later.outbox.sweep()
    assert pending.intents == 1
    assert pending.oldest_seconds >= 10
    # What was delivered may be taken away meanwhile; it does not come back.
    shop.lake.store.delete([accepted.receipt.files[0].raw])
    log.is_up = True
    assert later.outbox.sweep().intents == 0
    assert log.events == [accepted.receipt.id]
    assert len(shop.users()) == 4


def test_slow_attempt_is_not_accepted_after_its_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("training_assets.service.uploads.MAX_ATTEMPT_SECONDS", -1.0)
    shop = Shop(str(tmp_path))
    with pytest.raises(StoreError, match="took more than"):
        shop.send()
    assert not shop.kept("receipts")


def test_damaged_receipt_is_told_and_not_taken_for_none(tmp_path: Path) -> None:
    shop = Shop(str(tmp_path))
    receipt = shop.send().receipt
    shop.store.put(f"receipts/{receipt.id}.json", b"{")
    with pytest.raises(StoreError, match="an object is damaged"):
        shop.send()


@pytest.mark.parametrize("fault", ["lost", 503, "refused"])
@pytest.mark.parametrize("folder", ["receipts", "outbox", "landing", "index", "raw"])
def test_lost_answers_of_the_store_neither_lose_nor_double(
    s3_server: S3Place, monkeypatch, folder: str, fault: Any
) -> None:
    location = f"{s3_server.new_url()}/{folder}"
    hits: list[str] = []

    def rule(method: str, path: str, headers: Any) -> Any:
        is_meant = method == "PUT" and f"/{folder}/" in path.partition("test/")[2][12:]
        if is_meant and len(hits) < 2:
            hits.append(path)
            return fault
        return None

    with faulty_network(s3_server.port, rule) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        sent = None
        for _ in range(3):
            try:
                sent = Shop(location).send()
                break
            except StoreError:
                continue
        assert sent is not None
        assert hits
        shop = Shop(location, later=timedelta(seconds=10))
        shop.outbox.sweep()
        assert shop.users() == USERS
        assert find_receipt(shop.store, sent.receipt.id) == sent.receipt


def test_receipt_is_json_that_anybody_reads(tmp_path: Path) -> None:
    shop = Shop(str(tmp_path))
    receipt = shop.send().receipt
    found = json.loads(shop.store.read(f"receipts/{receipt.id}.json"))
    assert (found["accepted"], found["days"]["2026-11-18"]) == (6, 2)
