"""Bearer tokens of an identity provider, checked with its public keys only.

Algorithms are pinned to two with public keys, so that neither ``alg: none`` nor a token signed with
a public key as if it were a shared secret is ever taken; where to find keys is a setting, never
what a token says of itself.
"""

import json
import re
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt

from training_assets.errors import SettingsError
from training_assets.service.keys import SCOPES
from training_assets.service.settings import ServiceSettings

ALGORITHMS: Final = ("RS256", "ES256")
_LEEWAY_SECONDS: Final = 60
_CACHE_SECONDS: Final = 300
_FETCH_SECONDS: Final = 5
_MAX_JWKS_BYTES: Final = 2**20
_MAX_TOKEN_CHARACTERS: Final = 8192
_SUBJECT: Final = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True)
class Claims:
    """Of a token that is good."""

    subject: str
    tenant: str
    scopes: tuple[str, ...]


class Tokens:
    """Checks tokens of one issuer."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._keys: dict[str, Any] = {}
        self._read_at = float("-inf")

    @property
    def is_on(self) -> bool:
        return bool(self._settings.jwt_issuer)

    def verify(self, token: str) -> Claims | None:
        """What the token says, or None for one that is not to be trusted."""
        if not self.is_on or len(token) > _MAX_TOKEN_CHARACTERS:
            return None
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(str(header.get("kid", "")), str(header.get("alg", "")))
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],
                audience=self._settings.jwt_audience,
                issuer=self._settings.jwt_issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None
        return self._claims(claims)

    def _claims(self, claims: dict[str, Any]) -> Claims | None:
        tenant = claims.get(self._settings.jwt_tenant_claim)
        given = claims.get(self._settings.jwt_scope_claim, "")
        named = given.split() if isinstance(given, str) else given
        if not isinstance(tenant, str) or not isinstance(named, list):
            return None
        scopes = tuple(scope for scope in SCOPES if scope in named)
        subject = _SUBJECT.sub("?", str(claims["sub"]))[:100]
        return Claims(subject, tenant, scopes)

    def _key(self, kid: str, algorithm: str) -> Any | None:
        if algorithm not in ALGORITHMS:
            return None
        with self._lock:
            age = time.monotonic() - self._read_at
            # A new key of the issuer is looked for, but not as often as somebody invents names.
            if age > _CACHE_SECONDS or (kid not in self._keys and age > _FETCH_SECONDS):
                self._keys = _read_keys(self._settings.jwt_jwks, self._keys)
                self._read_at = time.monotonic()
            key = self._keys.get(kid)
        return key if key is not None and key.algorithm_name == algorithm else None


def require_keys(settings: ServiceSettings) -> None:
    """Raises ``SettingsError`` where tokens are set up and no public key can be read."""
    if settings.jwt_issuer and not _read_keys(settings.jwt_jwks, {}):
        raise SettingsError(
            "service: TRAINING_ASSETS_JWT_JWKS holds no key that is taken; expected a JWK set with "
            f"public keys for {' or '.join(ALGORITHMS)}, each with kid. Correct file or URL."
        )


def _read_keys(place: str, before: dict[str, Any]) -> dict[str, Any]:
    """Public keys by id; those of ``before`` where the place does not answer."""
    try:
        found = json.loads(_content(place))["keys"]
        taken = {}
        for one in found:
            is_public = one.get("kty") in ("RSA", "EC") and one.get("use", "sig") == "sig"
            algorithm = one.get("alg") or {"RSA": "RS256", "EC": "ES256"}.get(one.get("kty"))
            if is_public and algorithm in ALGORITHMS and "d" not in one and one.get("kid"):
                taken[str(one["kid"])] = jwt.PyJWK(one, algorithm=algorithm)
        return taken
    except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError):
        return before


def _content(place: str) -> bytes:
    if not place.startswith("https://"):
        return Path(place).read_bytes()
    opener = urllib.request.build_opener(_NoRedirects)
    with opener.open(place, timeout=_FETCH_SECONDS) as answer:
        return bytes(answer.read(_MAX_JWKS_BYTES))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None
