"""One door to where data lies: a local folder or an object store, behind the same few calls.

    open_store("data/lake"), open_store("s3://shop/lake")

Paths are relative to the store, with ``/`` between names. A put is seen whole or not at all, and
outlives a power failure once it returns. Credentials come from the environment or the machine's
role, never from a URL, so that none can reach a log, an error or a ``repr``.
"""

import os
from pathlib import Path

from training_assets.lake.base import Entry, Store
from training_assets.lake.local import LocalStore
from training_assets.lake.remote import RemoteStore
from training_assets.locations import canonical

__all__ = ["Entry", "LocalStore", "Location", "RemoteStore", "Store", "open_store"]

Location = str | os.PathLike[str] | Store


def open_store(location: Location) -> Store:
    """The store at a local path (``~`` is expanded) or at a URL ``s3://``, ``gs://``, ``az://``.

    Raises ``SettingsError`` for another scheme, and for a URL that carries a secret.
    """
    if isinstance(location, Store):
        return location
    place = canonical(location)
    return RemoteStore(place) if "://" in place else LocalStore(Path(place))
