"""Raw input: which days there are, which files, and every row of them, valid or set aside.

May import lake, list_format, schemas and errors; what ``reader.py`` ships runs on the workers and
needs pyarrow and NumPy only. Begin with ``reader.py``, and with ``judged.py`` for any single file.
"""

from typing import TYPE_CHECKING, Any

from training_assets.sources.columns import printable
from training_assets.sources.days import SourceDays, engagement_of, files_of_days, source_days
from training_assets.sources.declared import (
    Declarations,
    action_sources,
    declarations,
    further_sources,
)
from training_assets.sources.described import Described, describe_sources
from training_assets.sources.flat import FlatDays, flat_days
from training_assets.sources.judged import Fault, Judged, judge
from training_assets.sources.kinds import first_by_kind, kinds_taken
from training_assets.sources.listing import RawFile, by_day, fingerprint, whole_file
from training_assets.sources.reading import Dialect
from training_assets.sources.rejects import REJECTS_DDL, write_rejects

if TYPE_CHECKING:
    from training_assets.sources.reader import RawDays, find_raw_days

__all__ = [
    "REJECTS_DDL",
    "Declarations",
    "Described",
    "Dialect",
    "Fault",
    "FlatDays",
    "Judged",
    "RawDays",
    "RawFile",
    "SourceDays",
    "action_sources",
    "by_day",
    "declarations",
    "describe_sources",
    "engagement_of",
    "files_of_days",
    "find_raw_days",
    "fingerprint",
    "first_by_kind",
    "flat_days",
    "further_sources",
    "judge",
    "kinds_taken",
    "printable",
    "source_days",
    "whole_file",
    "write_rejects",
]


def __getattr__(name: str) -> Any:
    # On first use: whoever only judges files needs no engine.
    if name in ("RawDays", "find_raw_days"):
        from training_assets.sources import reader

        return getattr(reader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
