"""The same values by key: features of users and items for whoever answers requests.

    published day ──load──> a version nobody reads ──pointer──> what readers see ──rollback──> ...

A version is one published day, whole. Readers look up the pointer, then read one version only; an
older day never replaces a newer one, and a load that fails leaves what was there.

    with open_store("sqlite:data/online") as store:
        [answer] = store.users([17])
        answer.state, answer.dt, answer.values["total_purchases"]

May import lake, settings, errors and what is below them; Redis and DynamoDB are imported when they
are opened. No engine, no Dagster. Begin with ``store.py``, then one of the backends.
"""

from training_assets.online.answers import (
    EXPIRED,
    FOUND,
    NOT_FOUND,
    STALE,
    TABLES,
    Answer,
    Loaded,
    Version,
)
from training_assets.online.compare import compare_day
from training_assets.online.loading import load_day
from training_assets.online.opening import open_store
from training_assets.online.settings import OnlineSettings
from training_assets.online.store import OnlineStore

__all__ = [
    "EXPIRED",
    "FOUND",
    "NOT_FOUND",
    "STALE",
    "TABLES",
    "Answer",
    "Loaded",
    "OnlineSettings",
    "OnlineStore",
    "Version",
    "compare_day",
    "load_day",
    "open_store",
]
