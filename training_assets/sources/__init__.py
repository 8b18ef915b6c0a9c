"""Raw input: which files a day is read from, and every row of them, valid or set aside.

May import schemas and errors; ``columns``, ``parquet``, ``text`` and ``rows`` run on the workers
and need pyarrow and NumPy only. Begin with ``reader.py``.
"""

from training_assets.sources.columns import printable
from training_assets.sources.flat import FlatDays, flat_days
from training_assets.sources.folders import RawFile, by_day, files_of_days, raw_days
from training_assets.sources.reader import RawDays, find_raw_days, fingerprint, whole_file

__all__ = [
    "FlatDays",
    "RawDays",
    "RawFile",
    "by_day",
    "files_of_days",
    "find_raw_days",
    "fingerprint",
    "flat_days",
    "printable",
    "raw_days",
    "whole_file",
]
