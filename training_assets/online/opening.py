"""Which store a URL names.

sqlite:                                  a folder in the lake of the settings
sqlite:data/online, sqlite:///var/online a folder
redis://host:6379/0?prefix=shop          Redis or Valkey; rediss:// with TLS
dynamodb://table/prefix?region=eu-central-1&endpoint=http://127.0.0.1:8000
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlencode, urlsplit

from training_assets.errors import SettingsError
from training_assets.online.backend import Backend
from training_assets.online.settings import OnlineSettings
from training_assets.online.sqlite_backend import SqliteBackend
from training_assets.online.store import OnlineStore

_PREFIX: Final = "training_assets"
_WORD: Final = re.compile(r"[A-Za-z0-9._-]+")


def open_store(
    url: str | None = None,
    *,
    stale_after: timedelta | None = None,
    expires_after: timedelta | None = None,
    clock: Callable[[], datetime] | None = None,
) -> OnlineStore:
    """The store at a URL, of the environment by default; nothing is made before a load.

    Raises ``SettingsError`` for a URL that names none, and where the package for it is missing.
    """
    known = OnlineSettings.from_env()
    given: dict[str, Any] = {} if clock is None else {"clock": clock}
    return OnlineStore(
        _backend(known.url if url in (None, "", "sqlite:") else str(url)),
        stale_after=known.stale_after if stale_after is None else stale_after,
        expires_after=known.expires_after if expires_after is None else expires_after,
        **given,
    )


def _backend(url: str) -> Backend:
    scheme = url.partition(":")[0].lower()
    if scheme == "sqlite":
        return SqliteBackend(_folder(url))
    if scheme in ("redis", "rediss"):
        return _redis(urlsplit(url))
    if scheme == "dynamodb":
        return _dynamodb(urlsplit(url))
    raise SettingsError(
        "online: the URL begins with none of the schemes that are known; expected sqlite:, "
        "redis://, rediss:// or dynamodb://. Correct TRAINING_ASSETS_ONLINE."
    )


def _folder(url: str) -> str:
    path = url.partition(":")[2]
    # sqlite:///var/online and sqlite:/var/online are the same folder.
    return unquote(path[2:] if path.startswith("//") else path)


def _redis(parts: SplitResult) -> Backend:
    try:
        from training_assets.online.redis_backend import RedisBackend
    except ImportError:
        raise _not_installed("redis", "redis") from None
    options = parse_qs(parts.query)
    prefix = _word(options.pop("prefix", [_PREFIX])[0], "prefix")
    url = parts._replace(query=urlencode(options, doseq=True)).geturl()
    host = parts.netloc.rpartition("@")[2]
    shown = f"{parts.scheme}://{host}{parts.path}?prefix={prefix}"
    try:
        return RedisBackend(url, prefix=prefix, shown=shown)
    except (ValueError, TypeError) as error:
        raise SettingsError(
            f"online: {parts.scheme}://{host}{parts.path} has an option that Redis does not take "
            f"({type(error).__name__}); expected redis://host:port/number. Correct the URL."
        ) from None


def _dynamodb(parts: SplitResult) -> Backend:
    try:
        from training_assets.online.dynamodb_backend import DynamoBackend
    except ImportError:
        raise _not_installed("boto3", "dynamodb") from None
    options = parse_qs(parts.query)
    if not _WORD.fullmatch(parts.netloc):
        raise SettingsError(
            "online: the dynamodb:// URL names no table; expected dynamodb://table/prefix. "
            "Correct TRAINING_ASSETS_ONLINE."
        )
    return DynamoBackend(
        parts.netloc,
        prefix=_word(parts.path.strip("/") or _PREFIX, "prefix"),
        endpoint=options.get("endpoint", [None])[0],
        region=options.get("region", [None])[0],
    )


def _word(text: str, what: str) -> str:
    if not _WORD.fullmatch(text):
        raise SettingsError(
            f"online: the {what} is {text!r}; expected letters, digits and . _ - only. Correct it."
        )
    return text


def _not_installed(package: str, extra: str) -> SettingsError:
    return SettingsError(
        f"online: {package} is not installed; expected the extra. Run "
        f"pip install 'training-assets[{extra}]'."
    )
