"""What is published, on any store, behind one door: days, versions, and how a day gets there whole.

May import list_format, schemas, settings and errors. Begin with ``lake.py``; ``snapshot.py`` draws
what lies where, ``publish.py`` how it gets there.
"""

from training_assets.lake.lake import Lake, contiguous, day_range, days_in_words
from training_assets.lake.publish import OTHERS, OVERTAKEN, PUBLISHED, UNCHANGED, NewDay, publish
from training_assets.lake.snapshot import DataFile, Snapshot, content_of, quarantine_path
from training_assets.lake.store import Entry, Store, open_store

__all__ = [
    "OTHERS",
    "OVERTAKEN",
    "PUBLISHED",
    "UNCHANGED",
    "DataFile",
    "Entry",
    "Lake",
    "NewDay",
    "Snapshot",
    "Store",
    "content_of",
    "contiguous",
    "day_range",
    "days_in_words",
    "open_store",
    "publish",
    "quarantine_path",
]
