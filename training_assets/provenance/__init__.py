"""What a day was built from, which days are out of date, and whom a late day touches.

May import transforms, sources, lake and what is below them. Begin with ``provenance.py``.
"""

from training_assets.provenance.affected_customers import changed_customers
from training_assets.provenance.outdated import (
    Outdated,
    contiguous,
    days_in_words,
    find_outdated,
    outdated_day,
    raw_action_days,
)
from training_assets.provenance.provenance import (
    Inputs,
    Provenance,
    content_hash,
    hash_of,
    window_days,
)
from training_assets.provenance.upstream import Upstream

__all__ = [
    "Inputs",
    "Outdated",
    "Provenance",
    "Upstream",
    "changed_customers",
    "content_hash",
    "contiguous",
    "days_in_words",
    "find_outdated",
    "hash_of",
    "outdated_day",
    "raw_action_days",
    "window_days",
]
