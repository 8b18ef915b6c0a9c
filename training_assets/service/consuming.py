"""Lands topics in the raw layer, each record once, however often consumers die or race.

    read records -> claim their range -> files -> end mark -> the group's offsets

The claims alone say what is done; the group only shares partitions out and shows the lag.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from training_assets.errors import StoreError
from training_assets.service.claims import Claims, Range
from training_assets.service.ranges import Landed, RangeWriter, Record
from training_assets.service.settings import ServiceSettings
from training_assets.service.tenants import Tenants
from training_assets.service.topics import (
    DEAD,
    ROW_TOPICS,
    checked_options,
    consumer_options,
    producer_options,
    topic,
)

_BATCH: Final = 10_000
_POLL_SECONDS: Final = 0.2
_READ_SECONDS: Final = 60
_BACK_OFF_SECONDS: Final = (1, 2, 5, 10, 30)
_DEAD_SECONDS: Final = 30
_EMPTY_POLLS: Final = 3
_NO_ID: Final = "0"


@dataclass
class _Partition:
    """What this consumer has read of a partition and not landed."""

    claims: Claims
    start: int
    records: list[Record] = field(default_factory=list)
    since: float = 0.0
    # End of what was read, holes that compaction or transactions leave included.
    end: int = 0


class Landing:
    """Consumes the topics of rows until told to stop.

    A range is landed once it has ``max_records`` records or is ``max_seconds`` old. Raises
    ``StoreError`` where the brokers refuse the service for good.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        log: Any,
        *,
        max_records: int = 50_000,
        max_seconds: float = 5,
    ) -> None:
        self._settings = settings
        self._log = log
        self._max_records, self._max_seconds = max_records, max_seconds
        self._tenants = Tenants(settings)
        self._writers = {name: RangeWriter(self._tenants, settings, name) for name in ROW_TOPICS}
        self._data_types = {topic(settings, name): name for name in ROW_TOPICS}
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._empty_polls = 0
        self._is_alone = False
        with checked_options():
            self._admin = AdminClient({**consumer_admin(settings)})
            self._dead = Producer(producer_options(settings))
            self._consumer = Consumer({**consumer_options(settings), "error_cb": self._on_error})

    def run(self, stop: Event, told: Callable[[str], None], *, drains: bool = False) -> int:
        """Until ``stop``; with ``drains`` until all that is there is landed. The rows landed."""
        rows, failures = 0, 0
        self._is_alone = drains
        self._tenants.control.require_conditions()
        self._join()
        try:
            while not stop.is_set():
                try:
                    rows += self._step(told)
                    failures = 0
                except (StoreError, KafkaException) as error:
                    pause = _BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)]
                    told(f"not possible at the moment, again in {pause} s: {error}")
                    failures += 1
                    stop.wait(pause)
                    self._join()
                if drains and self._is_drained():
                    break
            return rows
        finally:
            self._consumer.close()

    def _step(self, told: Callable[[str], None]) -> int:
        now = time.monotonic()
        messages = self._consumer.consume(_BATCH, _POLL_SECONDS)
        self._empty_polls = 0 if messages else self._empty_polls + 1
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_error(error)
                continue
            place = (str(message.topic()), int(message.partition() or 0))
            partition = self._partitions.get(place)
            record = _record(message)
            if partition is None or record.offset < partition.end:
                continue
            if not partition.records:
                partition.since = now
            partition.records.append(record)
            partition.end = record.offset + 1
        rows = 0
        for (name, number), partition in list(self._partitions.items()):
            age = time.monotonic() - partition.since
            while partition.records and (
                len(partition.records) >= self._max_records or age >= self._max_seconds
            ):
                rows += self._land(name, number, partition, told)
        return rows

    def _land(
        self, name: str, number: int, partition: _Partition, told: Callable[[str], None]
    ) -> int:
        taken = partition.records[: self._max_records]
        end = taken[-1].offset + 1
        own, is_mine = partition.claims.claim(partition.start, end)
        landed = 0
        if is_mine or own.end == end:
            found = [record for record in taken if record.offset < own.end]
            landed = self._write(name, partition.claims, own, found).rows
            told(f"{name} {number}: {own.start}..{own.end} landed, {landed} rows")
        self._advance(name, number, partition, own.end)
        return landed

    def _write(self, name: str, claims: Claims, own: Range, records: list[Record]) -> Landed:
        landed = self._writers[self._data_types[name]].write(own, records)
        self._bury(name, own, landed)
        claims.finish(own)
        return landed

    def _bury(self, name: str, own: Range, landed: Landed) -> None:
        for one in landed.poison:
            place = f"{name}-{own.partition}-{one.record.offset}"
            headers = {**one.record.headers, "reason": one.reason, "from": place}
            self._dead.produce(name + DEAD, one.record.value, place, headers=dict(headers))
        if landed.poison and self._dead.flush(_DEAD_SECONDS):
            raise StoreError(f"{name}{DEAD}: the brokers do not take what cannot be landed")

    def _advance(self, name: str, number: int, partition: _Partition, end: int) -> None:
        """Go on behind the range, wherever its end is."""
        partition.records = [record for record in partition.records if record.offset >= end]
        partition.start = end
        partition.since = time.monotonic()
        if end > partition.end:
            partition.end = end
            self._consumer.seek(TopicPartition(name, number, end))
        try:
            position = TopicPartition(name, number, end)
            self._consumer.commit(offsets=[position], asynchronous=True)
        except KafkaException:
            # Only for showing the lag.
            return

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            claims = Claims(
                self._tenants.control, one.topic, self._topic_id(one.topic), one.partition
            )
            start, unfinished = claims.known()
            for own in unfinished:
                self._write(one.topic, claims, own, self._read(own))
            if start is None:
                start = consumer.get_watermark_offsets(one, timeout=10)[0]
            claims.prune()
            self._partitions[one.topic, one.partition] = _Partition(claims, start, end=start)
            one.offset = start
        consumer.assign(partitions)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            self._partitions.pop((one.topic, one.partition), None)

    def _join(self) -> None:
        """Begin anew, behind the last claims; after a failure too, whatever had failed."""
        self._consumer.unsubscribe()
        self._partitions.clear()
        self._empty_polls = 0
        if self._is_alone:
            # Once through what is there: nobody to share with, so no group to wait for.
            self._assigned(self._consumer, self._all_partitions())
            return
        self._consumer.subscribe(
            list(self._data_types), on_assign=self._assigned, on_revoke=self._revoked
        )

    def _all_partitions(self) -> list[TopicPartition]:
        found = self._admin.list_topics(timeout=10).topics
        return [
            TopicPartition(name, number)
            for name in self._data_types
            if name in found
            for number in sorted(found[name].partitions)
        ]

    def _read(self, own: Range) -> list[Record]:
        """The records of a range that somebody claimed and did not finish."""
        options = {**consumer_options(self._settings), "group.id": f"again-{own.topic_id}"}
        reader = Consumer(options)
        found: list[Record] = []
        try:
            reader.assign([TopicPartition(own.topic, own.partition, own.start)])
            deadline = time.monotonic() + _READ_SECONDS
            end = own.start
            while end < own.end and time.monotonic() < deadline:
                for message in reader.consume(_BATCH, _POLL_SECONDS):
                    if message.error() is None:
                        record = _record(message)
                        end = record.offset + 1
                        if record.offset < own.end:
                            found.append(record)
            if end < own.end:
                raise StoreError(
                    f"{own.topic} {own.partition}: records {own.start}..{own.end} were claimed and "
                    "cannot be read any more; expected them to be kept for longer than a consumer "
                    "is down. Raise the retention of the topic."
                )
            return found
        finally:
            reader.close()

    def _topic_id(self, name: str) -> str:
        try:
            found = self._admin.describe_topics(TopicCollection([name]))[name].result(10)
            return str(found.topic_id or _NO_ID).replace("/", "_")
        except (KafkaException, ValueError):
            # Brokers before 2.8 have none; there a topic must not be made anew under its name.
            return _NO_ID

    def _is_drained(self) -> bool:
        # Some brokers understate the end of a partition.
        if self._empty_polls < _EMPTY_POLLS:
            return False
        if any(p.records for p in self._partitions.values()):
            return False
        return all(
            partition.end
            >= self._consumer.get_watermark_offsets(TopicPartition(name, number), timeout=10)[1]
            for (name, number), partition in self._partitions.items()
        )

    def _on_error(self, error: KafkaError) -> None:
        self._log.warning("kafka", error=error.name())


def consumer_admin(settings: ServiceSettings) -> dict[str, Any]:
    """Options of the client that asks about topics."""
    own = ("security.", "sasl.", "ssl.")
    kept = {name: v for name, v in settings.kafka_options.items() if name.startswith(own)}
    return {"bootstrap.servers": settings.kafka, **kept}


def _record(message: Any) -> Record:
    headers = {
        name: (value or b"").decode("utf-8", "replace") for name, value in message.headers() or ()
    }
    return Record(int(message.offset()), message.value() or b"", message.timestamp()[1], headers)
