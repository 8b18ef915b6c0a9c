"""Tells the log which days were published: features, and what to train on.

What was told last is kept beside the receipts, so a day is told at least once whoever built it, and
again when it was built anew. The id of an event is that of the day's content.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, Final, Protocol

from training_assets.lake import Lake, Snapshot, open_snapshot
from training_assets.service.tenants import SERVICE
from training_assets.service.topics import FEATURES, TRAINING

ANNOUNCED: Final = "announced"
# By topic, the tables whose days it tells of.
TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    FEATURES: ("user_features", "item_features", "pair_features"),
    TRAINING: ("training_input", "training_samples"),
}


class DayPublisher(Protocol):
    """Where days are announced."""

    def publish_day(self, topic: str, event: Mapping[str, Any]) -> bool:
        """Whether all replicas have it."""


class Announcer:
    """Of one tenant's lake."""

    def __init__(self, lake: Lake, tenant: str, publisher: DayPublisher) -> None:
        self._lake = lake
        self._store = lake.store.child(SERVICE)
        self._tenant = tenant
        self._publisher = publisher

    def sweep(self) -> int:
        """Tell of each day that is new or other than it was told; how many were told.

        Raises ``StoreError`` where the lake does not answer. Where the log does not take a day of a
        topic, it and the later ones wait for the next time.
        """
        return sum(self._sweep(topic, tables) for topic, tables in TABLES.items())

    def _sweep(self, topic: str, tables: Sequence[str]) -> int:
        told = 0
        for table in tables:
            snapshot = open_snapshot(self._lake.table_store(table), table)
            before = self._before(table)
            now = {str(day): snapshot.content(day) for day in snapshot.days}
            done = {day: content for day, content in before.items() if now.get(day) == content}
            is_up = True
            for day in snapshot.days:
                if str(day) in done:
                    continue
                is_up = self._publisher.publish_day(topic, self._event(snapshot, day))
                if not is_up:
                    break
                done[str(day)] = now[str(day)]
                told += 1
            if done != before:
                self._store.put(f"{ANNOUNCED}/{table}.json", json.dumps(done).encode())
            if not is_up:
                break
        return told

    def _before(self, table: str) -> dict[str, str]:
        with suppress(FileNotFoundError, ValueError):
            found: dict[str, str] = json.loads(self._store.read(f"{ANNOUNCED}/{table}.json"))
            return found
        return {}

    def _event(self, snapshot: Snapshot, day: date) -> dict[str, Any]:
        content = snapshot.content(day)
        whole = f"{self._tenant}/{snapshot.table}/{day}/{content}"
        return {
            "event_id": hashlib.sha256(whole.encode()).hexdigest()[:32],
            "tenant": self._tenant,
            "table": snapshot.table,
            "dt": str(day),
            "rows": sum(file.rows for file in snapshot.files_of(day)),
            "content": content,
        }
