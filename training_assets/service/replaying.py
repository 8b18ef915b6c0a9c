"""Does again what was kept: refused rows under today's rules, and events of receipts.

A replay is a new upload, whose key is made of the first and of the schema's version, so that doing
it twice adds nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from training_assets.lake import Store
from training_assets.service.bodies import Body
from training_assets.service.core import Core
from training_assets.service.outbox import Publisher
from training_assets.service.problems import Problem
from training_assets.service.receipts import Asked, Receipt, find_receipt, indexed
from training_assets.service.rejects import rows_file
from training_assets.service.spools import new_spool
from training_assets.service.topics import SCHEMA_VERSION

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Replayed:
    """What became of the refused rows of an upload: how many are taken now."""

    upload_id: str
    rejected: int
    accepted: int
    is_new: bool


def receipts_since(store: Store, first: date) -> Iterator[Receipt]:
    """Accepted uploads that arrived on that day or later, oldest first."""
    day, last = first, datetime.now(UTC).date()
    while day <= last:
        for entry in reversed(indexed(store, day)):
            if (found := find_receipt(store, entry.id)) is not None:
                yield found
        day += _DAY


def replay(core: Core, tenant: str, receipt: Receipt, code: str | None = None) -> Replayed | None:
    """Judge the refused rows of an upload anew; None where it has none (of that code)."""
    store = core.tenants.store(tenant)
    if receipt.rejects is None:
        return None
    if code is not None and all(one["code"] != code for one in receipt.counts):
        return None
    name = rows_file([entry.path for entry in store.list(receipt.rejects)])
    if name is None:
        return None
    body = _kept(core, store.read(name))
    asked = Asked(
        tenant=tenant,
        data_type=receipt.data_type,
        mode="partial",
        key=f"replay:{receipt.id}:{SCHEMA_VERSION}",
        backfill=receipt.backfill,
        principal="replay",
        replay_of=receipt.id,
    )
    try:
        found = core.uploads(tenant).accept(asked, body)
    except Problem as problem:
        if problem.kind != "rejected_rows":
            raise
        return Replayed(receipt.id, receipt.rejected, 0, False)
    finally:
        body.close()
    return Replayed(receipt.id, receipt.rejected, found.receipt.accepted, not found.is_replay)


def republish(publisher: Publisher, receipts: Iterator[Receipt]) -> tuple[int, int]:
    """Announce uploads again; how many were, and how many could not be."""
    done = failed = 0
    for receipt in receipts:
        if publisher.publish_receipt(receipt):
            done += 1
        else:
            failed += 1
    return done, failed


def _kept(core: Core, content: bytes) -> Body:
    file = new_spool(core.settings)
    file.write(content)
    file.seek(0)
    return Body(file, len(content), len(content), hashlib.sha256(content).hexdigest())
