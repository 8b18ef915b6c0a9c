"""Where data lies, as a person writes it: a local path, or the URL of a store.

One rule for the settings, which name the lake, and for ``lake.open_store``, which opens anything.
"""

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from training_assets.errors import SettingsError

SCHEMES: Final = ("s3", "gs", "az", "abfs", "abfss")
# How Hadoop calls it; what reads and writes here does not know that name.
_ALIASES: Final = {"s3a": "s3"}
_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
# The libraries that open a URL read other characters differently.
_UNUSABLE: Final = re.compile(r"[^A-Za-z0-9._~/=+,;:@*!$&'()-]")


def canonical(location: str | os.PathLike[str], where: str = "store") -> str:
    """An absolute local path (``~`` is expanded), or the URL of a store without a slash at its end.

    Raises ``SettingsError`` for a scheme that is not known, for a URL without a bucket, and for one
    that carries a secret, which it does not repeat. ``where`` begins the message.
    """
    text = os.fspath(location)
    if not text.strip():
        raise SettingsError(
            f"{where}: the location is empty; expected a local path or a URL such as "
            "s3://shop/lake. Set TRAINING_ASSETS_LAKE."
        )
    found = _URL.fullmatch(text)
    if found is None:
        return _local(text, where)
    scheme = found["scheme"].lower()
    scheme = _ALIASES.get(scheme, scheme)
    if scheme == "file":
        return os.path.abspath(unquote(urlsplit(text).path))
    if scheme not in SCHEMES:
        raise SettingsError(
            f"{where}: the scheme {scheme}:// is unknown; expected a local path or one of "
            f"{', '.join(f'{name}://' for name in SCHEMES)}. Correct TRAINING_ASSETS_LAKE."
        )
    _require_plain(scheme, found["rest"], where)
    return f"{scheme}://{found['rest'].rstrip('/')}"


def _local(text: str, where: str) -> str:
    scheme, colon, _ = text.partition(":")
    if colon and scheme.lower() in SCHEMES:
        raise SettingsError(
            f"{where}: {scheme}: is not followed by //; expected {scheme.lower()}://bucket/path, "
            f"or ./{scheme}: for a local folder. Correct TRAINING_ASSETS_LAKE."
        )
    try:
        return os.path.abspath(Path(text).expanduser())
    except RuntimeError as error:
        raise SettingsError(
            f"{where}: {text} begins with a home that is not known ({error}); expected ~/ or the "
            "name of a user. Write out the path."
        ) from None


def _require_plain(scheme: str, rest: str, where: str) -> None:
    """Does not show the URL in an error: what is wrong with it may be a secret."""
    bucket, _, path = rest.partition("/")
    login, at, _ = bucket.rpartition("@")
    # abfss://container@account names a container there.
    if (at and (not scheme.startswith("abfs") or ":" in login)) or "?" in rest:
        raise SettingsError(
            f"{where}: the {scheme}:// URL carries credentials or options; expected only bucket "
            "and path. Put credentials into the environment, as the store's own tools read them."
        )
    if not bucket:
        raise SettingsError(
            f"{where}: the {scheme}:// URL names no bucket; expected {scheme}://bucket/path. "
            "Name the bucket."
        )
    if found := _UNUSABLE.search(rest):
        raise SettingsError(
            f"{where}: the {scheme}:// URL holds the character {found.group()!r}; expected "
            "letters, digits and - _ . / =. Rename the path."
        )
    if any(part in ("", ".", "..") for part in path.rstrip("/").split("/")) and path.rstrip("/"):
        raise SettingsError(
            f"{where}: the {scheme}:// URL has an empty or dotted name in its path; expected "
            f"{scheme}://bucket/path. Correct the path."
        )
