"""What lies under a raw table, on any store; ``local.py`` and ``remote.py`` look.

What looks like a day or like data, but is read for no day, is an error: rows there would be missing
without a word. So is a day that holds only what an unfinished writer left. A day that is meant to
be empty is an empty folder; on an object store, which has no folders, it is an object ``dt=D/`` or
``dt=D/_SUCCESS`` or ``dt=D/.keep``.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Final, NamedTuple, TypeVar

from training_assets.errors import RawDataError
from training_assets.lake import Entry, Store
from training_assets.lake.lake import RAW
from training_assets.lake.log import LOG
from training_assets.schemas import Table
from training_assets.sources.columns import Task, printable
from training_assets.sources.declared import Declared
from training_assets.sources.layout import (
    FORMATS,
    day_of,
    format_of,
    looks_like_data,
    prefixes,
    some_day,
)
from training_assets.sources.reading import Reading
from training_assets.sources.table_formats import (
    current_files,
    of_version,
    refuse_others,
    roots_of,
)

_PLAIN: Final = Reading().json()


@dataclass(frozen=True)
class RawFile:
    """One raw file. ``day`` is that of its folder, or None for a flat file.

    ``uri`` is an absolute local path or a URL, ``name`` relative to the lake. ``size`` and
    ``stamp``, an etag or a modification time in ns, are what a store's listing said; None of a
    local file, which is asked when they are needed. ``reading`` is what is declared of it.
    """

    uri: str
    name: str
    format: str
    day: date | None
    size: int | None = None
    stamp: int | str | None = None
    reading: str = ""

    def part(self, start: int, stop: int) -> Task:
        return Task(0, self.uri, self.name, self.format, self.day, start, stop, self.reading)


class Item(NamedTuple):
    """What lies directly in a table's folder and is not hidden."""

    name: str
    is_folder: bool


class DayFiles(NamedTuple):
    """Of a day that has a folder; ``leftovers`` are hidden names that tell of unfinished work."""

    files: tuple[RawFile, ...]
    leftovers: tuple[str, ...]


class Listing(ABC):
    """What lies under one raw table; ``empty_day`` tells how a day without rows is delivered."""

    empty_day: ClassVar[str]

    def __init__(self, raw: Store, table: Table, declared: Declared | None = None) -> None:
        """``raw`` is the store of the lake's raw folder."""
        self.raw = raw
        self.table = table
        self.declared = declared or Declared(table.name)
        self.reading = self.declared.reading.json()
        self.prefixes = prefixes(table)
        self.place = raw.child(table.name)
        # How the names of folders begin that another listing reads.
        self.others = ""

    @abstractmethod
    def items(self) -> Sequence[Item]:
        """By name; nothing where there is no such table."""

    @abstractmethod
    def has_files(self, folder: str) -> bool:
        """Whether there is any file in a folder of the table, however deep."""

    @abstractmethod
    def day(self, day: date) -> DayFiles | None:
        """None where the day has no folder."""

    @abstractmethod
    def flat(self) -> list[RawFile]:
        """Files beside the folders of days, where the table may have such."""

    def days(self) -> set[date]:
        """Days that have a folder."""
        names = [item.name for item in self.items() if item.is_folder]
        if (version := self._version()) is not None:
            names = [path.partition("/")[0] for path in version if "/" in path]
        return {day for name in names if (day := day_of(self.prefixes, name)) is not None}

    @abstractmethod
    def _below(self, path: str) -> Sequence[Entry]:
        """All that lies in a folder of the table, hidden files too."""

    @abstractmethod
    def _marks(self) -> Sequence[str]:
        """Hidden paths that are of no day, and others that tell of a table of another format."""

    def _version(self) -> set[str] | None:
        """Files of the Delta table that the table's own folder is; None where it is none."""
        marks = self._marks()
        refuse_others(self.place.url, marks)
        return self._current("") if "" in roots_of(marks) else None

    def _current(self, root: str) -> set[str]:
        log = self._below(f"{root}/{LOG}" if root else LOG)
        store = self.place.child(*root.split("/")) if root else self.place
        return current_files(store, log, self.table, self.declared.reading)

    def _of_version(
        self, paths: Sequence[str], hidden: Iterable[str], is_meant: Callable[[str], bool]
    ) -> list[str]:
        """Of the paths those of current versions; ``hidden`` are paths beside them."""
        marks = [*self._marks(), *hidden]
        refuse_others(self.place.url, [*marks, *paths])
        roots = roots_of(marks)
        if not roots:
            return list(paths)
        versions = {root: self._current(root) for root in roots}
        return of_version(self.place.url, paths, versions, is_meant)

    def _is_of(self, day: date) -> Callable[[str], bool]:
        """Whether a path in the table's folder lies in a folder of the day."""
        folders = tuple(f"{prefix}{day.isoformat()}/" for prefix in self.prefixes)
        return lambda path: path.startswith(folders)

    def folder_of(self, day: date) -> str:
        """Where a day is looked for first."""
        return self.raw.uri(f"{self.table.name}/{self.prefixes[0]}{day}")

    def refuse_misplaced(self, days: Collection[date]) -> None:
        """Raise for what is read for no day and may belong to one of ``days``."""
        version = self._version()
        for item in self.items():
            if not self._is_misplaced(item, version):
                continue
            meant = some_day(item.name)
            if meant is None or meant in days:
                kind = "folder" if item.is_folder else "file"
                expected = " or ".join(f"{prefix}YYYY-MM-DD" for prefix in self.prefixes)
                raise RawDataError(
                    f"{printable(self._name(item.name))}: the {kind} is read for no day; expected "
                    f"only folders {expected} in {self.raw.uri(self.table.name)}. Rename it, or "
                    "move it away."
                )

    def _is_misplaced(self, item: Item, version: set[str] | None) -> bool:
        if not item.is_folder:
            is_old = version is not None and item.name not in version
            is_old = is_old and format_of(item.name) == "parquet"
            return looks_like_data(self.table, item.name) and not is_old
        if day_of(self.prefixes, item.name):
            return False
        if self.others and item.name.startswith(self.others):
            return False
        if version is not None:
            return any(path.startswith(f"{item.name}/") for path in version)
        # Whatever it is called: rows there would be missing without a word.
        return self.has_files(item.name)

    def _name(self, path: str) -> str:
        """The name, relative to the lake, of what lies at a path in the table's folder."""
        return f"{RAW}/{self.table.name}/{path}"

    def _file(
        self, path: str, day: date | None, size: int | None = None, stamp: int | str | None = None
    ) -> RawFile:
        """The file at a path in the table's folder; raises where its name cannot be one."""
        name = self._name(path)
        if name != printable(name):
            raise RawDataError(
                f"{printable(name)}: the file name is not UTF-8 or has control characters. "
                "Rename the file."
            )
        kind = self.declared.format or format_of(name)
        if kind is None:
            raise RawDataError(
                f"{name}: the format is not known by its ending; expected one of "
                f"{', '.join(FORMATS)}, text also with .gz, .zst or .bz2. Rename or remove the "
                "file."
            )
        reading = "" if self.reading == _PLAIN else self.reading
        return RawFile(self._uri(path), name, kind, day, size, stamp, reading)

    def _uri(self, path: str) -> str:
        return self.raw.uri(f"{self.table.name}/{path}")


_Dated = TypeVar("_Dated", RawFile, Task)


def by_day(found: Iterable[_Dated], days: Collection[date]) -> dict[date, list[_Dated]]:
    """Of each day its own files, or parts of files, and then the flat ones."""
    own: dict[date | None, list[_Dated]] = defaultdict(list)
    for one in found:
        own[one.day].append(one)
    return {day: own[day] + own[None] for day in days}


def whole_file(file: RawFile) -> Task:
    return file.part(0, -1)


def fingerprint(
    table: Table, day: date | None, files: Iterable[RawFile]
) -> list[tuple[str, int, int | str]]:
    """(name, bytes, modification time in ns or etag) of files of a day, by name.

    What ``sources.toml`` declares of them counts as one file more, so that days are out of date
    when it changes. Raises ``RawDataError`` for one that is gone.
    """
    unique = {file.name: file for file in files}
    try:
        found = [_entry(unique[name]) for name in sorted(unique)]
    except OSError as error:
        of = f"a raw file of {day}" if day else "a flat raw file"
        raise RawDataError(
            f"{table.name}: {of} vanished while it was read ({error}). "
            "Deliver it again, or run the day again without it."
        ) from error
    declared = sorted({f"{file.format} {file.reading}" for file in unique.values() if file.reading})
    if declared and day is not None:
        digest = hashlib.blake2b("\n".join(declared).encode(), digest_size=8).hexdigest()
        found.append((f"{table.name} as declared", len(declared), digest))
    return found


def _entry(file: RawFile) -> tuple[str, int, int | str]:
    if file.size is not None and file.stamp is not None:
        return file.name, file.size, file.stamp
    found = os.stat(file.uri)
    return file.name, found.st_size, found.st_mtime_ns
