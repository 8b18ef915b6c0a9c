"""API keys: 256 random bits, shown once, kept as their SHA-256, each an object of the store.

    keys/<id>.json      ta_<id>_<secret> is what a client sends

A slow hash would buy nothing for random keys and cost a quarter of a second a request.
"""

import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from training_assets.errors import SettingsError, StoreError
from training_assets.lake import Store
from training_assets.service.tenants import require_tenant_name

SCOPES: Final = ("upload", "validate", "read", "run", "admin")
CACHE_SECONDS: Final = 15
MAX_LIVE: Final = 2
_FOLDER: Final = "keys"
_KEY: Final = re.compile(r"ta_(?P<id>[0-9a-f]{8})_(?P<secret>[A-Za-z0-9_-]{43})")
_MAX_CACHED: Final = 10_000
_NOBODY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key; ``limits`` a minute, where it has fewer than its tenant."""

    id: str
    name: str
    tenant: str
    scopes: tuple[str, ...]
    sha256: str = field(repr=False)
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)

    def is_live(self, now: datetime) -> bool:
        is_over = self.expires_at is not None and datetime.fromisoformat(self.expires_at) <= now
        return self.revoked_at is None and not is_over


class KeyStore:
    """Keys as they lie in the store; for the commands."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        name: str,
        tenant: str,
        scopes: Sequence[str],
        expires_at: datetime | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its text, which is known here only; raises ``SettingsError``.

        Two of one name and tenant may live at a time, so that clients can change over.
        """
        require_tenant_name(tenant)
        _require_scopes(scopes)
        now = datetime.now(UTC)
        live = [k for k in self.all() if (k.name, k.tenant) == (name, tenant) and k.is_live(now)]
        if len(live) >= MAX_LIVE:
            raise SettingsError(
                f"keys: {name!r} of {tenant!r} has {len(live)} live keys "
                f"({', '.join(key.id for key in live)}); expected at most {MAX_LIVE}. Revoke one "
                "with 'training-assets keys revoke'."
            )
        secret = secrets.token_urlsafe(32)
        key = ApiKey(
            id=secrets.token_hex(4),
            name=name,
            tenant=tenant,
            scopes=tuple(dict.fromkeys(scopes)),
            sha256=hashlib.sha256(secret.encode()).hexdigest(),
            created_at=now.isoformat(),
            expires_at=expires_at.isoformat() if expires_at else None,
            limits=dict(limits or {}),
        )
        if not self._store.put_new(_path(key.id), _written(key)):
            return self.create(name, tenant, scopes, expires_at, limits)
        return key, f"ta_{key.id}_{secret}"

    def rotate(self, key_id: str) -> tuple[ApiKey, str]:
        """A second key like this one; the first stays until it is revoked."""
        old = self.get(key_id)
        expires = datetime.fromisoformat(old.expires_at) if old.expires_at else None
        return self.create(old.name, old.tenant, old.scopes, expires, old.limits)

    def revoke(self, key_id: str) -> ApiKey:
        """The key opens nothing within half a minute, wherever it is cached."""
        key = self.get(key_id)
        revoked = replace(key, revoked_at=key.revoked_at or datetime.now(UTC).isoformat())
        self._store.put(_path(key.id), _written(revoked))
        return revoked

    def get(self, key_id: str) -> ApiKey:
        """Raises ``SettingsError`` where there is none."""
        found = self.find(key_id) if re.fullmatch(r"[0-9a-f]{8}", key_id) else None
        if found is None:
            raise SettingsError(
                f"keys: there is no key {key_id!r}; expected the 8 digits between ta_ and the "
                "secret. List them with 'training-assets keys list'."
            )
        return found

    def find(self, key_id: str) -> ApiKey | None:
        try:
            return _read(self._store.read(_path(key_id)))
        except FileNotFoundError:
            return None

    def all(self) -> list[ApiKey]:
        """Every key, oldest first."""
        paths = [entry.path for entry in self._store.list(_FOLDER)]
        return sorted(map(_read, self._store.read_all(paths)), key=lambda key: key.created_at)


class KeyRing:
    """Keys as the service asks for them: looked up once in ``CACHE_SECONDS``.

    A key that was looked up stays good for that long if the store does not answer.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = KeyStore(store)
        self._clock = clock
        self._lock = threading.Lock()
        self._cached: dict[str, tuple[float, ApiKey | None]] = {}

    def cached(self, text: str) -> tuple[bool, ApiKey | None]:
        """Whether the answer is known without the store, and the key if it is good."""
        found = _KEY.fullmatch(text)
        if found is None:
            return True, None
        with self._lock:
            entry = self._cached.get(found["id"])
        if entry is None or entry[0] < self._clock():
            return False, None
        return True, _matching(entry[1], found["secret"])

    def verify(self, text: str) -> ApiKey | None:
        """The key, or None for one that is unknown, expired, revoked or no key at all.

        Raises ``StoreError`` where the store does not answer.
        """
        is_known, key = self.cached(text)
        if is_known:
            return key
        found = _KEY.fullmatch(text)
        assert found is not None
        stored = self._keys.find(found["id"])
        with self._lock:
            if len(self._cached) >= _MAX_CACHED:
                self._cached.clear()
            self._cached[found["id"]] = (self._clock() + CACHE_SECONDS, stored)
        return _matching(stored, found["secret"])


def _matching(stored: ApiKey | None, secret: str) -> ApiKey | None:
    given = hashlib.sha256(secret.encode()).hexdigest()
    # As much work for an id that nobody has.
    is_same = hmac.compare_digest(given, stored.sha256 if stored else _NOBODY)
    if stored is None or not is_same or not stored.is_live(datetime.now(UTC)):
        return None
    return stored


def _require_scopes(scopes: Sequence[str]) -> None:
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise SettingsError(
            f"keys: the scopes are {', '.join(scopes) or 'empty'}; expected some of "
            f"{', '.join(SCOPES)}. Correct --scope."
        )


def _path(key_id: str) -> str:
    return f"{_FOLDER}/{key_id}.json"


def _written(key: ApiKey) -> bytes:
    return json.dumps(asdict(key), indent=1, sort_keys=True).encode()


def _read(content: bytes) -> ApiKey:
    try:
        values: dict[str, Any] = json.loads(content)
        return ApiKey(**{**values, "scopes": tuple(values["scopes"])})
    except (ValueError, TypeError, KeyError):
        raise StoreError(
            "keys: an object of the key store is damaged; expected what 'training-assets keys' "
            "writes. Remove it, and make a new key."
        ) from None
