"""How much a tenant and a key may do in a minute, and how many uploads run at a time.

Counted in rows and bytes too, since a limit of requests alone is evaded by larger ones. Exact
within one process; several count apart.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final, NamedTuple

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from training_assets.service.access import Principal
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings

REQUESTS: Final = "requests"
ROWS: Final = "rows"
BYTES: Final = "bytes"
_MAX_KNOWN: Final = 10_000


class _Timer(threading.Timer):
    """Never runs. The library's would be a new thread a hundred times a second.

    What it throws away is thrown away too when its key is asked for again, and there are no more
    keys than tenants and what they were given.
    """

    def is_alive(self) -> bool:
        return True


class _Counts(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.timer.cancel()
        self.timer = _Timer(0, lambda: None)


class _Counted(NamedTuple):
    """What is counted, and the name under which the library does."""

    item: RateLimitItemPerMinute
    names: tuple[str, ...]
    key: str


class Limits:
    """Counts, and raises ``Problem`` 429 with the seconds to wait, or 413 for what never fits."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._counts = _Counts()
        self._counting = FixedWindowRateLimiter(self._counts)
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._most = {
            REQUESTS: settings.requests_per_minute,
            ROWS: settings.rows_per_minute,
            BYTES: settings.bytes_per_minute,
        }
        # To make the names takes longer than to count.
        self._counted = lru_cache(_MAX_KNOWN)(self._new)
        self._of_tenants = {name: RateLimitItemPerMinute(most) for name, most in self._most.items()}

    def of(self, principal: Principal) -> dict[str, int]:
        """What the key may in a minute."""
        return {
            name: min(most, principal.limits.get(name, most)) for name, most in self._most.items()
        }

    def take(self, principal: Principal, what: str, amount: int = 1) -> None:
        """Count ``amount`` to the tenant and to the key, or to neither."""
        found = self._counted(principal.tenant, principal.id, what, principal.limits.get(what))
        most = min(one.item.amount for one in found)
        if amount > most:
            raise Problem(
                "too_large",
                f"{amount} {what} are more than the {most} a minute that are allowed; send less at "
                "a time.",
            )
        # Between two of these steps another thread could count.
        with self._lock:
            for one in found:
                if self._counts.get(one.key) + amount > one.item.amount:
                    raise self._refusal(one, what)
            for one in found:
                self._counts.incr(one.key, one.item.get_expiry(), amount)

    def left(self, principal: Principal, what: str) -> int:
        """How much of the minute is left."""
        counted = self._counted(principal.tenant, principal.id, what, principal.limits.get(what))
        stats = [self._counting.get_window_stats(one.item, *one.names) for one in counted]
        return max(0, min(found.remaining for found in stats))

    @contextmanager
    def upload(self, principal: Principal) -> Iterator[None]:
        """One of the uploads that may run at a time."""
        if self._running[principal.tenant] >= self._settings.uploads_at_once:
            raise Problem(
                "limited",
                f"{self._settings.uploads_at_once} uploads of the tenant are running, and more are "
                "not taken at a time.",
                retry_after=1,
            )
        self._running[principal.tenant] += 1
        try:
            yield
        finally:
            self._running[principal.tenant] -= 1
            if not self._running[principal.tenant]:
                del self._running[principal.tenant]

    def _new(self, tenant: str, key_id: str, what: str, own: int | None) -> tuple[_Counted, ...]:
        """What is counted: of the tenant, and of a key that may less than its tenant."""
        found = [_counted(self._of_tenants[what], "tenant", tenant, what)]
        if own is not None and own < self._most[what]:
            found.append(_counted(RateLimitItemPerMinute(own), "key", tenant, key_id, what))
        return tuple(found)

    def _refusal(self, one: _Counted, what: str) -> Problem:
        reset = self._counting.get_window_stats(one.item, *one.names).reset_time
        return Problem(
            "limited",
            f"More than {one.item.amount} {what} in a minute.",
            retry_after=max(1.0, reset - time.time()),
        )


def _counted(item: RateLimitItemPerMinute, *names: str) -> _Counted:
    return _Counted(item, names, item.key_for(*names))
