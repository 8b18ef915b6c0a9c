"""What each published day was built from, and so which days are out of date.

A day is built from raw files, from days of other tables, and with settings. Its manifest keeps all
of that twice: ``inputs`` is one hash over it, by which a day is judged, and ``built_from`` is the
detail, by which ``outdated.py`` says in words what changed.

    "inputs":     hash of everything below, contents in full, and of the schema and code version
    "content":    hash of the day's own data files
    "built_from": {"code_version": 1,
                   "settings": {"history_length": 1000, "lookback_days": 365},
                   "raw":      {"clicks": {"raw/clicks/dt=…/part-0.parquet": [bytes, mtime_ns]},
                                "previous_orders": {"raw/previous_orders/all.csv": [rows, hash]}},
                   "upstream": {"unified_actions": {"2024-05-01": "1f2e3d4c5b6a7988"}}}

A flat file enters a day with that day's rows only (``sources/flat.py``), any other raw file with
size and modification time. Contents of consecutive days stand in one string, eight hexadecimal
digits a day: a year of them is 3 kB.

A raw file that was merely touched leads to one rebuild whose content is the same, so nothing
further down is out of date.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from training_assets.errors import DayNotPublishedError, TrainingAssetsError, ValidationError
from training_assets.lake import Lake, data_files
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
from training_assets.sources import (
    FlatDays,
    RawDays,
    RawFile,
    by_day,
    files_of_days,
    find_raw_days,
    fingerprint,
    flat_days,
    whole_file,
)

# Raised whenever the same inputs would give other rows.
CODE_VERSION: Final = 1
_DIGITS: Final = 8


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


@dataclass(frozen=True)
class Inputs:
    """What a day is built from: settings, raw files by table, contents of other tables by day."""

    settings: Mapping[str, int | None]
    raw: Mapping[str, Mapping[str, list[Any]]]
    upstream: Mapping[str, Mapping[date, str]] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        upstream = {name: sorted(days.items()) for name, days in self.upstream.items()}
        return hash_of([SCHEMA_VERSION, CODE_VERSION, self.settings, self.raw, upstream])

    def manifest(self) -> dict[str, Any]:
        """The entries ``inputs`` and ``built_from`` of the day's manifest."""
        detail = {
            "code_version": CODE_VERSION,
            "settings": dict(self.settings),
            "raw": {name: dict(files) for name, files in self.raw.items()},
            "upstream": {name: pack(days) for name, days in self.upstream.items()},
        }
        return {"inputs": self.hash, "built_from": detail}


@dataclass
class Provenance:
    """Compares manifests with what they would say if the day were built now."""

    lake: Lake
    settings: Settings
    _raw: dict[tuple[str, date], RawDays] = field(default_factory=dict)
    _files: dict[tuple[str, date], list[RawFile]] = field(default_factory=dict)
    _flat: dict[tuple[str, int, int], FlatDays] = field(default_factory=dict)
    _content: dict[tuple[str, date], str] = field(default_factory=dict)

    def inputs(self, table: Table, day: date) -> Inputs:
        """What the day would be built from now; raises where something of it is missing."""
        return _INPUTS[table.name](self, day)

    def is_current(self, table: Table, day: date) -> bool:
        """Whether the day is published and was built from what is there now."""
        try:
            recorded = self.manifest(table, day)["inputs"]
            return bool(recorded == self.inputs(table, day).hash)
        except (TrainingAssetsError, KeyError, OSError):
            return False

    def outdated(self, table: Table, days: Sequence[date]) -> list[date]:
        """Those of ``days`` that are not published or out of date."""
        self.look_ahead(table, days)
        return [day for day in days if not self.is_current(table, day)]

    def look_ahead(self, table: Table, days: Sequence[date]) -> None:
        """List the raw files of days that will be asked for; at once, which is much faster."""
        for source in _sources(table):
            missing = [day for day in days if (source.name, day) not in self._files]
            # Where something is wrong with one of the days, each is listed when it is asked for.
            with suppress(TrainingAssetsError):
                files = by_day(self._list(source, missing), missing)
                self._files |= {(source.name, day): files[day] for day in missing}

    def require_raw(self, table: Table, day: date) -> None:
        """Raise where raw files of the day are missing or lack columns; that opens each of them."""
        for source in _sources(table):
            self.raw(source, [day])

    def require_history(self, day: date) -> None:
        """Raise unless the published history of the day was built with the present settings.

        Padded rows of a history that was cut at another length look right and are not.
        """
        recorded = self.manifest(CUSTOMER_HISTORY, day).get("settings")
        wanted = _window_settings(self.settings)
        if recorded != wanted:
            raise DayNotPublishedError(
                f"training_input: customer_history of {day} was built with {_in_words(recorded)}; "
                f"expected {_in_words(wanted)}. Materialize customer_history of the day first, or "
                "together with training_input."
            )

    def manifest(self, table: Table, day: date) -> dict[str, Any]:
        """The manifest of a published day; raises ``ValidationError`` where it is damaged."""
        try:
            return self.lake.manifest(table.name, day)
        except ValueError as error:
            raise ValidationError(
                f"{table.name}: the manifest of {day} is damaged ({error}); expected JSON. "
                "Materialize the day anew."
            ) from error

    def raw(self, table: Table, days: Sequence[date]) -> RawDays:
        """The raw files of the days, each day listed and its columns looked at once."""
        missing = [day for day in days if (table.name, day) not in self._raw]
        if len(missing) > 1:
            # Where something is wrong with one of many days, each is looked at alone.
            with suppress(TrainingAssetsError):
                found = self._look_at(table, missing).by_day()
                self._raw |= {(table.name, day): found[day] for day in missing}
        for day in days:
            if (table.name, day) not in self._raw:
                self._raw[table.name, day] = self._look_at(table, [day])
        return RawDays.of([self._raw[table.name, day] for day in days])

    def _look_at(self, table: Table, days: Sequence[date]) -> RawDays:
        allow = self.settings.missing_raw == "empty"
        return find_raw_days(self.lake.root, table, days, allow_missing=allow)

    def _list(self, table: Table, days: Sequence[date]) -> list[RawFile]:
        allow = self.settings.missing_raw == "empty"
        return files_of_days(self.lake.root, table, days, allow_missing=allow)

    def _files_of(self, table: Table, day: date) -> list[RawFile]:
        key = (table.name, day)
        if key in self._raw:
            # What is recorded must be what is read.
            return self._raw[key].files()
        if key not in self._files:
            self._files[key] = self._list(table, [day])
        return self._files[key]

    def fingerprint(self, table: Table, day: date) -> dict[str, list[Any]]:
        """By name: [bytes, mtime_ns] of a file in the day's folder, [rows, hash] of a flat one.

        A flat file without rows of the day is left out.
        """
        files = self._files_of(table, day)
        flat = {file.name: file for file in files if file.day is None}
        entries: dict[str, list[Any]] = {}
        for name, size, mtime_ns in fingerprint(table, day, files):
            if name not in flat:
                entries[name] = [size, mtime_ns]
                continue
            key = (name, size, mtime_ns)
            if key not in self._flat:
                self._flat[key] = flat_days(
                    self.lake.root, table, whole_file(flat[name]), size, mtime_ns
                )
            if str(day) in self._flat[key]:
                entries[name] = self._flat[key][str(day)]
        return entries

    def content(self, table: Table, day: date) -> str:
        key = (table.name, day)
        if key not in self._content:
            self._content[key] = str(self.manifest(table, day).get("content"))
        return self._content[key]

    def forget(self, table: Table, day: date) -> None:
        """After a publish: what was known of the day may have changed."""
        self._content.pop((table.name, day), None)


def window_days(settings: Settings, published: Sequence[date], day: date) -> list[date]:
    """Those of the published days whose actions count for an impression on ``day``."""
    start = settings.window_start(day)
    return [d for d in published if d < day and (start is None or d >= start)]


def pack(contents: Mapping[date, str]) -> dict[str, str]:
    """Contents by day as one string for each run of consecutive days, under its first day.

    Only the first eight digits of each are kept: {05-01: "aaaaaaaa…", 05-02: "bbbbbbbb…"} becomes
    {"2024-05-01": "aaaaaaaabbbbbbbb"}.
    """
    packed: dict[str, str] = {}
    first = last = None
    for day in sorted(contents):
        if first is None or last is None or day - last != timedelta(days=1):
            first = day
        last = day
        packed[str(first)] = packed.get(str(first), "") + short(contents[day])
    return packed


def unpack(packed: Mapping[str, str]) -> dict[date, str]:
    """What ``pack`` kept: the first digits of each day's content."""
    found = {}
    for first, text in packed.items():
        for n in range(0, len(text), _DIGITS):
            day = date.fromisoformat(first) + timedelta(days=n // _DIGITS)
            found[day] = text[n : n + _DIGITS]
    return found


def short(content: str) -> str:
    return content[:_DIGITS].ljust(_DIGITS, "-")


def _in_words(settings: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted((settings or {}).items()))


def _window_settings(settings: Settings) -> dict[str, int | None]:
    return {"history_length": settings.history_length, "lookback_days": settings.lookback_days}


def _sources(table: Table) -> tuple[Table, ...]:
    return ACTION_SOURCES if table is UNIFIED_ACTIONS else (IMPRESSIONS,)


def _raw_of(provenance: Provenance, table: Table, day: date) -> dict[str, Any]:
    return {source.name: provenance.fingerprint(source, day) for source in _sources(table)}


def _unified_actions(provenance: Provenance, day: date) -> Inputs:
    return Inputs({}, _raw_of(provenance, UNIFIED_ACTIONS, day))


def _customer_history(provenance: Provenance, day: date) -> Inputs:
    published = provenance.lake.days(UNIFIED_ACTIONS.name)
    window = window_days(provenance.settings, published, day)
    return Inputs(
        _window_settings(provenance.settings),
        _raw_of(provenance, CUSTOMER_HISTORY, day),
        {UNIFIED_ACTIONS.name: {d: provenance.content(UNIFIED_ACTIONS, d) for d in window}},
    )


def _training_input(provenance: Provenance, day: date) -> Inputs:
    return Inputs(
        _window_settings(provenance.settings),
        _raw_of(provenance, TRAINING_INPUT, day),
        {CUSTOMER_HISTORY.name: {day: provenance.content(CUSTOMER_HISTORY, day)}},
    )


_INPUTS: Final[dict[str, Callable[[Provenance, date], Inputs]]] = {
    UNIFIED_ACTIONS.name: _unified_actions,
    CUSTOMER_HISTORY.name: _customer_history,
    TRAINING_INPUT.name: _training_input,
}
