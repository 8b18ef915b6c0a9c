"""What each published day was built from, and so which days are out of date.

A day's ``inputs`` in its manifest is a hash of the raw files (name, size, modification time), of
the content of the tables it was built from, of the settings that shape it and of the schema
version. ``content`` is a hash of its own data files. A day is out of date when its inputs would
hash differently today; a raw file that was merely touched leads to one rebuild whose content is the
same, so nothing further down is out of date.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from training_assets.errors import TrainingAssetsError
from training_assets.lake import Lake, data_files
from training_assets.raw import RawDays, find_raw_days
from training_assets.schemas import (
    ACTION_SOURCES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    SCHEMA_VERSION,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings

# Raised whenever the same inputs would give other rows.
CODE_VERSION: Final = 1


def hash_of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def content_hash(folder: Path) -> str:
    """Hash of the data files of a day folder, by name and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for file in data_files(folder):
        digest.update(file.name.encode())
        with file.open("rb") as handle:
            while block := handle.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


@dataclass
class Freshness:
    """Compares manifests with what they would say if the day were built now."""

    lake: Lake
    settings: Settings
    _raw: dict[tuple[str, date], RawDays] = field(default_factory=dict)
    _content: dict[tuple[str, date], str] = field(default_factory=dict)

    def inputs(self, table: Table, day: date) -> str:
        """The hash of what the day would be built from now; raises where raw data is missing."""
        return hash_of([SCHEMA_VERSION, CODE_VERSION, *_INPUTS[table.name](self, day)])

    def is_current(self, table: Table, day: date) -> bool:
        """Whether the day is published and was built from what is there now."""
        try:
            return bool(self.lake.manifest(table.name, day)["inputs"] == self.inputs(table, day))
        except (TrainingAssetsError, KeyError, OSError):
            return False

    def outdated(self, table: Table, days: Sequence[date]) -> list[date]:
        """Those of ``days`` that are not published or out of date."""
        return [day for day in days if not self.is_current(table, day)]

    def raw(self, table: Table, days: Sequence[date]) -> RawDays:
        """The raw files of the days, each day listed and looked at once."""
        for day in days:
            if (table.name, day) not in self._raw:
                allow = self.settings.missing_raw == "empty"
                found = find_raw_days(self.lake.root, table, [day], allow_missing=allow)
                self._raw[table.name, day] = found
        return RawDays.of([self._raw[table.name, day] for day in days])

    def fingerprint(self, table: Table, day: date) -> list[Any]:
        return [list(entry) for entry in self.raw(table, [day]).fingerprint(day)]

    def content(self, table: Table, day: date) -> str:
        key = (table.name, day)
        if key not in self._content:
            self._content[key] = str(self.lake.manifest(table.name, day).get("content"))
        return self._content[key]

    def forget(self, table: Table, day: date) -> None:
        """After a publish: what was known of the day may have changed."""
        self._content.pop((table.name, day), None)


def window_days(settings: Settings, published: Sequence[date], day: date) -> list[date]:
    """Those of the published days whose actions count for an impression on ``day``."""
    start = settings.window_start(day)
    return [d for d in published if d < day and (start is None or d >= start)]


def _unified_actions(freshness: Freshness, day: date) -> list[Any]:
    return [freshness.fingerprint(table, day) for table in ACTION_SOURCES]


def _customer_history(freshness: Freshness, day: date) -> list[Any]:
    published = freshness.lake.days(UNIFIED_ACTIONS.name)
    window = window_days(freshness.settings, published, day)
    return [
        freshness.settings.history_length,
        freshness.settings.lookback_days,
        freshness.fingerprint(IMPRESSIONS, day),
        [(d, freshness.content(UNIFIED_ACTIONS, d)) for d in window],
    ]


def _training_input(freshness: Freshness, day: date) -> list[Any]:
    return [
        freshness.settings.history_length,
        freshness.settings.lookback_days,
        freshness.fingerprint(IMPRESSIONS, day),
        freshness.content(CUSTOMER_HISTORY, day),
    ]


_INPUTS: Final[dict[str, Callable[[Freshness, date], list[Any]]]] = {
    UNIFIED_ACTIONS.name: _unified_actions,
    CUSTOMER_HISTORY.name: _customer_history,
    TRAINING_INPUT.name: _training_input,
}
