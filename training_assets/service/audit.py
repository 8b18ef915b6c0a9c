"""Who did what, when and with which outcome: a line for each accepted, refused and denied call.

    <lake>/service/audit/dt=2026-11-20/<instance>-<number>.jsonl

A line goes to the log before the answer is sent, and to the store a few seconds later. It never
holds content, keys or tokens. Calls of nobody lie where keys do.
"""

import secrets
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from training_assets.errors import StoreError
from training_assets.lake import Store

_FOLDER: Final = "audit"
_MAX_WAITING: Final = 10_000
_LINE: Final = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True)
class Call:
    """What is told of a call; ``tenant`` and ``principal`` are empty for nobody."""

    at: str
    request_id: str
    tenant: str
    principal: str
    client: str
    action: str
    outcome: str
    status: int
    rows: int = 0
    bytes: int = 0
    upload_id: str = ""


class Audit:
    """Collects calls, and writes them a few seconds at a time."""

    def __init__(self, store_of: Callable[[str], Store], log: Any) -> None:
        self._store_of = store_of
        self._log = log
        self._instance = secrets.token_hex(6)
        self._number = 0
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Call]] = defaultdict(list)

    def write(self, call: Call) -> None:
        self._log.info("audit", **vars(call))
        with self._lock:
            waiting = self._waiting[call.tenant]
            if len(waiting) < _MAX_WAITING:
                waiting.append(call)

    def flush(self) -> None:
        """Have all lines in the store; those of a store that fails stay for the next time."""
        with self._lock:
            taken, self._waiting = self._waiting, defaultdict(list)
        for tenant, calls in taken.items():
            try:
                self._put(tenant, calls)
            except StoreError:
                with self._lock:
                    kept = calls + self._waiting[tenant]
                    self._waiting[tenant] = kept[:_MAX_WAITING]

    def _put(self, tenant: str, calls: list[Call]) -> None:
        self._number += 1
        lines = b"".join(orjson.dumps(vars(call), option=_LINE) for call in calls)
        day = datetime.now(UTC).date()
        name = f"{_FOLDER}/dt={day}/{self._instance}-{self._number:06}.jsonl"
        with suppress(FileNotFoundError):
            self._store_of(tenant).put(name, lines)
