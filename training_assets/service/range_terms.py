"""How the records of a range are judged: what the tenants' ``sources.toml`` said the first time.

It is written down with the claim before the first file. Whoever does the range again, after a crash
or beside another, goes by the same: else a row may lie in files of two days, or in a file and in
quarantine.

    <tenant's service folder>/terms/<data type>.json    what its last valid sources.toml said
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training_assets.errors import StoreError
from training_assets.service.claims import Claims, Range
from training_assets.service.problems import Problem
from training_assets.service.tenants import Tenants
from training_assets.service.terms import Deliveries, deliveries_of
from training_assets.sources.rules import Terms


class RangeTerms:
    """Those of one data type."""

    def __init__(self, tenants: Tenants, data_type: str) -> None:
        self._tenants = tenants
        self._data_type = data_type
        self._last_valid: dict[str, Deliveries | None] = {}

    def of(self, own: Range, tenants: Iterable[str]) -> dict[str, Deliveries | None]:
        """Of each tenant, None where its records are not taken.

        Raises ``StoreError`` where the store does not answer, or what a tenant declares has never
        been valid.
        """
        declared = {tenant: self._declared(tenant) for tenant in tenants}
        claims = Claims(self._tenants.control, own.topic, own.topic_id, own.partition)
        return declared | _read(claims.fixed_terms(own, _written(declared)))

    def _declared(self, tenant: str) -> Deliveries | None:
        """What holds now; where that is not valid, what was the last time.

        Records that were taken are not refused for what may be mended, and other tenants whose
        records lie among them need not wait for it.
        """
        try:
            found = deliveries_of(self._tenants.lake(tenant), self._data_type)
        except Problem as problem:
            if problem.kind != "not_configured":
                return self._remembered(tenant, problem)
            found = None
        if tenant not in self._last_valid or self._last_valid[tenant] != found:
            self._tenants.store(tenant).put(self._path, _written({tenant: found}))
            self._last_valid[tenant] = found
        return found

    def _remembered(self, tenant: str, problem: Problem) -> Deliveries | None:
        """By this consumer, or by another one that ran before it."""
        if tenant not in self._last_valid:
            try:
                kept = _read(self._tenants.store(tenant).read(self._path))
                self._last_valid[tenant] = kept[tenant]
            except (FileNotFoundError, KeyError):
                raise StoreError(f"{tenant}: {problem.__cause__ or problem}") from problem
        return self._last_valid[tenant]

    @property
    def _path(self) -> str:
        return f"terms/{self._data_type}.json"


def _written(by_tenant: Mapping[str, Deliveries | None]) -> bytes:
    return json.dumps(by_tenant, sort_keys=True).encode()


def _read(content: bytes) -> dict[str, Deliveries | None]:
    try:
        return {
            tenant: None if found is None else _deliveries(*found)
            for tenant, found in json.loads(content).items()
        }
    except (ValueError, TypeError, AttributeError):
        raise StoreError(
            "terms: those of a range or of a tenant are damaged; expected how its records are "
            "judged. Restore them from a copy of the store."
        ) from None


def _deliveries(time_zone: str, terms: Sequence[Any]) -> Deliveries:
    takes_returns, takes_digits = terms
    return Deliveries(time_zone, Terms(takes_returns, tuple(takes_digits)))
