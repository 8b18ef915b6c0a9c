"""What a day was built from, which days are out of date, and whom a late day touches.

May import transforms, sources, lake and what is below them. Begin with ``declared.py``, then
``provenance.py``.
"""

from training_assets.provenance.declared import BuiltFrom, Upstream
from training_assets.provenance.outdated import (
    Outdated,
    OutdatedDay,
    find_outdated,
    looking_back,
    outdated_day,
    readers_of,
)
from training_assets.provenance.provenance import (
    Inputs,
    Provenance,
    days_read,
    hash_of,
    window_days,
)

__all__ = [
    "BuiltFrom",
    "Inputs",
    "Outdated",
    "OutdatedDay",
    "Provenance",
    "Upstream",
    "days_read",
    "find_outdated",
    "hash_of",
    "looking_back",
    "outdated_day",
    "readers_of",
    "window_days",
]
