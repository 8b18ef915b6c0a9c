"""Accepts an upload: never lost, never twice. The store is the only truth.

    judge every row -> intent -> rows and rejects -> RECEIPT -> deliver, announce, drop the intent

The receipt is put on condition that there is none. Before it nothing is accepted, and what an
attempt has written is found by its intent and taken away; from it on the sweep of the outbox
finishes what a killed service left. A second attempt has names of its own, so it disturbs nothing.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from training_assets.errors import StoreError
from training_assets.lake import Lake, Store
from training_assets.service.bodies import Body
from training_assets.service.judging import TIME_COLUMNS, Verdict, counted, landed_body, table_of
from training_assets.service.landing import Filing
from training_assets.service.outbox import Done, Outbox
from training_assets.service.problems import Problem
from training_assets.service.receipts import (
    LANDING,
    REJECTS,
    Asked,
    Intent,
    LandedFile,
    Receipt,
    find_receipt,
    read_receipt,
    receipt_path,
)
from training_assets.service.settings import ServiceSettings
from training_assets.service.tenants import SERVICE
from training_assets.service.terms import deliveries_of

# Far below the time after which the sweep takes an attempt without receipt away.
MAX_ATTEMPT_SECONDS: Final = 600
_THREADS: Final = 16
# Of files that are in memory at a time while they are sent.
_SENT_BYTES: Final = 16 * 2**20


@dataclass(frozen=True)
class Accepted:
    """An upload that is accepted; ``is_replay`` where it was before this request."""

    receipt: Receipt
    is_replay: bool
    done: Done
    warnings: Sequence[dict[str, object]] = ()


class Uploads:
    """Uploads of one tenant."""

    def __init__(
        self,
        lake: Lake,
        outbox: Outbox,
        settings: ServiceSettings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._lake = lake
        self._store: Store = lake.store.child(SERVICE)
        self._outbox = outbox
        self._settings = settings
        self._clock = clock

    def accept(
        self, asked: Asked, body: Body, take_rows: Callable[[int], None] = lambda rows: None
    ) -> Accepted:
        """Judge and store a body, or find that this was done before.

        ``take_rows`` may refuse their number. Raises ``Problem`` for what is not accepted, of which
        nothing stays, and ``StoreError`` where it is not known: then the client asks again.
        """
        table_of(asked.data_type)
        upload_id = asked.upload_id(body.sha256)
        before = find_receipt(self._store, upload_id)
        if before is not None:
            return self._replay(before, body)
        by = deliveries_of(self._lake, asked.data_type)
        arrived_at = self._clock()
        filing = Filing(
            arrived_at,
            self._settings.day_closes,
            TIME_COLUMNS.get(asked.data_type),
            asked.backfill,
        )
        keeps_rejects = asked.mode == "partial"
        with landed_body(
            body,
            asked.data_type,
            upload_id,
            filing,
            self._settings,
            by,
            keeps_rejects=keeps_rejects,
        ) as verdict:
            _require_accepted(verdict, asked.mode)
            take_rows(verdict.rows)
            attempt = Attempt(self._store, upload_id)
            receipt = attempt.receipt_of(asked, body, verdict, arrived_at)
            is_mine = attempt.run(receipt, verdict)
        if not is_mine:
            with suppress(StoreError):
                self._outbox.discard(attempt.intent)
            return self._replay(read_receipt(self._store.read(receipt_path(upload_id))), body)
        warnings = counted(verdict.warnings)
        return Accepted(receipt, False, self._deliver(receipt, attempt.intent), warnings)

    def _replay(self, receipt: Receipt, body: Body) -> Accepted:
        if receipt.sha256 != body.sha256:
            raise Problem(
                "key_reused",
                "The Idempotency-Key was used for other content before; send new content with a "
                "new key.",
            )
        with suppress(StoreError):
            return Accepted(receipt, True, self._outbox.done(receipt))
        return Accepted(receipt, True, Done())

    def _deliver(self, receipt: Receipt, intent: Intent) -> Done:
        """What fails here is done by the sweep: the upload is accepted already."""
        with suppress(StoreError, FileNotFoundError):
            if self._outbox.deliver(receipt, intent):
                return Done(True, True)
            return self._outbox.done(receipt)
        return Done()


def _require_accepted(verdict: Verdict, mode: str) -> None:
    if verdict.rejected and (mode == "strict" or not verdict.accepted):
        nothing = "nothing was stored" if mode == "strict" else "no row could be taken"
        raise Problem(
            "rejected_rows",
            f"{verdict.rejected} of {verdict.rows} rows are not valid; {nothing}.",
            **verdict.report,
        )


class Attempt:
    """One try at an upload, under a name of its own."""

    def __init__(self, store: Store, upload_id: str) -> None:
        self._store = store
        self.intent = Intent(upload_id, secrets.token_hex(6))

    @property
    def _name(self) -> str:
        return f"{self.intent.id}.{self.intent.attempt}"

    def receipt_of(
        self, asked: Asked, body: Body, verdict: Verdict, arrived_at: datetime
    ) -> Receipt:
        name, own = self._name, self.intent.id
        files = [
            LandedFile(
                day=str(file.day),
                landing=f"{SERVICE}/{LANDING}/{name}/{file.path.name}",
                raw=f"raw/{asked.data_type}/dt={file.day}/u-{own}-{number:05}.parquet",
                rows=file.rows,
                bytes=file.path.stat().st_size,
            )
            for number, file in enumerate(verdict.files)
        ]
        return Receipt(
            id=own,
            attempt=self.intent.attempt,
            tenant=asked.tenant,
            data_type=asked.data_type,
            mode=asked.mode,
            format=verdict.format,
            backfill=asked.backfill,
            sha256=body.sha256,
            bytes=body.size,
            rows=verdict.rows,
            accepted=verdict.accepted,
            rejected=verdict.rejected,
            received_at=arrived_at.isoformat(),
            principal=asked.principal,
            request_id=asked.request_id,
            days=verdict.days,
            files=files,
            counts=counted(verdict.counts),
            rejects=f"{REJECTS}/{name}" if verdict.rejects else None,
            has_key=asked.key is not None,
            replay_of=asked.replay_of,
        )

    def run(self, receipt: Receipt, verdict: Verdict) -> bool:
        """Whether this attempt is the one that counts; raises ``StoreError`` where that is open."""
        began = time.monotonic()
        self._store.put(self.intent.path, self.intent.written())
        self._put_files(receipt, verdict)
        if time.monotonic() - began > MAX_ATTEMPT_SECONDS:
            raise StoreError(
                f"uploads: the store took more than {MAX_ATTEMPT_SECONDS} s for the rows; expected "
                "less, since attempts without a receipt are taken away. Send the upload again."
            )
        return self._store.put_new(receipt_path(receipt.id), receipt.written())

    def _put_files(self, receipt: Receipt, verdict: Verdict) -> None:
        landed = [file.landing.removeprefix(f"{SERVICE}/") for file in receipt.files]
        sent = list(zip(landed, (file.path for file in verdict.files), strict=True))
        sent += [(f"{receipt.rejects}/{path.name}", path) for path in verdict.rejects]
        if len(sent) == 1:
            self._put_file(*sent[0])
            return
        largest = max(path.stat().st_size for _, path in sent)
        at_once = max(1, min(_THREADS, len(sent), _SENT_BYTES // max(1, largest)))
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda one: self._put_file(*one), sent))

    def _put_file(self, name: str, path: Path) -> None:
        self._store.put(name, path.read_bytes())
