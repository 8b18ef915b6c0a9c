"""Events through a real broker: acknowledged before 202, landed once, announced, never lost."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from training_assets.errors import SettingsError, StoreError
from training_assets.lake import Lake, LocalStore
from training_assets.service import consuming, event_log
from training_assets.service.announcing import Announcer
from training_assets.service.claims import Claims
from training_assets.service.consuming import Landing
from training_assets.service.core import Core
from training_assets.service.logs import new_logger
from training_assets.service.settings import ServiceSettings
from training_assets_tests.support.faulty_wire import is_produce
from training_assets_tests.support.kafka import (
    broker,
    broker_behind_wire,
    free_port,
    keys_of,
    make_topics,
)
from training_assets_tests.support.loader_lakes import random_days, write_lake
from training_assets_tests.support.service import HEADER, Served, raw_rows, serving

ROW = {
    "user_id": "u1",
    "item_id": "i1",
    "interaction_type": "click",
    "timestamp": "2026-11-20T10:00:00Z",
}
# Else each question of a consumer waits behind a look for records, of half a second.
OPTIONS = {"session.timeout.ms": "6000", "fetch.wait.max.ms": "20", "log_level": "0"}


class Topics:
    """Topics of one test on the shared broker, told apart by their prefix."""

    def __init__(self, address: str, prefix: str, lake: Path) -> None:
        self.settings = ServiceSettings(
            lake=str(lake), kafka=address, kafka_prefix=prefix, kafka_options=OPTIONS
        )
        names = ("uploads", "interactions", "items", "interactions.dlq", "items.dlq")
        make_topics(address, *(prefix + name for name in names))

    def produce(self, values: Sequence[Any], **headers: str) -> None:
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.settings.kafka, "log_level": 0})
        for number, value in enumerate(values):
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            name = self.settings.kafka_prefix + "interactions"
            producer.produce(name, content, str(number), headers=dict(headers))
        assert producer.flush(20) == 0

    def land(self, **given: Any) -> int:
        options = {"max_records": 50, "max_seconds": 0.2, **given}
        landing = Landing(self.settings, new_logger("json"), **options)
        return landing.run(Event(), lambda message: None, drains=True)

    def read(self, name: str, wanted: int) -> list[Any]:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {"bootstrap.servers": self.settings.kafka, "group.id": "look", "log_level": 0}
        )
        full = self.settings.kafka_prefix + name
        consumer.assign([TopicPartition(full, number, 0) for number in (0, 1)])
        found: list[Any] = []
        deadline = time.monotonic() + 20
        while len(found) < wanted and time.monotonic() < deadline:
            found += [m for m in consumer.consume(100, 0.5) if m.error() is None]
        consumer.close()
        return found


@pytest.fixture
def topics(
    kafka_server: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Topics:
    # Each look for records takes as long, and four of them must find none.
    monkeypatch.setattr(consuming, "_POLL_SECONDS", 0.1)
    monkeypatch.setattr(consuming, "_EMPTY_POLLS", 4)
    return Topics(kafka_server, f"t{abs(hash(request.node.name))}.", tmp_path / "lake")


@pytest.fixture
def served(topics: Topics) -> Iterator[Served]:
    own = topics.settings
    with serving(
        lake=own.lake, kafka=own.kafka, kafka_prefix=own.kafka_prefix, kafka_options=OPTIONS
    ) as found:
        yield found


def test_events_reach_the_raw_layer_once(topics: Topics, served: Served) -> None:
    client = served.client()
    rows = [{**ROW, "user_id": f"u{n}"} for n in range(120)]
    sent = client.post("/internal/data/events", json=[*rows, {"item_id": "i1"}])
    assert sent.status_code == 202, sent.text
    assert (sent.json()["accepted"], sent.json()["rejected"]) == (120, 1)
    assert client.post("/internal/data/events", json={**ROW, "user_id": "one"}).status_code == 202
    assert client.post("/internal/data/events?mode=strict", json=[{}]).status_code == 422
    assert topics.land() == 121
    assert topics.land() == 0
    found = raw_rows(topics.settings.lake)
    assert sorted(row["user_id"] for row in found) == sorted(["one", *(r["user_id"] for r in rows)])
    assert {row["interaction_id"] for row in found} >= set(sent.json()["event_ids"])


def test_events_of_a_key_carry_the_same_ids_again(topics: Topics, served: Served) -> None:
    client = served.client()
    key = {"Idempotency-Key": "k"}
    ids = [
        client.post(
            "/internal/data/events", json=[ROW, {**ROW, "interaction_id": "own"}], headers=key
        ).json()["event_ids"]
        for _ in range(2)
    ]
    assert ids == [["k:1", "own"]] * 2
    topics.land()
    found = sorted(row["interaction_id"] for row in raw_rows(topics.settings.lake))
    assert found == ["k:1", "k:1", "own", "own"]


def test_uploads_are_announced_and_not_sent_row_by_row(topics: Topics, served: Served) -> None:
    sent = served.client().upload((HEADER + "u9,i1,click,2026-11-20T10:00:00Z\n").encode())
    assert sent.json()["event"] == "published"
    (message,) = topics.read("uploads", 1)
    event = json.loads(message.value())
    headers = dict(message.headers())
    assert message.key().decode() == event["event_id"] == sent.json()["id"]
    assert (headers["event_id"], headers["tenant"]) == (message.key(), b"default")
    assert event["files"] == sent.json()["files"]
    assert "u9" not in message.value().decode()
    assert topics.land() == 0


def test_lag_is_what_is_not_landed(topics: Topics, served: Served) -> None:
    name = topics.settings.kafka_prefix + "interactions"

    def lags() -> list[float]:
        served.core.measure_lag()
        page = served.nobody.get("/metrics").text.splitlines()
        return [float(one.rpartition(" ")[2]) for one in page if f'topic="{name}"' in one]

    topics.produce([{**ROW, "user_id": f"u{n}"} for n in range(30)])
    assert sum(lags()) > 0
    assert topics.land() == 30
    assert lags() == [0, 0]


def test_published_days_are_announced_once_and_again_when_built_anew(
    topics: Topics, served: Served
) -> None:
    prefix, lake = topics.settings.kafka_prefix, topics.settings.lake
    make_topics(topics.settings.kafka, f"{prefix}features", f"{prefix}training")
    days = random_days(seed=1, num_days=2)
    write_lake(lake, days)
    for _ in range(2):
        served.core.announce()
    told = [json.loads(message.value()) for message in topics.read("training", 2)]
    assert [(one["table"], one["dt"], one["tenant"]) for one in told] == [
        ("training_input", str(day.dt), "default") for day in days
    ]
    assert [one["rows"] for one in told] == [
        sum(file.rows for file in Lake.at(lake).snapshot("training_input").files_of(day.dt))
        for day in days
    ]
    write_lake(lake, random_days(seed=2, num_days=1))
    served.core.announce()
    again = [json.loads(message.value()) for message in topics.read("training", 3)]
    assert len({one["event_id"] for one in again}) == 3
    assert [one["dt"] for one in again].count(str(days[0].dt)) == 2


def test_day_waits_for_a_log_that_is_down(tmp_path: Path) -> None:
    class Down:
        def __init__(self) -> None:
            self.is_up = False
            self.told: list[Any] = []

        def publish_day(self, topic: str, event: Any) -> bool:
            self.told += [event["dt"]] if self.is_up else []
            return self.is_up

    days = random_days(seed=1, num_days=2)
    write_lake(tmp_path, days)
    log = Down()
    announcer = Announcer(Lake.at(tmp_path), "default", log)
    assert announcer.sweep() == 0
    log.is_up = True
    assert (announcer.sweep(), announcer.sweep()) == (2, 0)
    assert log.told == [str(day.dt) for day in days]


def test_poison_is_set_aside_and_the_range_goes_on(topics: Topics) -> None:
    poison = [b"{", b"[1]", b"\xff\xfe", b"null", b"", b" ", {**ROW, "interaction_type": "stare"}]
    # Of another system, whose names differ: they are read as if it had come alone.
    other = {("userId" if name == "user_id" else name): value for name, value in ROW.items()}
    topics.produce([ROW, *poison, {**other, "userId": "after"}])
    assert topics.land() == 2
    landed = raw_rows(topics.settings.lake)
    assert sorted(r["user_id"] for r in landed) == ["after", "u1"]
    folder = Path(topics.settings.lake, "service/quarantine/interactions")
    kept = [json.loads(line) for p in folder.iterdir() for line in p.read_text().splitlines()]
    places = {(one["partition"], one["offset"]) for one in kept}
    assert len(kept) == len(places) == len(poison)
    assert not places & {(row["_partition"], row["_offset"]) for row in landed}
    dead = topics.read("interactions.dlq", len(poison))
    assert len({message.key() for message in dead}) == len(poison)
    assert {dict(m.headers())["reason"] for m in dead} >= {b"not_json", b"not_allowed"}


def test_records_of_unknown_tenants_are_poison(topics: Topics, tmp_path: Path) -> None:
    topics.settings = replace(topics.settings, tenants=str(tmp_path / "tenants"))
    topics.produce([ROW], tenant="acme")
    topics.produce([{**ROW, "user_id": "stray"}])
    topics.produce([{**ROW, "user_id": "evil"}], tenant="../x")
    assert topics.land() == 1
    assert [row["user_id"] for row in raw_rows(tmp_path / "tenants/acme")] == ["u1"]
    everything = [p for p in (tmp_path / "tenants").rglob("*") if p.is_file()]
    assert {p.relative_to(tmp_path / "tenants").parts[0] for p in everything} == {
        "acme",
        "_control",
    }


class Killed(BaseException):
    """The process is no more."""


def test_consumer_killed_at_any_change_of_the_store_lands_each_record_once(topics: Topics) -> None:
    """Before the claim, and after it, the file, the quarantine, which is announced, and the end.

    Before one is as after the one before it, but where records are set aside in between.
    """
    total = 0
    for at, is_before in [(0, True), *((number, False) for number in range(4)), (3, True)]:
        topics.produce([{**ROW, "user_id": f"{at}-{is_before}-{n}"} for n in range(4)] + [b"{"])
        total += 4
        made: list[str] = []

        def dies(function: Any, at: int = at, before: bool = is_before, made: Any = made) -> Any:
            def call(self: Any, path: Any, *rest: Any) -> Any:
                made.append(str(path))
                if len(made) - 1 == at and before:
                    raise Killed
                done = function(self, path, *rest)
                if len(made) - 1 == at:
                    raise Killed
                return done

            return call

        with pytest.MonkeyPatch.context() as patch:
            for name in ("put", "put_new"):
                patch.setattr(LocalStore, name, dies(getattr(LocalStore, name)))
            with suppress(Killed):
                topics.land()
        topics.land()
        users = [row["user_id"] for row in raw_rows(topics.settings.lake)]
        assert (len(users), len(set(users))) == (total, total), made


def test_two_consumers_that_race_land_each_record_once(topics: Topics, tmp_path: Path) -> None:
    """Both read all partitions and claim for themselves, which is worse than any rebalance."""
    store = LocalStore(tmp_path / "control")
    one, two = (Claims(store, "t", "id", 0) for _ in range(2))
    first, is_mine = one.claim(0, 10)
    assert is_mine
    second, is_mine = two.claim(0, 7)
    assert (second, is_mine) == (first, False)
    assert two.known() == (10, [first])
    one.finish(first)
    assert two.known() == (10, [])
    third, _ = two.claim(10, 12)
    assert one.known() == (12, [third])


def test_finished_claims_are_forgotten_but_the_newest(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("training_assets.service.claims._KEPT_RANGES", 2)
    claims = Claims(LocalStore(tmp_path), "t", "id", 0)
    for start in range(5):
        own = claims.claim(start, start + 1)[0]
        assert claims.fixed_terms(own, b"first") == claims.fixed_terms(own, b"later") == b"first"
        claims.finish(own)
    claims.prune()
    assert claims.known() == (5, [])
    assert len(LocalStore(tmp_path).list("claims")) == 2 * 3


def test_damaged_claim_is_told(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put(f"claims/id/0/{0:020}.json", b"[]")
    with pytest.raises(StoreError, match="is damaged"):
        Claims(store, "t", "id", 0).known()


def test_brokers_that_are_down_cost_no_upload_and_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As long the service waits for them when it starts.
    monkeypatch.setattr(event_log, "_ASK_SECONDS", 0.5)
    port = free_port()
    # Brokers that come back are seen within less than a message is waited for.
    own = {**OPTIONS, "delivery.timeout.ms": "1500", "reconnect.backoff.max.ms": "200"}
    lake = str(tmp_path / "lake")
    with serving(lake=lake, kafka=f"127.0.0.1:{port}", kafka_options=own) as served:
        client = served.client()
        sent = client.upload((HEADER + "u1,i1,click,2026-11-20T10:00:00Z\n").encode())
        assert (sent.status_code, sent.json()["event"]) == (201, "pending")
        assert [row["user_id"] for row in raw_rows(lake)] == ["u1"]
        refused = client.post("/internal/data/events", json=ROW)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert 'events_total{outcome="failed"} 1.0' in served.nobody.get("/metrics").text
        assert client.get("/health").json()["status"] == "degraded"
        assert client.get("/health/ready").status_code == 200
        with broker(port) as address:
            make_topics(address, "uploads", "interactions", "items")
            served.core.publisher._down_until = 0  # type: ignore[union-attr]
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                if served.core.outbox("default").sweep(0).intents == 0:
                    break
                served.core.publisher._down_until = 0  # type: ignore[union-attr]
            found = client.get(f"/internal/data/uploads/{sent.json()['id']}").json()
            assert found["event"] == "published"


def test_lost_answers_of_the_brokers_lose_no_event_and_no_announcement(tmp_path: Path) -> None:
    """Each second request that brings records reaches the brokers, and its answer never comes."""
    with broker_behind_wire() as (address, wire):
        make_topics(address, "uploads", "interactions", "items", "interactions.dlq", "items.dlq")
        settings = ServiceSettings(lake=str(tmp_path), kafka=address, kafka_options=OPTIONS)
        count = 0

        def loses(request: bytes) -> bool:
            nonlocal count
            count += is_produce(request)
            return is_produce(request) and count % 2 == 1

        wire.loses = loses
        with serving(lake=settings.lake, kafka=address, kafka_options=OPTIONS) as served:
            client = served.client()
            ids = set()
            for number in range(6):
                sent = client.post("/internal/data/events", json={**ROW, "user_id": f"e{number}"})
                assert sent.status_code == 202, sent.text
                ids |= set(sent.json()["event_ids"])
            content = (HEADER + "u1,i1,click,2026-11-20T10:00:00Z\n").encode()
            upload = client.upload(content).json()
            assert upload["event"] == "published"
        wire.loses = lambda request: False
        assert wire.lost >= 3
        assert set(keys_of(address, "uploads")) == {upload["id"]}
        Landing(settings, new_logger("json"), max_records=50, max_seconds=0.2).run(
            Event(), lambda message: None, drains=True
        )
        found = raw_rows(settings.lake)
        assert {row["interaction_id"] for row in found if row["interaction_id"]} == ids
        assert {row["user_id"] for row in found} == {"u1", *(f"e{n}" for n in range(6))}


@pytest.mark.parametrize("name", ["LOG_LEVL", "SECURITY_PROTOCOL"])
def test_options_that_the_client_does_not_take_are_named(tmp_path: Path, name: str) -> None:
    env = {
        "TRAINING_ASSETS_LAKE": str(tmp_path),
        "TRAINING_ASSETS_KAFKA": "127.0.0.1:9",
        "TRAINING_ASSETS_KAFKA_LOG_LEVEL": "0",
        f"TRAINING_ASSETS_KAFKA_{name}": "hunter2",
    }
    settings = ServiceSettings.from_env(env)
    option = name.lower().replace("_", ".")
    for make in (lambda: Core(settings), lambda: Landing(settings, new_logger("json"))):
        with pytest.raises(SettingsError, match=rf"the option {re.escape(option)} is") as found:
            make()
        assert "hunter2" not in str(found.value)


def test_without_kafka_events_are_not_taken(tmp_path: Path) -> None:
    with serving(lake=str(tmp_path)) as served:
        refused = served.client().post("/internal/data/events", json=ROW)
        assert refused.status_code == 501
        assert refused.headers["Content-Type"] == "application/problem+json"
