"""Whether the service can do its work: the state of each thing that it depends on.

Uploads need the store alone. A log that is down is *degraded*: what is accepted waits in the
outbox. The store is asked by a write of its own every few seconds, so that an outage shows although
nobody uploads, and a check costs nothing.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from training_assets.service.core import Core

PROBE_SECONDS: Final = 10
_STALE_SECONDS: Final = 3 * PROBE_SECONDS
_TIMEOUT_SECONDS: Final = 8
_UP, _DEGRADED, _DOWN = "ok", "degraded", "down"


@dataclass(frozen=True)
class State:
    """Of one dependency; ``needed`` ones make the service not ready."""

    state: str
    latency_ms: float | None = None
    needed: bool = False

    @property
    def public(self) -> dict[str, Any]:
        return {"state": self.state, "latency_ms": self.latency_ms}


class Health:
    """Asks every dependency in turn, and keeps the answers."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._states: dict[str, State] = {"store": State(_DOWN, needed=True)}
        self._asked_at = float("-inf")
        self._instance = secrets.token_hex(6)
        self._checks: dict[str, tuple[Callable[[], str | None], bool]] = {
            "store": (self._store, True)
        }

    def add(self, name: str, check: Callable[[], str | None]) -> None:
        """A dependency without which uploads go on.

        ``check`` says in which state it is, *ok* by default, and raises where it is down.
        """
        self._checks[name] = (check, False)

    def set(self, name: str, is_up: bool) -> None:
        """What somebody else found out of a dependency that is not needed."""
        self._states[name] = State(_UP if is_up else _DOWN)

    async def probe(self) -> None:
        """Ask all of them."""
        for name, (check, needed) in self._checks.items():
            self._states[name] = await self._asked(check, needed)
        self._asked_at = time.monotonic()
        self._core.metrics.ready.set(float(self.is_ready))

    @property
    def is_ready(self) -> bool:
        is_fresh = time.monotonic() - self._asked_at < _STALE_SECONDS
        are_up = all(state.state == _UP for state in self._states.values() if state.needed)
        return is_fresh and are_up and not self._core.is_stopping

    @property
    def report(self) -> dict[str, Any]:
        status = _UP if all(s.state == _UP for s in self._states.values()) else _DEGRADED
        return {
            "status": status if self.is_ready else _DOWN,
            "checks": {name: state.public for name, state in self._states.items()},
        }

    async def _asked(self, check: Callable[[], str | None], needed: bool) -> State:
        began = time.perf_counter()
        try:
            state = await asyncio.wait_for(asyncio.to_thread(check), _TIMEOUT_SECONDS)
        except Exception:
            return State(_DOWN, None, needed)
        return State(state or _UP, round((time.perf_counter() - began) * 1000, 3), needed)

    def _store(self) -> None:
        self._core.tenants.control.put(f"_probe/{self._instance}", b"")
