"""Finishes what was accepted: rows into the raw layer, the event into the log, the intent away.

Everything here may be done twice, by any number of services, and be interrupted anywhere: a file
is copied where it is not yet, an event carries its id, and the intent goes last.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from training_assets.errors import StoreError
from training_assets.lake import Entry, Lake
from training_assets.service.receipts import (
    LANDING,
    OUTBOX,
    REJECTS,
    Intent,
    LandedFile,
    Receipt,
    find_receipt,
    read_intent,
)
from training_assets.service.tenants import SERVICE

DROP_SECONDS: Final = 3600
_SETTLE_SECONDS: Final = 5
_THREADS: Final = 16


class Publisher(Protocol):
    """Where receipts are announced."""

    def publish_receipt(self, receipt: Receipt) -> bool:
        """Whether all replicas have it."""


@dataclass(frozen=True)
class Pending:
    """What stands in the outbox: how many, and the age of the oldest in seconds."""

    intents: int
    oldest_seconds: float


class Done(NamedTuple):
    """What is done of an upload: its files are in the raw layer, its event is sent."""

    is_delivered: bool = False
    is_announced: bool = False


class Outbox:
    """The outbox of one tenant's lake."""

    def __init__(
        self,
        lake: Lake,
        publisher: Publisher | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._lake = lake
        self._store = lake.store.child(SERVICE)
        self._publisher = publisher
        self._clock = clock

    def deliver(self, receipt: Receipt, intent: Intent) -> bool:
        """Do what is still to be done; whether that was all. Raises ``StoreError``."""
        if not intent.is_delivered:
            self._deliver_files(receipt)
            self._store.put(receipt.index_name, b"")
            if self._publisher is not None:
                # From here on only the event is outstanding, and files may be removed from raw.
                intent = replace(intent, is_delivered=True)
                self._store.put(intent.path, intent.written())
        self._store.delete(_without_root(file.landing) for file in receipt.files)
        if self._publisher is not None and not self._publisher.publish_receipt(receipt):
            return False
        self._store.delete([intent.path])
        return True

    def discard(self, intent: Intent) -> None:
        """Take away an attempt that no receipt names, and all that it wrote."""
        for folder in (LANDING, REJECTS):
            found = self._store.list(f"{folder}/{intent.id}.{intent.attempt}")
            self._store.delete(entry.path for entry in found)
        self._store.delete([intent.path])

    def sweep(self, settle_seconds: float = _SETTLE_SECONDS) -> Pending:
        """Finish what others left; what stands in the outbox afterwards."""
        left = []
        for entry in self._store.list(OUTBOX):
            try:
                is_done = self._is_settled(entry, settle_seconds) and self._finish(entry)
            except (StoreError, FileNotFoundError):
                # One that cannot be finished holds up no other.
                is_done = False
            if not is_done:
                left.append(entry)
        now = self._clock().timestamp()
        ages = [now - entry.modified_ns / 1e9 for entry in left]
        return Pending(len(left), max([0.0, *ages]))

    def done(self, receipt: Receipt) -> Done:
        """What became of an accepted upload."""
        try:
            intent = read_intent(self._store.read(Intent(receipt.id, receipt.attempt).path))
        except FileNotFoundError:
            return Done(True, True)
        return Done(intent is not None and intent.is_delivered, False)

    def _finish(self, entry: Entry) -> bool:
        try:
            intent = read_intent(self._store.read(entry.path))
        except FileNotFoundError:
            return True
        if intent is None:
            return False
        receipt = find_receipt(self._store, intent.id)
        if receipt is not None and receipt.attempt == intent.attempt:
            return self.deliver(receipt, intent)
        if receipt is not None or self._is_settled(entry, DROP_SECONDS):
            self.discard(intent)
            return True
        return False

    def _is_settled(self, entry: Entry, seconds: float) -> bool:
        return self._clock().timestamp() - entry.modified_ns / 1e9 >= seconds

    def _deliver_files(self, receipt: Receipt) -> None:
        files: Sequence[LandedFile] = receipt.files
        if len(files) == 1:
            self._deliver_file(files[0])
            return
        with ThreadPoolExecutor(min(_THREADS, len(files))) as pool:
            list(pool.map(self._deliver_file, files))

    def _deliver_file(self, file: LandedFile) -> None:
        store = self._lake.store
        # A second copy would have a new time of change, and a day built from it look outdated.
        if store.stat(file.raw) is None:
            try:
                store.copy(file.landing, file.raw)
            except FileNotFoundError:
                # Another service was faster, and has taken the landed file away.
                if store.stat(file.raw) is None:
                    raise


def _without_root(path: str) -> str:
    return path.removeprefix(f"{SERVICE}/")
