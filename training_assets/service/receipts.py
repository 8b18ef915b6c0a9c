"""What the service keeps of an upload, and where.

    <lake>/service/receipts/<id>.json            accepted: put once, never changed
    <lake>/service/outbox/<id>.<attempt>.json    what is still to be done for an attempt
    <lake>/service/landing/<id>.<attempt>/…      rows of an attempt, until they are delivered
    <lake>/service/rejects/<id>.<attempt>/…      rows that were refused, and why
    <lake>/service/index/<day>/<name>            accepted uploads by day; the name says the totals
    <lake>/raw/<type>/dt=D/u-<id>-00000.parquet  rows, delivered; only what a receipt names

An attempt has names of its own, so that two of one upload never touch each other; the receipt says
which of them counts.
"""

import builtins
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final

from training_assets.errors import StoreError
from training_assets.lake import Store

RECEIPTS: Final = "receipts"
OUTBOX: Final = "outbox"
LANDING: Final = "landing"
REJECTS: Final = "rejects"
INDEX: Final = "index"

_ID: Final = re.compile(r"[0-9a-f]{32}")
_INDEXED: Final = re.compile(
    r"(?P<time>\d{6})-(?P<id>[0-9a-f]{32})-(?P<type>[a-z_]+)"
    r"-(?P<accepted>\d+)-(?P<rejected>\d+)-(?P<bytes>\d+)"
)


@dataclass(frozen=True)
class LandedFile:
    """Rows of one day: where they wait, and where they go; both relative to the lake."""

    day: str
    landing: str
    raw: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Receipt:
    """An accepted upload. ``received_at`` is ISO 8601 in UTC, ``days`` rows by day."""

    id: str
    attempt: str
    tenant: str
    data_type: str
    mode: str
    format: str
    backfill: bool
    sha256: str
    bytes: int
    rows: int
    accepted: int
    rejected: int
    received_at: str
    principal: str
    request_id: str
    days: Mapping[str, int]
    files: Sequence[LandedFile]
    counts: Sequence[Mapping[str, Any]] = ()
    rejects: str | None = None
    has_key: bool = False
    replay_of: str | None = None

    def written(self) -> "builtins.bytes":
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @property
    def public(self) -> dict[str, Any]:
        """As clients see it."""
        hidden = {"attempt", "files", "rejects", "has_key", "principal", "tenant"}
        shown = {name: value for name, value in asdict(self).items() if name not in hidden}
        return {**shown, "files": [file.raw for file in self.files]}

    @property
    def event(self) -> dict[str, Any]:
        """The message that announces it: a pointer, not the rows."""
        return {
            "event_id": self.id,
            "tenant": self.tenant,
            "data_type": self.data_type,
            "rows": self.accepted,
            "days": dict(self.days),
            "files": [file.raw for file in self.files],
            "received_at": self.received_at,
        }

    @property
    def index_name(self) -> str:
        """Path of its entry in the index."""
        at = datetime.fromisoformat(self.received_at)
        name = f"{at:%H%M%S}-{self.id}-{self.data_type}"
        return f"{INDEX}/{at.date()}/{name}-{self.accepted}-{self.rejected}-{self.bytes}"


@dataclass(frozen=True)
class Indexed:
    """An entry of the index."""

    id: str
    data_type: str
    accepted: int
    rejected: int
    bytes: int
    received_at: str


@dataclass(frozen=True)
class Intent:
    """What an attempt sets out to do; ``is_delivered`` once only the event is outstanding."""

    id: str
    attempt: str
    is_delivered: bool = False

    @property
    def path(self) -> str:
        return f"{OUTBOX}/{self.id}.{self.attempt}.json"

    def written(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()


@dataclass(frozen=True)
class Asked:
    """What a client wants to be done with a body."""

    tenant: str
    data_type: str
    mode: str = "strict"
    key: str | None = None
    backfill: bool = False
    principal: str = ""
    request_id: str = ""
    replay_of: str | None = field(default=None)

    def upload_id(self, sha256: str) -> str:
        """32 hexadecimal digits: the same for the same key, else for the same content."""
        own = f"key:{self.key}" if self.key is not None else f"sha256:{sha256}"
        parts = [self.tenant, self.data_type, self.mode, str(self.backfill), own]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def is_upload_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def receipt_path(upload_id: str) -> str:
    return f"{RECEIPTS}/{upload_id}.json"


def find_receipt(store: Store, upload_id: str) -> Receipt | None:
    """None where the upload was not accepted, as far as the store knows now."""
    try:
        return read_receipt(store.read(receipt_path(upload_id)))
    except FileNotFoundError:
        return None


def read_receipt(content: bytes) -> Receipt:
    try:
        values = json.loads(content)
        files = [LandedFile(**file) for file in values["files"]]
        return Receipt(**{**values, "files": files})
    except (ValueError, TypeError, KeyError):
        raise StoreError(
            "receipts: an object is damaged; expected what the service wrote. Restore it from a "
            "copy of the store."
        ) from None


def read_intent(content: bytes) -> Intent | None:
    """None for what is no intent."""
    try:
        return Intent(**json.loads(content))
    except (ValueError, TypeError):
        return None


def indexed(store: Store, day: date) -> list[Indexed]:
    """Accepted uploads that arrived on a day, newest first."""
    found = []
    for entry in store.list(f"{INDEX}/{day}"):
        if one := _INDEXED.fullmatch(entry.path.rpartition("/")[2]):
            at = datetime.strptime(f"{day} {one['time']}", "%Y-%m-%d %H%M%S").replace(tzinfo=UTC)
            numbers = (int(one["accepted"]), int(one["rejected"]), int(one["bytes"]))
            found.append(Indexed(one["id"], one["type"], *numbers, at.isoformat()))
    return sorted(found, key=lambda one: (one.received_at, one.id), reverse=True)
