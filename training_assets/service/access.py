"""Who calls, for which tenant, and whether they may.

What is wrong is not told apart: an unknown key, an expired one and a wrong secret get one answer,
and a tenant that exists is forbidden in the same words as one that does not.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from training_assets.errors import StoreError
from training_assets.service.keys import SCOPES, KeyRing
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings
from training_assets.service.tenants import DEFAULT, Tenants
from training_assets.service.tokens import Tokens

TENANT_HEADER: Final = "x-tenant-id"
_KEY_PREFIX: Final = "ta_"
_MAX_CHARACTERS: Final = 8300


@dataclass(frozen=True)
class Principal:
    """Somebody who may do something for one tenant."""

    id: str
    tenant: str
    scopes: frozenset[str]
    limits: Mapping[str, int] = field(default_factory=dict)

    def require(self, scope: str) -> None:
        """Raises ``Problem``; admin may do all."""
        if scope not in self.scopes and "admin" not in self.scopes:
            raise Problem("forbidden", f"The key lacks the scope {scope!r}.")


class Access:
    """Tells who a request is from."""

    def __init__(self, settings: ServiceSettings, tenants: Tenants) -> None:
        self._settings = settings
        self._tenants = tenants
        self._keys = KeyRing(tenants.control)
        self._tokens = Tokens(settings)

    async def principal(self, headers: Mapping[str, str]) -> Principal:
        """Raises ``Problem``: 401 for nobody, 403 for somebody else's tenant."""
        if self._settings.auth == "off":
            tenant = headers.get(TENANT_HEADER, DEFAULT)
            if not self._tenants.knows(tenant):
                raise _not_yours()
            return Principal("anybody", tenant, frozenset(SCOPES))
        found = await self._found(_bearer(headers))
        if found is None:
            raise Problem("unauthenticated", "No valid key or token was given.")
        if headers.get(TENANT_HEADER, found.tenant) != found.tenant:
            raise _not_yours()
        if not self._tenants.knows(found.tenant):
            raise _not_yours()
        return found

    async def _found(self, text: str) -> Principal | None:
        if not text.startswith(_KEY_PREFIX):
            if not text or not self._tokens.is_on:
                return None
            claims = await asyncio.to_thread(self._tokens.verify, text)
            if claims is None:
                return None
            return Principal(f"jwt:{claims.subject}", claims.tenant, frozenset(claims.scopes))
        is_known, key = self._keys.cached(text)
        if not is_known:
            try:
                key = await asyncio.to_thread(self._keys.verify, text)
            except StoreError:
                raise Problem("unavailable", "Keys cannot be looked up at the moment.") from None
        if key is None:
            return None
        return Principal(f"key:{key.id}", key.tenant, frozenset(key.scopes), key.limits)


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return headers.get("x-api-key", "")[:_MAX_CHARACTERS].strip()
    return text[:_MAX_CHARACTERS].strip()


def _not_yours() -> Problem:
    return Problem("forbidden", "The key does not belong to that tenant.")
