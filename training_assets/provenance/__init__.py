"""What a day was built from, which days are out of date, and whom a late day touches.

May import transforms, sources, lake and what is below them. Begin with ``declared.py``, then
``provenance.py``.
"""

from training_assets.provenance.declared import BuiltFrom, Upstream
from training_assets.provenance.outdated import Outdated, find_outdated, outdated_day
from training_assets.provenance.provenance import Inputs, Provenance, hash_of, window_days

__all__ = [
    "BuiltFrom",
    "Inputs",
    "Outdated",
    "Provenance",
    "Upstream",
    "find_outdated",
    "hash_of",
    "outdated_day",
    "window_days",
]
