"""Puts messages into Kafka, and says that it did once all replicas have them.

One producer; the asyncio version of the library has an open deadlock. Who waits for reports asks
for them, and is told of all messages then.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from training_assets.errors import StoreError
from training_assets.service.event_rows import Events
from training_assets.service.problems import Problem
from training_assets.service.receipts import Receipt
from training_assets.service.settings import ServiceSettings
from training_assets.service.topics import (
    EVENT_HEADER,
    ROW_TOPICS,
    UPLOADS,
    Headers,
    checked_options,
    consumer_options,
    headers,
    producer_options,
    told,
    topic,
)

_RECEIPT_SECONDS: Final = 5
_ASK_SECONDS: Final = 3
_BACK_OFF_SECONDS: Final = 10
_EVENT_SECONDS: Final = 25
_FLUSH_SECONDS: Final = 20
_REPORT_SECONDS: Final = 0.001
_IDLE_SECONDS: Final = 1
# The partition of a message that goes to that of its key.
_ANY: Final = -1


class Message(NamedTuple):
    """What is sent; ``topic`` without the prefix."""

    topic: str
    key: str
    value: bytes
    headers: Headers


class Sending(NamedTuple):
    """Events on their way: of each an error or None comes into ``reports`` as the log is asked."""

    messages: int
    reports: Sequence[KafkaError | None]
    until: float

    @property
    def is_over(self) -> bool:
        return len(self.reports) >= self.messages or time.monotonic() >= self.until

    def require_taken(self) -> None:
        """Raises ``Problem`` 503 unless all replicas have all of them."""
        if sum(error is None for error in self.reports) < self.messages:
            raise _unavailable()


class EventLog:
    """The log of one service; ``close`` waits for what was sent."""

    def __init__(self, settings: ServiceSettings, log: Any) -> None:
        self._settings = settings
        self._log = log
        self._down_until = float("-inf")
        self._is_closing = threading.Event()
        # Only asks; it joins no group.
        self._group: Consumer | None = None
        with checked_options():
            self._producer = Producer({**producer_options(settings), "error_cb": self._on_error})
        self._thread = threading.Thread(target=self._poll, name="kafka", daemon=True)
        self._thread.start()

    def publish_receipt(self, receipt: Receipt) -> bool:
        """Whether all replicas have it; after a failure not tried again for some seconds."""
        if time.monotonic() < self._down_until:
            return False
        message = Message(
            UPLOADS, receipt.id, told(receipt.event), headers(receipt.tenant, receipt.id)
        )
        if not self._is_taken(message):
            self._down_until = time.monotonic() + _BACK_OFF_SECONDS
            return False
        return True

    def publish_day(self, topic: str, event: Mapping[str, Any]) -> bool:
        """Whether all replicas have it; that a topic is missing says nothing of the others."""
        key = f"{event['table']}/{event['dt']}"
        own = headers(event["tenant"], event["event_id"])
        return self._is_taken(Message(topic, key, told(event), own))

    def _is_taken(self, message: Message) -> bool:
        done = threading.Event()
        failed: list[str] = []

        def report(error: Any, _: Any) -> None:
            if error is not None:
                failed.append(str(error))
            done.set()

        try:
            self._produce(message, report)
        except (BufferError, KafkaException):
            failed.append("full")
            done.set()
        until = time.monotonic() + _RECEIPT_SECONDS
        while not done.is_set() and time.monotonic() < until:
            self._producer.poll(_REPORT_SECONDS)
        return done.is_set() and not failed

    def send(self, name: str, tenant: str, events: Events) -> "Sending":
        """Hand over events for the topic of that name; raises ``Problem`` 503 where it is full."""
        reports: list[KafkaError | None] = []

        def report(error: KafkaError | None, _: Any) -> None:
            reports.append(error)

        produce, to, told_of_all = (
            self._producer.produce,
            topic(self._settings, name),
            headers(tenant),
        )
        try:
            for document, entity, event_id in zip(
                events.documents, events.entities, events.ids, strict=True
            ):
                # By place: to look for names takes a fifth of the whole call. After the key come
                # the partition (any), what is told, another name for that, and the time (now).
                own = [*told_of_all, (EVENT_HEADER, event_id)]
                produce(to, document, entity, _ANY, report, None, 0, own)
        except (BufferError, KafkaException):
            raise _unavailable() from None
        return Sending(len(events), reports, time.monotonic() + _EVENT_SECONDS)

    def ask(self, seconds: float) -> None:
        """Have what was reported told to who sent it; waits so long for the first report."""
        self._producer.poll(seconds)

    def require_up(self) -> None:
        """Raises ``StoreError`` where the brokers do not answer."""
        try:
            self._producer.list_topics(timeout=_ASK_SECONDS)
        except KafkaException as error:
            raise StoreError(f"kafka: the brokers do not answer ({error.args[0].name()})") from None

    def lags(self) -> list[tuple[str, int, int]]:
        """Topic, partition and records that the consumers' group has not landed.

        Raises ``StoreError`` where the brokers do not answer.
        """
        wanted = [topic(self._settings, name) for name in ROW_TOPICS]
        try:
            known = self._producer.list_topics(timeout=_ASK_SECONDS).topics
            places = [
                TopicPartition(name, number)
                for name in wanted
                if name in known
                for number in sorted(known[name].partitions)
            ]
            if self._group is None:
                self._group = Consumer(consumer_options(self._settings))
            found = []
            for place in self._group.committed(places, timeout=_ASK_SECONDS) if places else []:
                low, high = self._group.get_watermark_offsets(place, timeout=_ASK_SECONDS)
                landed = max(low, place.offset)
                found.append((place.topic, place.partition, max(0, high - landed)))
            return found
        except KafkaException as error:
            raise StoreError(f"kafka: the brokers do not answer ({error.args[0].name()})") from None

    def close(self) -> None:
        if self._group is not None:
            self._group.close()
        self._producer.flush(_FLUSH_SECONDS)
        self._is_closing.set()
        self._thread.join(2)

    def _produce(self, message: Message, report: Any) -> None:
        self._producer.produce(
            topic(self._settings, message.topic),
            key=message.key,
            value=message.value,
            headers=message.headers,
            on_delivery=report,
        )

    def _poll(self) -> None:
        """So that errors are told while nobody sends."""
        while not self._is_closing.wait(_IDLE_SECONDS):
            self._producer.poll(0)

    def _on_error(self, error: KafkaError) -> None:
        # What is raised here comes out of whatever asks for reports.
        with suppress(Exception):
            self._log.warning("kafka", error=error.name(), is_fatal=error.fatal())


def _unavailable() -> Problem:
    return Problem(
        "unavailable",
        "Not all events are known to be in the log; send them again, with the same "
        "Idempotency-Key or ids, and none counts twice.",
    )
