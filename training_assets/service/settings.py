"""The numbers and places of the service, each with its environment variable.

All variables begin with TRAINING_ASSETS_.

| variable                    | default    | meaning                                               |
|-----------------------------|------------|-------------------------------------------------------|
| TENANTS                     |            | path or URL below which each tenant has a lake; empty:|
|                             |            | one tenant, ``default``, whose lake is LAKE           |
| AUTH                        | keys       | "off" takes every call, on a loopback address only    |
| DAY_CLOSES                  | 6h         | after its end, until when what arrives counts to a day|
| SERVICE_HOST                | 127.0.0.1  | address to listen on                                  |
| SERVICE_PORT                | 8002       | port                                                  |
| SERVICE_LOGS                | json       | or "console"                                          |
| SERVICE_SPOOL               |            | folder of bodies being read; empty: the system's      |
| SERVICE_MAX_PACKED_BYTES    | 67108864   | of a body as it is sent                               |
| SERVICE_MAX_BYTES           | 268435456  | of a body unpacked                                    |
| SERVICE_MAX_RATIO           | 200        | unpacked to packed, above 1 MiB                       |
| SERVICE_MAX_ROWS            | 1000000    | of an upload                                          |
| SERVICE_MAX_COLUMNS         | 100        | of a header or record                                 |
| SERVICE_MAX_LINE_BYTES      | 1048576    | of a line or a record                                 |
| SERVICE_MAX_NESTING         | 20         | of JSON                                               |
| SERVICE_MAX_DAYS            | 1000       | that one upload may touch                             |
| SERVICE_MAX_EVENT_BYTES     | 32768      | of one event                                          |
| SERVICE_MAX_EVENTS          | 10000      | of one request                                        |
| SERVICE_REQUESTS_PER_MINUTE | 300000     | of a tenant                                           |
| SERVICE_ROWS_PER_MINUTE     | 60000000   | of a tenant                                           |
| SERVICE_BYTES_PER_MINUTE    | 4294967296 | of a tenant                                           |
| SERVICE_UPLOADS_AT_ONCE     | 8          | of a tenant                                           |
| SERVICE_QUEUE               | 16         | uploads that wait for a thread; more get 503          |
| SERVICE_BODY_SECONDS        | 30         | without a byte, until a slow client is sent away      |
| SERVICE_SWEEP_SECONDS       | 5          | between two looks at the outbox                       |
| SERVICE_STOP_SECONDS        | 25         | for running requests to end at a stop                 |
| SERVICE_METRICS_TENANTS     | 100        | that metrics name; the others are "other"             |
| SERVICE_METRICS_TOKEN       |            | opens /metrics from elsewhere than this machine       |
| JWT_ISSUER                  |            | set: bearer tokens of this issuer are taken too       |
| JWT_AUDIENCE                |            | of those tokens                                       |
| JWT_JWKS                    |            | file or https:// URL of the issuer's public keys      |
| JWT_TENANT_CLAIM            | tenant     | claim that names the tenant                           |
| JWT_SCOPE_CLAIM             | scope      | claim that lists scopes                               |
| KAFKA                       |            | bootstrap servers; empty: no events                   |
| KAFKA_PREFIX                |            | before the name of every topic                        |
| KAFKA_…                     |            | any further option: KAFKA_SASL_USERNAME is            |
|                             |            | sasl.username                                         |
| DAGSTER                     |            | URL of the Dagster webserver for POST /api/runs       |
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cached_property
from ipaddress import ip_address
from typing import Any, Final

from training_assets.errors import SettingsError
from training_assets.locations import canonical

_PREFIX: Final = "TRAINING_ASSETS_"
_SERVICE: Final = "SERVICE_"
_OWN_NAMES: Final = {
    "lake": "LAKE",
    "tenants": "TENANTS",
    "auth": "AUTH",
    "day_closes": "DAY_CLOSES",
    "kafka": "KAFKA",
    "kafka_prefix": "KAFKA_PREFIX",
    "dagster": "DAGSTER",
    "jwt_issuer": "JWT_ISSUER",
    "jwt_audience": "JWT_AUDIENCE",
    "jwt_jwks": "JWT_JWKS",
    "jwt_tenant_claim": "JWT_TENANT_CLAIM",
    "jwt_scope_claim": "JWT_SCOPE_CLAIM",
}
_KAFKA_OPTION: Final = re.compile(rf"{_PREFIX}KAFKA_(?!PREFIX$)(?P<name>[A-Z0-9_]+)")
# The only one whose name is not of words with dots.
_OPTION_NAMES: Final = {"LOG_LEVEL": "log_level"}
_TOPIC_PREFIX: Final = re.compile(r"[A-Za-z0-9._-]{0,100}")
_DURATION: Final = re.compile(r"(?P<number>\d{1,6})(?P<unit>[smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# What may be 0.
_FROM_ZERO: Final = {"queue", "metrics_tenants"}


@dataclass(frozen=True)
class ServiceSettings:
    """What the service does; sizes in bytes, waits in seconds. Raises ``SettingsError``."""

    lake: str = "data/lake"
    tenants: str = ""
    auth: str = "keys"
    day_closes: timedelta = timedelta(hours=6)
    host: str = "127.0.0.1"
    port: int = 8002
    logs: str = "json"
    spool: str = ""
    max_packed_bytes: int = 64 * 2**20
    max_bytes: int = 256 * 2**20
    max_ratio: int = 200
    max_rows: int = 1_000_000
    max_columns: int = 100
    max_line_bytes: int = 2**20
    max_nesting: int = 20
    max_days: int = 1000
    max_event_bytes: int = 32 * 2**10
    max_events: int = 10_000
    requests_per_minute: int = 300_000
    rows_per_minute: int = 60_000_000
    bytes_per_minute: int = 4 * 2**30
    uploads_at_once: int = 8
    queue: int = 16
    body_seconds: float = 30
    sweep_seconds: float = 5
    stop_seconds: float = 25
    metrics_tenants: int = 100
    metrics_token: str = field(default="", repr=False)
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_jwks: str = ""
    jwt_tenant_claim: str = "tenant"
    jwt_scope_claim: str = "scope"
    kafka: str = ""
    kafka_prefix: str = ""
    # May hold passwords.
    kafka_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    dagster: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lake", canonical(self.lake, "service"))
        if self.tenants:
            object.__setattr__(self, "tenants", canonical(self.tenants, "service"))
        for known in fields(self):
            value = getattr(self, known.name)
            least = 0 if known.name in _FROM_ZERO else 1
            if known.type is int and value < least and known.name != "port":
                _refuse(known.name, value, f"at least {least}")
            if known.type is float and value <= 0:
                _refuse(known.name, value, "more than 0")
        if not 0 <= self.port < 2**16:
            _refuse("port", self.port, "a port from 0 to 65535")
        _require_one_of("auth", self.auth, ("keys", "off"))
        _require_one_of("logs", self.logs, ("json", "console"))
        if not _TOPIC_PREFIX.fullmatch(self.kafka_prefix):
            _refuse("kafka_prefix", self.kafka_prefix, "letters, digits and . _ -")
        if self.auth == "off" and not is_loopback(self.host):
            raise SettingsError(
                f"service: {_PREFIX}AUTH is off and the address is {self.host}; expected a "
                "loopback address, since everybody who reaches it may do everything. Listen on "
                "127.0.0.1, or take the setting away and make a key with 'training-assets keys "
                "create'."
            )
        self._require_whole_jwt()

    def _require_whole_jwt(self) -> None:
        given = {name: getattr(self, name) for name in ("jwt_issuer", "jwt_audience", "jwt_jwks")}
        if any(given.values()) and not all(given.values()):
            missing = ", ".join(_variable(name) for name, value in given.items() if not value)
            raise SettingsError(
                f"service: tokens are set up without {missing}; expected issuer, audience and "
                "public keys together. Set all three, or none."
            )
        if self.jwt_jwks.startswith("http://"):
            _refuse("jwt_jwks", self.jwt_jwks, "a file or an https:// URL")

    @property
    def workers(self) -> int:
        """Threads that judge and store: two a core."""
        return 2 * self.threads

    @cached_property
    def threads(self) -> int:
        """Threads that read the blocks of one upload: one a core."""
        return os.cpu_count() or 1

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **given: Any) -> "ServiceSettings":
        """Settings from environment variables, then what is ``given`` and not None."""
        values = os.environ if env is None else env
        read: dict[str, Any] = {}
        for known in fields(cls):
            text = values.get(_variable(known.name), "").strip()
            if text and known.name != "kafka_options":
                read[known.name] = _parse(known.name, known.type, text)
        read["kafka_options"] = {
            _OPTION_NAMES.get(found["name"], found["name"].lower().replace("_", ".")): text
            for name, text in values.items()
            if (found := _KAFKA_OPTION.fullmatch(name)) and text
        }
        read.update({name: value for name, value in given.items() if value is not None})
        return cls(**read)


def variables() -> dict[str, str]:
    """Environment variable of every setting, by field."""
    names = (known.name for known in fields(ServiceSettings))
    return {name: _variable(name) for name in names if name != "kafka_options"}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _variable(name: str) -> str:
    return _PREFIX + _OWN_NAMES.get(name, _SERVICE + name.upper())


def _parse(name: str, kind: Any, text: str) -> Any:
    if kind is timedelta:
        found = _DURATION.fullmatch(text)
        if found is None:
            raise _refusal(name, text, "a number and s, m, h or d, such as 6h")
        return timedelta(**{_UNITS[found["unit"]]: int(found["number"])})
    try:
        return kind(text) if kind in (int, float) else text
    except ValueError:
        raise SettingsError(
            f"service: {_variable(name)} is {text!r}; expected a number. Correct it."
        ) from None


def _require_one_of(name: str, value: str, expected: tuple[str, ...]) -> None:
    if value not in expected:
        _refuse(name, value, " or ".join(map(repr, expected)))


def _refuse(name: str, value: object, expected: str) -> None:
    raise _refusal(name, value, expected)


def _refusal(name: str, value: object, expected: str) -> SettingsError:
    return SettingsError(
        f"service: {name} is {value!r}; expected {expected}. Set {_variable(name)}."
    )
