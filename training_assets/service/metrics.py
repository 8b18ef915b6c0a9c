"""What is counted and timed, for Prometheus.

Routes are templates, never paths; ids, keys and names of files are no labels. A tenant is one up to
a number of them, then all others are ``other``.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_OTHER: Final = "other"
_Metric = TypeVar("_Metric", Counter, Histogram)
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """All metrics of one service, in a registry of their own."""

    def __init__(self, max_tenants: int) -> None:
        own = self.registry = CollectorRegistry()
        self._max_tenants = max_tenants
        self._tenants: set[str] = set()
        self._lock = threading.Lock()
        self._children: dict[tuple[Any, ...], Any] = {}
        self.requests = Counter(
            "ingest_requests",
            "Requests by route template, method, status and tenant.",
            ["route", "method", "status", "tenant"],
            registry=own,
        )
        self.request_seconds = Histogram(
            "ingest_request_seconds",
            "Seconds from the first byte of a request to the first of its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=own,
        )
        self.rows = Counter(
            "ingest_rows",
            "Rows by data type and outcome: accepted, rejected.",
            ["data_type", "outcome", "tenant"],
            registry=own,
        )
        self.rejects = Counter(
            "ingest_rejects",
            "Faults of rejected rows by code.",
            ["data_type", "code", "tenant"],
            registry=own,
        )
        self.bytes = Counter(
            "ingest_bytes", "Bytes of bodies, unpacked.", ["data_type", "tenant"], registry=own
        )
        self.stage_seconds = Histogram(
            "ingest_stage_seconds",
            "Seconds of a stage of an upload: receive, wait, accept.",
            ["stage"],
            buckets=_BUCKETS,
            registry=own,
        )
        self.limited = Counter(
            "limited", "Requests sent away, by reason.", ["reason", "tenant"], registry=own
        )
        self.outbox_pending = Gauge(
            "outbox_pending", "Uploads that are accepted and not all done.", registry=own
        )
        self.outbox_oldest = Gauge(
            "outbox_oldest_seconds", "Age of the oldest of them.", registry=own
        )
        self.lag = Gauge(
            "consumer_lag_records",
            "Records of a topic that are not in the raw layer yet.",
            ["topic", "partition"],
            registry=own,
        )
        self.queue = Gauge("upload_queue", "Uploads at work or waiting.", registry=own)
        self.ready = Gauge("service_ready", "1 while uploads are taken.", registry=own)
        self.events = Counter(
            "events", "Events by outcome: acknowledged, failed.", ["outcome"], registry=own
        )
        self.feature_requests = Counter(
            "features_requests", "Entities asked for, by state.", ["kind", "state"], registry=own
        )
        self.feature_seconds = Histogram(
            "features_seconds", "Seconds of a read.", ["kind"], buckets=_BUCKETS, registry=own
        )
        self.feature_age = Gauge(
            "features_age_seconds", "Age of the values served last.", ["kind"], registry=own
        )

    def tenant(self, name: str) -> str:
        """The label of a tenant."""
        with self._lock:
            if name in self._tenants:
                return name
            if len(self._tenants) < self._max_tenants:
                self._tenants.add(name)
                return name
            return _OTHER

    def of(self, metric: _Metric, *labels: str) -> _Metric:
        """The metric's child with these labels, quicker than the library finds it."""
        key = (metric, *labels)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = metric.labels(*labels)
        return cast(_Metric, found)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self.of(self.stage_seconds, name).observe(perf_counter() - began)

    def page(self) -> bytes:
        return generate_latest(self.registry)
