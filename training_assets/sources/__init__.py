"""Raw input: which days there are, which files, and every row of them, valid or set aside.

May import lake, list_format, schemas and errors; ``opening``, ``columns``, ``parquet``, ``text``,
``rows`` and ``rejects`` run on the workers and need pyarrow and NumPy only. Begin with
``reader.py``.
"""

from training_assets.sources.columns import printable
from training_assets.sources.days import SourceDays, files_of_days, source_days
from training_assets.sources.flat import FlatDays, flat_days
from training_assets.sources.listing import RawFile, by_day, fingerprint, whole_file
from training_assets.sources.reader import RawDays, find_raw_days
from training_assets.sources.rejects import REJECTS_DDL, write_rejects

__all__ = [
    "REJECTS_DDL",
    "FlatDays",
    "RawDays",
    "RawFile",
    "SourceDays",
    "by_day",
    "files_of_days",
    "find_raw_days",
    "fingerprint",
    "flat_days",
    "printable",
    "source_days",
    "whole_file",
    "write_rejects",
]
