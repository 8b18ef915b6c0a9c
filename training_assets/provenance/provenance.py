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
its size and modification time or, on an object store, its etag. Contents of consecutive days stand
in one string, eight hexadecimal digits a day: a year of them is 3 kB.

A raw file that was merely touched leads to one rebuild whose content is the same, so nothing
further down is out of date.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Final

from training_assets.errors import DayNotPublishedError, TrainingAssetsError
from training_assets.lake import Lake, contiguous, day_range, days_in_words
from training_assets.provenance.declared import BuiltFrom, Upstream
from training_assets.schemas import (
    ACTION_SOURCES,
    RAW_INTERACTIONS,
    SCHEMA_VERSION,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings
from training_assets.sources import (
    FlatDays,
    RawDays,
    RawFile,
    SourceDays,
    by_day,
    engagement_of,
    files_of_days,
    find_raw_days,
    fingerprint,
    first_by_kind,
    flat_days,
    further_sources,
    kinds_taken,
    source_days,
    whole_file,
)

# Raised whenever the same inputs would give other rows.
CODE_VERSION: Final = 2
_DIGITS: Final = 8


def hash_of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Inputs:
    """What a day is built from: settings, raw files by table, contents of other tables by day."""

    settings: Mapping[str, Any]
    raw: Mapping[str, Mapping[str, list[Any]]]
    upstream: Mapping[str, Mapping[date, str]] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        upstream = {
            name: [(day.isoformat(), content) for day, content in sorted(days.items())]
            for name, days in self.upstream.items()
        }
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
    """Compares manifests with what they would say if the day were built now.

    What was looked at once stays as it was, the lake's tables too; a new one looks again.
    """

    lake: Lake
    settings: Settings
    _raw: dict[tuple[str, date], RawDays] = field(default_factory=dict)
    _files: dict[tuple[str, date], list[RawFile]] = field(default_factory=dict)
    _flat: dict[tuple[str, str, int, Any], FlatDays] = field(default_factory=dict)
    _content: dict[tuple[str, date], str] = field(default_factory=dict)
    _manifests: dict[tuple[str, date], dict[str, Any]] = field(default_factory=dict)
    _days: dict[str, SourceDays] = field(default_factory=dict)
    _before: dict[tuple[str, date], dict[str, list[Any]]] = field(default_factory=dict)

    def again(self) -> "Provenance":
        """One that looks at everything anew."""
        return Provenance(Lake(self.lake.store), self.settings)

    def look_again_at_tables(self) -> None:
        """Forget what is published, but not which raw files there are."""
        self.lake.refresh()
        self._content.clear()
        self._manifests.clear()

    # --- which sources there are ------------------------------------------------------------------

    def sources_of(self, built: BuiltFrom) -> tuple[Table, ...]:
        """Raw tables of which the table is built, with those that the lake declares."""
        return (*built.sources, *self.further(built))

    def further(self, built: BuiltFrom) -> tuple[Table, ...]:
        """Those of them that ``sources.toml`` adds."""
        return self._declared if built.takes_further else ()

    @cached_property
    def _declared(self) -> tuple[Table, ...]:
        return further_sources(self.lake)

    def delivered(self, built: BuiltFrom) -> tuple[Table, ...]:
        """Raw tables whose days the table's days are made of, its own and those behind a stream."""
        streams = (u.of for u in built.upstream if u.of.days == "from first")
        behind = (source for of in streams for source in self.sources_of(of))
        return (*self.sources_of(built), *behind)

    # --- what a day is built from -----------------------------------------------------------------

    def inputs(self, built: BuiltFrom, day: date) -> Inputs:
        """What the day would be built from now; raises where something of it is missing."""
        settings = self.recorded(built)
        if built.table == UNIFIED_ACTIONS and (kinds := self.kinds_from_interactions(day)):
            settings["kinds_from_interactions"] = list(kinds)
        raw = {source.name: self.fingerprint(source, day) for source in built.sources}
        if built.accumulates:
            raw |= {f"{s.name} before": self._fingerprint_before(s, day) for s in built.sources}
        # A day without files of a further source is as it was before that was declared.
        further = {s: files for s in self.further(built) if (files := self.fingerprint(s, day))}
        if further:
            raw |= {source.name: files for source, files in further.items()}
            settings["further_sources"] = {s.name: s.action_type for s in further}
        return Inputs(
            settings,
            raw,
            {
                upstream.name: {
                    of: self.content(upstream.of.table, of)
                    for of in self.upstream_days(upstream, day)
                }
                for upstream in built.upstream
            },
        )

    def recorded(self, built: BuiltFrom) -> dict[str, Any]:
        """Settings and constants by which the table's days are built, as manifests have them."""
        values = {name: self.settings.recorded(name) for name in built.settings}
        if values.get("engagement") == "auto":
            values["engagement"] = engagement_of(self.lake, self.source_days)
        values |= {f"has_{t.name}": bool(self.source_days(t).days) for t in built.optional}
        return values | dict(built.constants)

    def upstream_days(self, upstream: Upstream, day: date) -> list[date]:
        """Days of the other table that the day reads: of a look-back, the published ones."""
        published = self.lake.days(upstream.name)
        days = days_read(self.settings, upstream, published, day) if upstream.looks_back else []
        is_read = upstream.has_day and (not upstream.is_optional or day in published)
        return [*days, day] if is_read else days

    def missing_days(self, upstream: Upstream, day: date) -> list[date]:
        """Days that the day should read and that are not published, oldest first."""
        if upstream.is_optional and not self._is_stream(upstream, day):
            return []
        published = self.lake.snapshot(upstream.name).files
        expected = [day] if upstream.has_day else []
        if upstream.looks_back:
            before = self.expected_days(upstream.of, day)
            expected = [*days_read(self.settings, upstream, before, day), *expected]
        return [of for of in expected if of not in published]

    def _is_stream(self, upstream: Upstream, day: date) -> bool:
        """Whether it is an event stream that has the day, which then must not be left out."""
        return upstream.of.days == "from first" and self.is_due(upstream.of, day)

    def expected_days(self, built: BuiltFrom, before: date) -> list[date]:
        """Days before ``before`` that have, or should have, rows of the table's sources.

        Every day from the first one of any source on; where absent raw days are empty ones, or the
        table has only such, those that were delivered.
        """
        found = [self.source_days(source) for source in self.delivered(built)]
        if built.days == "delivered":
            return sorted({day for source in found for day in source.near if day < before})
        firsts = [source.first for source in found if source.first is not None]
        if not firsts or min(firsts) >= before:
            return []
        if self.settings.missing_raw == "empty":
            days = {day for source in found for day in source.days if day >= min(firsts)}
            return sorted(day for day in days if day < before)
        return day_range(min(firsts), before - timedelta(days=1))

    def is_due(self, built: BuiltFrom, day: date) -> bool:
        """Whether the table has, or should have, the day."""
        if built.days == "every":
            return True
        found = [self.source_days(source) for source in self.sources_of(built)]
        if built.days == "delivered":
            return any(day in source.days and day not in source.far for source in found)
        return any(source.first is not None and source.first <= day for source in found)

    def kinds_from_interactions(self, day: date) -> tuple[int, ...]:
        """Codes of the actions of the day that ``unified_actions`` has from the event stream."""
        begins = self.source_days(RAW_INTERACTIONS).first
        if begins is None or begins > day:
            return ()
        own = (*ACTION_SOURCES, *self._declared)
        firsts = first_by_kind(own, lambda table: self.source_days(table).first)
        return kinds_taken(self.settings.interaction_kinds, day, begins, firsts)

    def _fingerprint_before(self, source: Table, day: date) -> dict[str, list[Any]]:
        """The deliveries of all days before, as one entry: how many, and a hash."""
        key = (source.name, day)
        if key not in self._before:
            days = [d for d in self.source_days(source).near if d < day]
            found = [[str(d), self.fingerprint(source, d)] for d in days]
            self._before[key] = {"earlier deliveries": [len(days), hash_of(found)]} if days else {}
        return self._before[key]

    def source_days(self, source: Table) -> SourceDays:
        """The days that a raw table has."""
        if source.name not in self._days:
            self._days[source.name] = source_days(self.lake, source)
        return self._days[source.name]

    # --- whether a day is up to date --------------------------------------------------------------

    def is_current(self, built: BuiltFrom, day: date) -> bool:
        """Whether the day is published and was built from what is there now."""
        try:
            recorded = self.manifest(built.table, day)["inputs"]
            return bool(recorded == self.inputs(built, day).hash)
        except (TrainingAssetsError, KeyError, OSError):
            return False

    def outdated(self, built: BuiltFrom, days: Sequence[date]) -> list[date]:
        """Those of ``days`` that are not published or out of date."""
        self.look_ahead(built, days)
        return [d for d in days if self.is_due(built, d) and not self.is_current(built, d)]

    def look_ahead(self, built: BuiltFrom, days: Sequence[date]) -> None:
        """Look at once at what will be asked for of each day, which is much faster."""
        self.look_ahead_at_raw(built, days)
        snapshot = self.lake.snapshot(built.table.name)
        published = [day for day in days if day in snapshot.files]
        unread = [day for day in published if (snapshot.table, day) not in self._manifests]
        with suppress(TrainingAssetsError):
            found = snapshot.manifests(unread)
            self._manifests |= {(snapshot.table, day): found[day] for day in unread}

    def look_ahead_at_raw(self, built: BuiltFrom, days: Sequence[date]) -> None:
        """List the raw files of all the days at once."""
        for source in self.sources_of(built):
            missing = [day for day in days if (source.name, day) not in self._files]
            # Where something is wrong with one of the days, each is listed when it is asked for.
            with suppress(TrainingAssetsError):
                files = by_day(self._list(source, missing), missing)
                self._files |= {(source.name, day): files[day] for day in missing}

    def manifest(self, table: Table, day: date) -> dict[str, Any]:
        """The manifest of a published day; raises ``ValidationError`` where it is damaged."""
        key = (table.name, day)
        if key not in self._manifests:
            self._manifests[key] = self.lake.manifest(table.name, day)
        return self._manifests[key]

    def content(self, table: Table, day: date) -> str:
        key = (table.name, day)
        if key not in self._content:
            self._content[key] = self.lake.snapshot(table.name).content(day)
        return self._content[key]

    # --- what must be there before a day can be built ---------------------------------------------

    def require_raw(self, built: BuiltFrom, day: date) -> None:
        """Raise where raw files of the day are missing or lack columns; that opens each of them."""
        for source in self.sources_of(built):
            self.raw(source, [day])

    def look_at_raw(self, built: BuiltFrom, days: Sequence[date]) -> None:
        """Open the raw files of all the days at once; what is wrong is said of a day by itself."""
        for source in self.sources_of(built):
            with suppress(TrainingAssetsError):
                self.raw(source, days)

    def require_upstream(self, built: BuiltFrom, day: date) -> list[date]:
        """Raise where what the day reads is not published, or was built with other settings.

        Returns the days of its look-back that are missing and that the settings let through.
        """
        let_through: list[date] = []
        for upstream in built.upstream:
            missing = self.missing_days(upstream, day)
            if upstream.has_day and day in missing:
                raise DayNotPublishedError(
                    f"{built.table.name}: {upstream.name} has no day {day}. Materialize it first."
                )
            if missing and self.settings.incomplete_window == "error":
                raise _incomplete(built.table, upstream, day, missing)
            let_through += missing
            if upstream.has_day and day in self.upstream_days(upstream, day):
                self._require_settings(built, upstream, day)
        return let_through

    def _require_settings(self, built: BuiltFrom, upstream: Upstream, day: date) -> None:
        """Rows of a day that was cut at another length look right and are not."""
        recorded = self.manifest(upstream.of.table, day).get("settings")
        wanted = self.recorded(upstream.of)
        if recorded != wanted:
            raise DayNotPublishedError(
                f"{built.table.name}: {upstream.name} of {day} was built with "
                f"{_in_words(recorded)}; expected {_in_words(wanted)}. Materialize {upstream.name} "
                f"of the day first, or together with {built.table.name}."
            )

    # --- raw files --------------------------------------------------------------------------------

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
        return find_raw_days(
            self.lake, table, days, self.source_days(table), allow_missing=self._allows_missing
        )

    def _list(self, table: Table, days: Sequence[date]) -> list[RawFile]:
        return files_of_days(
            self.lake, table, days, self.source_days(table), allow_missing=self._allows_missing
        )

    @property
    def _allows_missing(self) -> bool:
        return self.settings.missing_raw == "empty"

    def _files_of(self, table: Table, day: date) -> list[RawFile]:
        key = (table.name, day)
        if key in self._raw:
            # What is recorded must be what is read.
            return self._raw[key].files()
        if key not in self._files:
            self._files[key] = self._list(table, [day])
        return self._files[key]

    def fingerprint(self, table: Table, day: date) -> dict[str, list[Any]]:
        """By name: [bytes, mtime_ns or etag] of a file of the day, [rows, hash] of a flat one.

        A flat file without rows of the day is left out.
        """
        files = self._files_of(table, day)
        flat = {file.name: file for file in files if file.day is None}
        entries: dict[str, list[Any]] = {}
        for name, size, stamp in fingerprint(table, day, files):
            if name not in flat:
                entries[name] = [size, stamp]
                continue
            # One file may serve several sources.
            key = (table.name, name, size, stamp)
            if key not in self._flat:
                self._flat[key] = flat_days(self.lake, table, whole_file(flat[name]), size, stamp)
            if str(day) in self._flat[key]:
                entries[name] = self._flat[key][str(day)]
        return entries


def window_days(settings: Settings, days: Sequence[date], day: date) -> list[date]:
    """Those of the days whose actions count for an impression on ``day``."""
    start = settings.window_start(day)
    return [d for d in days if d < day and (start is None or d >= start)]


def days_read(
    settings: Settings, upstream: Upstream, days: Sequence[date], day: date
) -> list[date]:
    """Those of the days of another table, in order, that the look-back of ``day`` reads.

    A state that is only delivered now and then holds until the next one: the one that held when
    the look-back begins is read too, however old it is.
    """
    found, start = window_days(settings, days, day), settings.window_start(day)
    if upstream.of.days != "delivered" or start is None or start in found:
        return found
    return [*[d for d in days if d < start][-1:], *found]


def pack(contents: Mapping[date, str]) -> dict[str, str]:
    """Contents by day as one string for each run of consecutive days, under its first day.

    Only the first eight digits of each are kept: {05-01: "aaaaaaaa…", 05-02: "bbbbbbbb…"} becomes
    {"2024-05-01": "aaaaaaaabbbbbbbb"}.
    """
    return {
        str(group[0]): "".join(short(contents[day]) for day in group)
        for group in contiguous(contents)
    }


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


def _incomplete(
    table: Table, upstream: Upstream, day: date, missing: Sequence[date]
) -> DayNotPublishedError:
    count = "1 day" if len(missing) == 1 else f"{len(missing)} days"
    verb = "is" if len(missing) == 1 else "are"
    return DayNotPublishedError(
        f"{table.name}: {count} of the look-back of {day} {verb} not published in "
        f"{upstream.name}: {days_in_words(missing)}; expected all of them, since histories would "
        f"lack their actions. Build {upstream.name} of these days, or set "
        "TRAINING_ASSETS_INCOMPLETE_WINDOW=warn to leave them out."
    )


def _in_words(settings: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted((settings or {}).items()))
