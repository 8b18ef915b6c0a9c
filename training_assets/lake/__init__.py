"""What is published: day-partitioned tables under one root, and how a day gets there whole.

May import schemas, settings and errors. Begin with ``lake.py``.
"""

from training_assets.lake.lake import MANIFEST, Lake, data_files, day_range, quarantine_files
from training_assets.lake.locks import Locks
from training_assets.lake.staging import Staging, stage_days

__all__ = [
    "MANIFEST",
    "Lake",
    "Locks",
    "Staging",
    "data_files",
    "day_range",
    "quarantine_files",
    "stage_days",
]
