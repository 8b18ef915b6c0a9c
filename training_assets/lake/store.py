"""One door to where data lies: a local folder or an object store, behind the same few calls.

    open_store("data/lake"), open_store("s3://shop/lake")

Paths are relative to the store, with ``/`` between names. A put is seen whole or not at all, and
outlives a power failure once it returns. Credentials come from the environment or the machine's
role, never from a URL, so that none can reach a log, an error or a ``repr``.
"""

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from training_assets.errors import SettingsError
from training_assets.lake.base import Entry, Store
from training_assets.lake.local import LocalStore
from training_assets.lake.remote import RemoteStore

__all__ = ["Entry", "LocalStore", "Location", "RemoteStore", "Store", "open_store"]

Location = str | os.PathLike[str] | Store

_SCHEMES: Final = ("s3", "s3a", "gs", "az", "abfs", "abfss")
_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
# The libraries that open a URL read other characters differently.
_UNUSABLE: Final = re.compile(r"[^A-Za-z0-9._~/=+,;:@*!$&'()-]")


def open_store(location: Location) -> Store:
    """The store at a local path (``~`` is expanded) or at a URL ``s3://``, ``gs://``, ``az://``.

    Raises ``SettingsError`` for another scheme, and for a URL that carries a secret.
    """
    if isinstance(location, Store):
        return location
    text = os.fspath(location)
    if not text.strip():
        raise SettingsError(
            "store: the location is empty; expected a local path or a URL such as s3://shop/lake. "
            "Set TRAINING_ASSETS_LAKE."
        )
    found = _URL.fullmatch(text)
    if found is None:
        return _local(text)
    scheme = found["scheme"].lower()
    if scheme == "file":
        return LocalStore(Path(unquote(urlsplit(text).path)))
    if scheme not in _SCHEMES:
        raise SettingsError(
            f"store: the scheme {scheme}:// is unknown; expected a local path or one of "
            f"{', '.join(f'{name}://' for name in _SCHEMES)}. Correct TRAINING_ASSETS_LAKE."
        )
    _require_plain(scheme, found["rest"])
    return RemoteStore(f"{scheme}://{found['rest'].rstrip('/')}")


def _local(text: str) -> LocalStore:
    scheme, colon, _ = text.partition(":")
    if colon and scheme.lower() in _SCHEMES:
        raise SettingsError(
            f"store: {scheme}: is not followed by //; expected {scheme.lower()}://bucket/path, or "
            f"./{scheme}: for a local folder. Correct TRAINING_ASSETS_LAKE."
        )
    try:
        return LocalStore(Path(text).expanduser())
    except RuntimeError as error:
        raise SettingsError(
            f"store: {text} cannot be expanded ({error}); expected a folder of a user of this "
            "machine. Write out the path."
        ) from None


def _require_plain(scheme: str, rest: str) -> None:
    """Does not show the URL in an error: what is wrong with it may be a secret."""
    bucket, _, path = rest.partition("/")
    login, at, _ = bucket.rpartition("@")
    # abfss://container@account names a container there.
    if (at and (not scheme.startswith("abfs") or ":" in login)) or "?" in rest:
        raise SettingsError(
            f"store: the {scheme}:// URL carries credentials or options; expected only bucket and "
            "path. Put credentials into the environment, as the store's own tools read them."
        )
    if not bucket:
        raise SettingsError(
            f"store: the {scheme}:// URL names no bucket; expected {scheme}://bucket/path. "
            "Name the bucket."
        )
    if found := _UNUSABLE.search(rest):
        raise SettingsError(
            f"store: the {scheme}:// URL holds the character {found.group()!r}; expected letters, "
            "digits and - _ . / =. Rename the path."
        )
    if any(part in ("", ".", "..") for part in path.rstrip("/").split("/")) and path.rstrip("/"):
        raise SettingsError(
            f"store: the {scheme}:// URL has an empty or dotted name in its path; expected "
            f"{scheme}://bucket/path. Correct the path."
        )
