"""Keys and tokens: who is let in, who is not, and how little is said about it."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from limits.storage import MemoryStorage

from training_assets.errors import SettingsError, StoreError
from training_assets.lake import LocalStore
from training_assets.service.access import Access, Principal
from training_assets.service.keys import CACHE_SECONDS, KeyRing, KeyStore
from training_assets.service.limits import BYTES, REQUESTS, ROWS, Limits
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings
from training_assets.service.tenants import Tenants
from training_assets.service.tokens import Tokens, require_keys


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(LocalStore(tmp_path / "control"))


def test_key_is_kept_as_its_hash_only(keys: KeyStore, tmp_path: Path) -> None:
    key, text = keys.create("web", "acme", ["upload", "read"])
    secret = text.split("_", 2)[2]
    kept = (tmp_path / "control" / "keys" / f"{key.id}.json").read_text()
    assert hashlib.sha256(secret.encode()).hexdigest() in kept
    assert secret not in kept
    assert secret not in repr(key)
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    found = KeyRing(LocalStore(tmp_path / "control")).verify(text)
    assert found == key


@pytest.mark.parametrize(
    "changed",
    [
        lambda t: t[:-1],
        lambda t: t + "A",
        lambda t: t + "\n",
        lambda t: t[:12] + ("A" if t[12] != "A" else "B") + t[13:],
        lambda t: "ta_00000000_" + t[12:],
        lambda t: t.upper(),
        lambda t: t.replace("ta_", "ta__"),
        lambda t: "ta_../../x_" + t[12:],
        lambda t: "",
    ],
)
def test_changed_keys_open_nothing(keys: KeyStore, tmp_path: Path, changed: Any) -> None:
    _, text = keys.create("web", "acme", ["upload"])
    ring = KeyRing(LocalStore(tmp_path / "control"))
    assert ring.verify(text) is not None
    assert ring.verify(changed(text)) is None


def test_expired_key_opens_nothing(keys: KeyStore, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    _, late = keys.create("a", "acme", ["read"], now - timedelta(seconds=1))
    _, good = keys.create("b", "acme", ["read"], now + timedelta(hours=1))
    ring = KeyRing(LocalStore(tmp_path / "control"))
    assert ring.verify(late) is None
    assert ring.verify(good) is not None


def test_revoked_key_opens_nothing_within_thirty_seconds(keys: KeyStore, tmp_path: Path) -> None:
    now = [0.0]
    ring = KeyRing(LocalStore(tmp_path / "control"), lambda: now[0])
    key, text = keys.create("a", "acme", ["read"])
    assert ring.verify(text) is not None
    keys.revoke(key.id)
    now[0] = 30.0
    assert CACHE_SECONDS <= 30
    assert ring.verify(text) is None
    revoked = keys.get(key.id).revoked_at
    assert keys.revoke(key.id).revoked_at == revoked


def test_two_keys_of_a_name_live_at_a_time(keys: KeyStore, tmp_path: Path) -> None:
    first, old = keys.create("a", "acme", ["read"])
    second, new = keys.rotate(first.id)
    ring = KeyRing(LocalStore(tmp_path / "control"))
    assert ring.verify(old) is not None
    assert ring.verify(new) is not None
    assert (second.tenant, second.scopes) == ("acme", ("read",))
    with pytest.raises(SettingsError, match="expected at most 2"):
        keys.rotate(first.id)
    keys.revoke(first.id)
    keys.rotate(second.id)


@pytest.mark.parametrize(
    ("tenant", "scopes", "message"),
    [
        ("acme", ["root"], "the scopes are root; expected some of upload"),
        ("acme", [], "the scopes are empty"),
        ("../x", ["read"], "no name of a tenant"),
        ("acme\n", ["read"], "no name of a tenant"),
        ("_control", ["read"], "no name of a tenant"),
        ("a" * 64, ["read"], "no name of a tenant"),
    ],
)
def test_keys_of_no_use_are_not_made(
    keys: KeyStore, tenant: str, scopes: list[str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        keys.create("x", tenant, scopes)
    assert keys.all() == []


def test_damaged_key_is_an_error_and_opens_nothing(keys: KeyStore, tmp_path: Path) -> None:
    key, text = keys.create("a", "acme", ["read"])
    (tmp_path / "control" / "keys" / f"{key.id}.json").write_text("{}")
    with pytest.raises(StoreError, match="damaged"):
        KeyRing(LocalStore(tmp_path / "control")).verify(text)


# Tokens.


RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(65537, 2048)
PUBLIC_PEM = RSA.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


@pytest.fixture
def token_settings(tmp_path: Path) -> ServiceSettings:
    rsa_key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key()))
    ec_key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key()))
    keys = [{**rsa_key, "kid": "r", "use": "sig"}, {**ec_key, "kid": "e"}]
    # A shared secret in the set is none of the keys that are taken.
    keys.append({"kty": "oct", "kid": "o", "k": "c2VjcmV0", "alg": "HS256"})
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys}))
    return ServiceSettings(
        lake=str(tmp_path / "lake"),
        tenants=str(tmp_path / "tenants"),
        jwt_issuer="https://id.example",
        jwt_audience="assets",
        jwt_jwks=str(tmp_path / "jwks.json"),
    )


def claims(**changed: Any) -> dict[str, Any]:
    good = {
        "iss": "https://id.example",
        "aud": "assets",
        "sub": "me",
        "exp": time.time() + 600,
        "tenant": "acme",
        "scope": "read upload other",
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(key: Any = RSA, algorithm: str = "RS256", kid: str = "r", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={"kid": kid})


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(alg: str = "none") -> str:
    return f"{part({'alg': alg, 'kid': 'r', 'typ': 'JWT'})}.{part(claims())}."


def confused(kid: str = "r") -> str:
    """Signed with the public key as if it were a shared secret."""
    text = f"{part({'alg': 'HS256', 'kid': kid})}.{part(claims())}"
    digest = hmac.new(PUBLIC_PEM, text.encode(), "sha256").digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_good_tokens_are_taken(token_settings: ServiceSettings) -> None:
    tokens = Tokens(token_settings)
    for text in (signed(), signed(EC, "ES256", "e"), signed(scope=["read", "upload"])):
        found = tokens.verify(text)
        assert found is not None
        assert (found.subject, found.tenant, found.scopes) == ("me", "acme", ("upload", "read"))


@pytest.mark.parametrize(
    "make",
    [
        unsigned,
        lambda: unsigned("None"),
        lambda: unsigned("RS256"),
        confused,
        lambda: confused("o"),
        lambda: jwt.encode(claims(), "secret" * 8, "HS256", headers={"kid": "o"}),
        lambda: signed(OTHER),
        lambda: signed(RSA, "RS512"),
        lambda: signed(RSA, "PS256"),
        lambda: signed(RSA, "RS256", "e"),
        lambda: signed(EC, "ES256", "r"),
        lambda: signed(kid="../../etc/passwd"),
        lambda: signed(exp=time.time() - 120),
        lambda: signed(exp=None),
        lambda: signed(nbf=time.time() + 600),
        lambda: signed(iss="https://evil.example"),
        lambda: signed(aud="other"),
        lambda: signed(aud=None),
        lambda: signed(tenant=None),
        lambda: signed(tenant=["acme"]),
        lambda: signed(sub=None),
        lambda: signed()[:-4],
        lambda: signed() + "A" * 9000,
        lambda: signed().replace(".", "..", 1),
        lambda: ".".join(
            [signed().split(".")[0], part(claims(tenant="other")), signed().split(".")[2]]
        ),
        lambda: "a.b.c",
        lambda: "",
    ],
)
def test_attacks_on_tokens_open_nothing(
    token_settings: ServiceSettings, make: Callable[[], str]
) -> None:
    assert Tokens(token_settings).verify(make()) is None


def test_settings_of_tokens_are_whole(tmp_path: Path, token_settings: ServiceSettings) -> None:
    with pytest.raises(SettingsError, match="JWT_AUDIENCE, TRAINING_ASSETS_JWT_JWKS"):
        ServiceSettings(jwt_issuer="x")
    with pytest.raises(SettingsError, match="a file or an https:// URL"):
        replace(token_settings, jwt_jwks="http://id.example/keys")
    require_keys(token_settings)
    with pytest.raises(SettingsError, match="holds no key that is taken"):
        require_keys(replace(token_settings, jwt_jwks=str(tmp_path / "none")))


# Access.


def principal(access: Access, **headers: str) -> Principal:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(access.principal(named))


def kind_of(access: Access, **headers: str) -> str:
    with pytest.raises(Problem) as refused:
        principal(access, **headers)
    return refused.value.kind


def test_principal_is_of_its_tenant_only(token_settings: ServiceSettings) -> None:
    tenants = Tenants(token_settings)
    access = Access(token_settings, tenants)
    _, text = KeyStore(tenants.control).create("a", "acme", ["read"])
    bearer = f"Bearer {text}"
    assert principal(access, authorization=bearer).tenant == "acme"
    assert principal(access, authorization=bearer, x_tenant_id="acme").tenant == "acme"
    assert principal(access, x_api_key=text).tenant == "acme"
    assert principal(access, authorization=f"Bearer {signed()}").id == "jwt:me"
    with pytest.raises(Problem) as of_other:
        principal(access, authorization=bearer, x_tenant_id="other")
    with pytest.raises(Problem) as of_none:
        principal(access, authorization=bearer, x_tenant_id="no-such")
    assert (of_other.value.status, of_other.value.body) == (403, of_none.value.body)
    assert kind_of(access, authorization=f"Bearer {signed(tenant='../x')}") == "forbidden"
    for headers in ({}, {"authorization": text}, {"authorization": f"Basic {text}"}):
        assert kind_of(access, **headers) == "unauthenticated"


def test_scopes_are_kept_apart() -> None:
    reader = Principal("x", "acme", frozenset({"read"}))
    reader.require("read")
    Principal("x", "acme", frozenset({"admin"})).require("upload")
    with pytest.raises(Problem, match="lacks the scope 'upload'"):
        reader.require("upload")


def test_access_without_keys_is_for_this_machine_only() -> None:
    with pytest.raises(SettingsError, match="expected a loopback address"):
        ServiceSettings(auth="off", host="0.0.0.0")
    assert ServiceSettings(auth="off", host="::1").auth == "off"


def test_secrets_are_not_shown() -> None:
    settings = ServiceSettings.from_env(
        {
            "TRAINING_ASSETS_KAFKA_SASL_PASSWORD": "hush",
            "TRAINING_ASSETS_SERVICE_METRICS_TOKEN": "quiet",
            "TRAINING_ASSETS_KAFKA_PREFIX": "shop.",
        }
    )
    assert settings.kafka_options == {"sasl.password": "hush"}
    assert settings.kafka_prefix == "shop."
    assert "hush" not in repr(settings)
    assert "quiet" not in repr(settings)


# Limits.


def test_limits_are_of_tenant_and_key() -> None:
    limits = Limits(ServiceSettings(requests_per_minute=3, rows_per_minute=10))
    one = Principal("k1", "acme", frozenset(), {"requests": 2})
    two = Principal("k2", "acme", frozenset())
    other = Principal("k1", "other", frozenset())
    limits.take(one, REQUESTS)
    limits.take(one, REQUESTS)
    with pytest.raises(Problem) as refused:
        limits.take(one, REQUESTS)
    assert refused.value.kind == "limited"
    assert 0 < int(refused.value.headers["Retry-After"]) <= 61
    limits.take(two, REQUESTS)
    with pytest.raises(Problem, match="More than 3 requests"):
        limits.take(two, REQUESTS)
    limits.take(other, REQUESTS)
    with pytest.raises(Problem) as never:
        limits.take(two, ROWS, 11)
    assert never.value.kind == "too_large"
    limits.take(two, ROWS, 9)
    assert limits.left(two, ROWS) == 1
    with pytest.raises(Problem, match="More than 10 rows"):
        limits.take(two, ROWS, 2)
    assert limits.left(two, ROWS) == 1
    assert limits.left(two, BYTES) == ServiceSettings().bytes_per_minute


def test_uploads_at_once_are_limited_by_tenant() -> None:
    limits = Limits(ServiceSettings(uploads_at_once=1))
    one, other = (Principal("k", tenant, frozenset()) for tenant in ("acme", "other"))
    refused = pytest.raises(Problem, match="1 uploads of the tenant")
    with limits.upload(one), limits.upload(other), refused:
        limits.upload(one).__enter__()
    with limits.upload(one):
        pass


def test_threads_that_count_at_once_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library keeps a timer, which two threads can start twice: then one of them fails."""

    def timer(storage: MemoryStorage) -> threading.Timer:
        # So that one thread comes between two steps of another.
        time.sleep(0.001)
        found: threading.Timer = storage.kept
        return found

    def keep(storage: MemoryStorage, found: threading.Timer) -> None:
        storage.kept = found

    monkeypatch.setattr(MemoryStorage, "timer", property(timer, keep), raising=False)
    settings = ServiceSettings(lake="unused")
    limits, one = Limits(settings), Principal("k", "acme", frozenset())
    with ThreadPoolExecutor(4) as pool:
        # Longer than a timer runs.
        list(pool.map(lambda n: limits.take(one, ROWS), range(60)))
    assert limits.left(one, ROWS) == settings.rows_per_minute - 60
