"""What a table holds at one version: its days, and the files of each.

<lake>/<table>/_delta_log/…        the log alone says what is published; see ``log.py``
<lake>/<table>/dt=D/…              and what else belongs to a day; see ``files.py``
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from training_assets.errors import DayNotPublishedError, ValidationError
from training_assets.lake.base import Store
from training_assets.lake.files import (
    MIGRATED,
    DataFile,
    content_of,
    manifest_path,
    profile_path,
    quarantine_path,
)
from training_assets.lake.log import open_delta


@dataclass(frozen=True)
class Snapshot:
    """One version of one table; ``version`` is -1 where the table does not exist yet.

    Holds names only, so it can be handed to other processes; nothing that is published afterwards
    changes it.
    """

    store: Store
    table: str
    version: int
    files: Mapping[date, tuple[DataFile, ...]]

    @property
    def days(self) -> list[date]:
        """Published days, oldest first."""
        return sorted(self.files)

    def files_of(self, day: date) -> tuple[DataFile, ...]:
        """In name order; raises ``DayNotPublishedError``."""
        try:
            return self.files[day]
        except KeyError:
            raise DayNotPublishedError(
                f"{self.table}: day {day} is not published under {self.store.url}. "
                f"Materialize {self.table} for it."
            ) from None

    def uris(self, day: date) -> list[str]:
        """What a worker opens for a day; nothing for a day that is not published."""
        return [self.store.uri(file.name) for file in self.files.get(day, ())]

    def run(self, day: date) -> str:
        """The run that wrote the day."""
        return self.files_of(day)[0].run

    def content(self, day: date) -> str:
        """Hash of the day's data files; the same for the same bytes, whichever run wrote them."""
        if self.run(day) == MIGRATED:
            return str(self.manifest(day).get("content"))
        return content_of(self.files_of(day))

    def manifest(self, day: date) -> dict[str, Any]:
        """What the day was built from, with its figures; raises ``DayNotPublishedError``.

        Raises ``ValidationError`` where the manifest is damaged or missing.
        """
        try:
            return self._parsed(day, self.store.read(self.manifest_path(day)))
        except FileNotFoundError:
            raise self._damaged(day, "it is missing") from None

    def manifests(self, days: Sequence[date]) -> dict[date, dict[str, Any]]:
        """Those of many days at once; errors as of ``manifest``."""
        try:
            found = self.store.read_all([self.manifest_path(day) for day in days])
        except FileNotFoundError:
            return {day: self.manifest(day) for day in days}
        return {day: self._parsed(day, data) for day, data in zip(days, found, strict=True)}

    def profiles(self, days: Sequence[date]) -> dict[date, dict[str, Any]]:
        """What stands in the columns of the days, for those that have it recorded undamaged."""
        paths = {day: profile_path(day, self.run(day)) for day in days}
        try:
            found = dict(zip(paths, self.store.read_all(list(paths.values())), strict=True))
        except FileNotFoundError:
            found = {}
            for day, path in paths.items():
                with suppress(FileNotFoundError):
                    found[day] = self.store.read(path)
        parsed = {}
        for day, data in found.items():
            with suppress(ValueError):
                parsed[day] = dict(json.loads(data))
        return parsed

    def _parsed(self, day: date, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except ValueError as error:
            raise self._damaged(day, str(error)) from None
        if not isinstance(found, dict):
            raise self._damaged(day, "it holds no object")
        return found

    def _damaged(self, day: date, problem: str) -> ValidationError:
        return ValidationError(
            f"{self.table}: the manifest of {day} is damaged ({problem}: "
            f"{self.manifest_path(day)}); expected what the day was built from. Materialize the "
            "day anew."
        )

    def manifest_path(self, day: date) -> str:
        return manifest_path(day, self.run(day))

    def quarantine_path(self, day: date) -> str:
        return quarantine_path(day, self.run(day))


def open_snapshot(store: Store, table: str, version: int | datetime | None = None) -> Snapshot:
    """The newest version of a table, or an older one by number or by time.

    Raises ``LakeFormatError`` for a table of a lake before version 2 and for a path that Delta's
    library cannot open, ``StoreError`` where the store does not answer, ``DayNotPublishedError``
    where there is no such version any more.
    """
    found = open_delta(store, table, version)
    return Snapshot(store, table, -1, {}) if found is None else snapshot_of(store, table, found)


def snapshot_of(store: Store, table: str, delta: DeltaTable) -> Snapshot:
    """The version at which Delta's table was opened."""
    # Not by pa.table, which imports pandas to find out what it is given.
    added = pa.RecordBatchReader.from_stream(delta.get_add_actions(flatten=True)).read_all()
    days: dict[date, list[DataFile]] = {}
    columns = (added[name].to_pylist() for name in ("path", "size_bytes", "num_records"))
    for name, size, rows in zip(*columns, strict=True):
        file = DataFile(name, size, rows or 0)
        days.setdefault(file.day, []).append(file)
    files = {day: tuple(sorted(found)) for day, found in days.items()}
    return Snapshot(store, table, delta.version(), files)
