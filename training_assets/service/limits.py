"""How much a tenant and a key may do in a minute, and how many uploads run at a time.

Counted in rows and bytes too, since a limit of requests alone is evaded by larger ones. Exact
within one process; several count apart.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from training_assets.service.access import Principal
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings

REQUESTS: Final = "requests"
ROWS: Final = "rows"
BYTES: Final = "bytes"


class Limits:
    """Counts, and raises ``Problem`` 429 with the seconds to wait, or 413 for what never fits."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._counting = FixedWindowRateLimiter(MemoryStorage())
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._most = {
            REQUESTS: settings.requests_per_minute,
            ROWS: settings.rows_per_minute,
            BYTES: settings.bytes_per_minute,
        }
        self._of_tenants = {name: RateLimitItemPerMinute(most) for name, most in self._most.items()}

    def of(self, principal: Principal) -> dict[str, int]:
        """What the key may in a minute."""
        return {
            name: min(most, principal.limits.get(name, most)) for name, most in self._most.items()
        }

    def take(self, principal: Principal, what: str, amount: int = 1) -> None:
        """Count ``amount`` to the tenant and to the key, or to neither."""
        items = self._items(principal, what)
        most = min(item.amount for item, _ in items)
        if amount > most:
            raise Problem(
                "too_large",
                f"{amount} {what} are more than the {most} a minute that are allowed; send less at "
                "a time.",
            )
        # What counts starts a timer, which two threads would start twice.
        with self._lock:
            for item, names in items:
                if not self._counting.test(item, *names, cost=amount):
                    raise self._refusal(item, names, what)
            for item, names in items:
                self._counting.hit(item, *names, cost=amount)

    def left(self, principal: Principal, what: str) -> int:
        """How much of the minute is left."""
        stats = [
            self._counting.get_window_stats(item, *names)
            for item, names in self._items(principal, what)
        ]
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

    def _items(
        self, principal: Principal, what: str
    ) -> list[tuple[RateLimitItemPerMinute, tuple[str, ...]]]:
        """What is counted: of the tenant, and of a key that may less than its tenant."""
        items: list[tuple[RateLimitItemPerMinute, tuple[str, ...]]] = [
            (self._of_tenants[what], ("tenant", principal.tenant, what))
        ]
        most = principal.limits.get(what, self._most[what])
        if most < self._most[what]:
            names = ("key", principal.tenant, principal.id, what)
            items.append((RateLimitItemPerMinute(most), names))
        return items

    def _refusal(self, item: RateLimitItemPerMinute, names: tuple[str, ...], what: str) -> Problem:
        reset = self._counting.get_window_stats(item, *names).reset_time
        return Problem(
            "limited",
            f"More than {item.amount} {what} in a minute.",
            retry_after=max(1.0, reset - time.time()),
        )
