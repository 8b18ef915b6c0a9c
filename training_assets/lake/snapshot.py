"""What a table holds at one version: its days, and the files of each.

    <lake>/<table>/_delta_log/…                                the log alone says what is published
    <lake>/<table>/dt=D/part-00000-<hash>-<run>.parquet        never overwritten, a name never reused
    <lake>/<table>/_manifests/dt=D/<run>.json                  what the run built the day from
    <lake>/<table>/_quarantine/dt=D/<run>/source=clicks/…      rows that the day could not take

All files of a day are of one run, whose name in them leads to manifest and quarantine: these cannot
disagree with the day. ``<hash>`` is that of the file's bytes, so the contents of a year of days
are known without opening any. Files of a lake before version 2 have neither; see ``migrate.py``.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from training_assets.errors import (
    DayNotPublishedError,
    LakeFormatError,
    StoreError,
    ValidationError,
)
from training_assets.lake.store import LocalStore, Store

MANIFESTS: Final = "_manifests"
QUARANTINE: Final = "_quarantine"
DAY_PREFIX: Final = "dt="
MIGRATED: Final = "migrated"
# Delta's library decodes these twice, or takes them for a separator.
_UNUSABLE: Final = re.compile(r"%[0-9a-fA-F]{2}|\\")
_NAME: Final = re.compile(r"part-\d{5}-(?P<hash>[0-9a-f]{16})-(?P<run>[0-9a-f]{12})\.(parquet|pq)")
_OLD_MANIFEST: Final = "_day.json"


class DataFile(NamedTuple):
    """A published file; ``name`` is relative to the table: ``dt=2026-03-01/part-….parquet``."""

    name: str
    size: int
    rows: int

    @property
    def day(self) -> date:
        return date.fromisoformat(self.name.partition("/")[0].removeprefix(DAY_PREFIX))

    @property
    def run(self) -> str:
        """The run that wrote it."""
        found = _NAME.fullmatch(self.name.rpartition("/")[2])
        return found["run"] if found else MIGRATED

    @property
    def hash(self) -> str:
        """Of its bytes; of a migrated file, of its name and size."""
        found = _NAME.fullmatch(self.name.rpartition("/")[2])
        return found["hash"] if found else _digest([f"{self.name} {self.size}"])


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


def content_of(files: Sequence[DataFile]) -> str:
    return _digest([file.hash for file in files])


def manifest_path(day: date, run: str) -> str:
    return f"{MANIFESTS}/{DAY_PREFIX}{day}/{run}.json"


def quarantine_path(day: date, run: str) -> str:
    return f"{QUARANTINE}/{DAY_PREFIX}{day}/{run}"


def open_snapshot(store: Store, table: str, version: int | datetime | None = None) -> Snapshot:
    """The newest version of a table, or an older one by number or by time.

    Raises ``LakeFormatError`` for a table of a lake before version 2, ``StoreError`` where the
    store does not answer, ``DayNotPublishedError`` where there is no such version any more.
    """
    found = open_delta(store, table, version)
    if found is None:
        return Snapshot(store, table, -1, {})
    return Snapshot(store, table, found.version(), _files(found))


def open_delta(
    store: Store, table: str, version: int | datetime | None = None
) -> DeltaTable | None:
    """Delta's own table; None where there is none yet."""
    try:
        found = DeltaTable(delta_uri(store))
        if version is not None:
            found.load_as_version(_in_zone(version))
        return found
    except TableNotFoundError:
        _require_no_old_days(store, table)
        if version is not None:
            raise _no_version(store, table, version) from None
        return None
    except (DeltaError, OSError, ValueError) as error:
        if version is not None:
            raise _no_version(store, table, version, error) from None
        raise StoreError(
            f"{table}: the log under {store.url} cannot be read ({first_line(error)}); expected a "
            "Delta table. Check the store and its credentials, then run again."
        ) from None


def _in_zone(version: int | datetime) -> int | datetime:
    if isinstance(version, datetime) and version.tzinfo is None:
        return version.replace(tzinfo=UTC)
    return version


def _no_version(
    store: Store, table: str, version: int | datetime, error: Exception | None = None
) -> DayNotPublishedError:
    reason = f" ({first_line(error)})" if error else ""
    return DayNotPublishedError(
        f"{table}: version {version} cannot be read under {store.url}{reason}; expected one of "
        "those that `training-assets versions` lists. Older ones went with a vacuum."
    )


def delta_uri(store: Store) -> str:
    """How Delta's library is told where a table lies; raises ``LakeFormatError`` if it cannot."""
    if not isinstance(store, LocalStore):
        return store.url
    if found := _UNUSABLE.search(store.url):
        raise LakeFormatError(
            f"{store.url}: the path holds {found.group()!r}, which the Delta library reads as "
            "another character; expected a path without it. Move the lake, or rename the folder."
        )
    return Path(store.url).as_uri()


def _files(found: DeltaTable) -> dict[date, tuple[DataFile, ...]]:
    added = pa.table(found.get_add_actions(flatten=True))
    days: dict[date, list[DataFile]] = {}
    columns = (added[name].to_pylist() for name in ("path", "size_bytes", "num_records"))
    for name, size, rows in zip(*columns, strict=True):
        file = DataFile(name, size, rows or 0)
        days.setdefault(file.day, []).append(file)
    return {day: tuple(sorted(files)) for day, files in days.items()}


def _require_no_old_days(store: Store, table: str) -> None:
    if not isinstance(store, LocalStore):
        return
    # Not by glob: a folder's name may hold what glob takes for a pattern.
    folders = store.root.iterdir() if store.root.is_dir() else ()
    if any((folder / _OLD_MANIFEST).exists() for folder in folders):
        raise LakeFormatError(
            f"{table}: {store.url} was written by training_assets 0.1; expected a Delta table. "
            "Run `training-assets migrate` once: it takes the files as they lie, without copying."
        )


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _digest(parts: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def day_of_folder(name: str) -> date | None:
    """The day of a folder ``dt=YYYY-MM-DD``, None for any other name."""
    try:
        day = date.fromisoformat(name.removeprefix(DAY_PREFIX))
    except ValueError:
        return None
    return day if name == f"{DAY_PREFIX}{day}" else None
