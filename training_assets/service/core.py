"""What all routes share: the places, who may, what is counted, and the threads that compute."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from training_assets.lake import Store
from training_assets.online import OnlineStore
from training_assets.service.access import Access
from training_assets.service.announcing import Announcer
from training_assets.service.audit import Audit
from training_assets.service.event_log import EventLog
from training_assets.service.gathering import Gathering
from training_assets.service.limits import Limits
from training_assets.service.logs import new_logger
from training_assets.service.metrics import Metrics
from training_assets.service.online import open_online
from training_assets.service.outbox import Outbox, Publisher
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings
from training_assets.service.tenants import DEFAULT, Tenants
from training_assets.service.terms import PLAIN, Deliveries, deliveries_of
from training_assets.service.uploads import Uploads

_SMALL_BYTES: Final = 256 * 2**10
_SMALL_THREADS: Final = 8
_LATE_SECONDS: Final = 60
_DECLARED_SECONDS: Final = 5
_T = TypeVar("_T")


class Workers:
    """Threads for what computes; small bodies have their own, which large ones never stop."""

    def __init__(self, settings: ServiceSettings, metrics: Metrics) -> None:
        self._large = ThreadPoolExecutor(settings.workers, "large")
        self._small = ThreadPoolExecutor(_SMALL_THREADS, "small")
        self._most = settings.workers + settings.queue
        self._metrics = metrics
        self._running = 0

    async def run(self, size: int, work: Callable[[], _T]) -> _T:
        """Raises ``Problem`` 503 where too many large bodies wait."""
        loop = asyncio.get_running_loop()
        if size <= _SMALL_BYTES:
            return await loop.run_in_executor(self._small, work)
        if self._running >= self._most:
            raise Problem("unavailable", "Too many uploads are waiting; send it again.")
        self._running += 1
        self._metrics.queue.set(self._running)
        try:
            return await loop.run_in_executor(self._large, work)
        finally:
            self._running -= 1
            self._metrics.queue.set(self._running)

    def close(self) -> None:
        for pool in (self._large, self._small):
            pool.shutdown(wait=True, cancel_futures=True)


class Core:
    """One service. ``is_stopping`` once it takes nothing new, ``oldest_seconds`` of the outbox."""

    def __init__(
        self, settings: ServiceSettings, publisher: Publisher | None = None, log: Any = None
    ) -> None:
        self.settings = settings
        self.log = log or new_logger(settings.logs)
        self.tenants = Tenants(settings)
        self.access = Access(settings, self.tenants)
        self.limits = Limits(settings)
        self.metrics = Metrics(settings.metrics_tenants)
        self.audit = Audit(self._audit_store, self.log)
        self.workers = Workers(settings, self.metrics)
        self.publisher = publisher
        if publisher is None and settings.kafka:
            self.publisher = EventLog(settings, self.log)
        self.gathering: Gathering | None = None
        if isinstance(self.publisher, EventLog):
            self.gathering = Gathering(self.publisher)
        self.is_stopping = False
        self.oldest_seconds = 0.0
        self._uploads: dict[str, Uploads] = {}
        self._online: dict[str, OnlineStore] = {}
        self._outboxes: dict[str, Outbox] = {}
        self._deliveries: dict[tuple[str, str], tuple[float, Deliveries]] = {}

    def outbox(self, tenant: str) -> Outbox:
        if tenant not in self._outboxes:
            self._outboxes[tenant] = Outbox(self.tenants.lake(tenant), self.publisher)
        return self._outboxes[tenant]

    def uploads(self, tenant: str) -> Uploads:
        if tenant not in self._uploads:
            self.tenants.register(tenant)
            self._uploads[tenant] = Uploads(
                self.tenants.lake(tenant), self.outbox(tenant), self.settings
            )
        return self._uploads[tenant]

    def deliveries(self, tenant: str, data_type: str) -> Deliveries:
        """How the tenant's events are judged, as of some seconds ago; raises ``Problem``.

        To ask the store for each event would take longer than all else.
        """
        found = self.known_deliveries(tenant, data_type)
        if found is None:
            found = deliveries_of(self.tenants.lake(tenant), data_type)
            self._deliveries[tenant, data_type] = time.monotonic(), found
        return found

    def known_deliveries(self, tenant: str, data_type: str) -> Deliveries | None:
        """The same where it is known without the store."""
        at, found = self._deliveries.get((tenant, data_type), (float("-inf"), PLAIN))
        return found if time.monotonic() - at < _DECLARED_SECONDS else None

    def online(self, tenant: str) -> OnlineStore:
        if tenant not in self._online:
            self._online[tenant] = open_online(self.tenants, tenant)
        return self._online[tenant]

    def require_running(self) -> None:
        """Raises ``Problem`` 503 once the service is stopping."""
        if self.is_stopping:
            raise Problem("unavailable", "The service is stopping; send it again.")

    def sweep(self) -> None:
        """Finish what stands in the outbox of every tenant."""
        found = [self.outbox(tenant).sweep() for tenant in self.tenants.names]
        self.metrics.outbox_pending.set(sum(one.intents for one in found))
        self.oldest_seconds = max((one.oldest_seconds for one in found), default=0.0)
        self.metrics.outbox_oldest.set(self.oldest_seconds)

    def announce(self) -> None:
        """Tell the log which days were published, of every tenant."""
        if isinstance(self.publisher, EventLog):
            for tenant in self.tenants.names:
                Announcer(self.tenants.lake(tenant), tenant, self.publisher).sweep()

    def measure_lag(self) -> None:
        """How far the consumers are behind, by partition."""
        if isinstance(self.publisher, EventLog):
            for name, partition, records in self.publisher.lags():
                self.metrics.lag.labels(name, str(partition)).set(records)

    def outbox_state(self) -> str:
        """As of the last sweep: degraded once something waits for a minute."""
        return "degraded" if self.oldest_seconds > _LATE_SECONDS else "ok"

    def online_state(self) -> str:
        """Whether a store of features answers: those that are in use, or that of the only tenant.

        Raises ``StoreError`` where one does not.
        """
        for tenant in list(self._online) if self.tenants.are_many else [DEFAULT]:
            self.online(tenant).current("users")
        return "ok"

    def require_log(self) -> None:
        """Raises ``Problem`` or ``StoreError`` where no events are taken."""
        if self.gathering is not None:
            self.gathering.require_running()
        if isinstance(self.publisher, EventLog):
            self.publisher.require_up()

    def close(self) -> None:
        """Have what runs end, and all that is to be kept in the store."""
        self.workers.close()
        for store in self._online.values():
            store.close()
        self.audit.flush()
        if self.gathering is not None:
            self.gathering.close()
        if isinstance(self.publisher, EventLog):
            self.publisher.close()

    def _audit_store(self, tenant: str) -> Store:
        return self.tenants.store(tenant) if tenant else self.tenants.control
