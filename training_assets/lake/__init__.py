"""What is published, on any store: tables of days behind one door, and how a day gets there whole.

May import list_format, schemas, settings and errors. Begin with ``lake.py`` (all tables of one
place) and ``publish.py`` (the protocol); ``docs/publishing.md`` tells it in prose.
"""

from training_assets.lake.files import (
    DataFile,
    content_of,
    manifest_path,
    new_run,
    quarantine_path,
)
from training_assets.lake.forget import forget
from training_assets.lake.lake import Lake, contiguous, day_range, days_in_words
from training_assets.lake.migrate import migrate
from training_assets.lake.publish import OTHERS, OVERTAKEN, PUBLISHED, UNCHANGED, NewDay, publish
from training_assets.lake.snapshot import Snapshot, open_snapshot
from training_assets.lake.store import Entry, LocalStore, Location, RemoteStore, Store, open_store
from training_assets.lake.versions import Removed, Version, list_versions, restore, vacuum

__all__ = [
    "OTHERS",
    "OVERTAKEN",
    "PUBLISHED",
    "UNCHANGED",
    "DataFile",
    "Entry",
    "Lake",
    "LocalStore",
    "Location",
    "NewDay",
    "RemoteStore",
    "Removed",
    "Snapshot",
    "Store",
    "Version",
    "content_of",
    "contiguous",
    "day_range",
    "days_in_words",
    "forget",
    "list_versions",
    "manifest_path",
    "migrate",
    "new_run",
    "open_snapshot",
    "open_store",
    "publish",
    "quarantine_path",
    "restore",
    "vacuum",
]
