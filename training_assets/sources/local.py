"""Raw files in a local folder.

Whoever runs the platform may make ``raw`` or a table's folder a link. Below them, where deliveries
arrive, a link to a folder is followed for a day only, and none may lead out of ``raw``.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

from training_assets.errors import RawDataError
from training_assets.lake import Entry, LocalStore
from training_assets.lake.log import LOG
from training_assets.schemas import Table
from training_assets.sources.archive import Archived, archive_of, archived_days, archived_files
from training_assets.sources.columns import printable
from training_assets.sources.declared import Declared
from training_assets.sources.layout import has_flat_files, is_hidden, is_leftover
from training_assets.sources.listing import DayFiles, Item, Listing, RawFile
from training_assets.sources.table_formats import HUDI

# Where Iceberg keeps what it knows of a table.
_METADATA: Final = "metadata"


class LocalListing(Listing):
    """Looks each time that it is asked."""

    empty_day = "it may be empty"

    def __init__(self, raw: LocalStore, table: Table, declared: Declared | None = None) -> None:
        super().__init__(raw, table, declared)
        self._raw = raw.root
        self._base = raw.root / table.name
        self._archive = archive_of(raw, table.name)

    def items(self) -> list[Item]:
        return [Item(entry.name, _is_folder(entry)) for entry in self._visible(self._base)]

    def has_files(self, folder: str) -> bool:
        return any(files for _, _, files in os.walk(self._base / folder))

    def day(self, day: date) -> DayFiles | None:
        folders = [self._base / f"{prefix}{day.isoformat()}" for prefix in self.prefixes]
        present = [folder for folder in folders if folder.is_dir()]
        archived = archived_files(self._archive, day)
        if not present and archived is None:
            return None
        paths: list[str] = []
        leftovers: list[str] = []
        for folder in present:
            if folder.is_symlink():
                self._require_inside(folder)
            paths += self._walk(folder, leftovers)
        paths = self._of_version(paths, leftovers, self._is_of(day))
        if not paths and archived is None and self._version() is not None:
            return None
        leftovers = [path for path in leftovers if not path.endswith(f"/{LOG}")]
        files = [self._file(path, day) for path in paths]
        files += self._archived(day, archived or {}, {file.name for file in files})
        return DayFiles(tuple(sorted(files, key=lambda file: file.name)), tuple(leftovers))

    def days(self) -> set[date]:
        return super().days() | archived_days(self._archive)

    def _archived(
        self, day: date, archived: Mapping[str, Archived], delivered: Collection[str]
    ) -> Iterator[RawFile]:
        """Files as they were under raw, but for those that were delivered there again."""
        for path, entry in archived.items():
            file = self._file(path, day, entry.size, entry.modified_ns)
            if file.name not in delivered:
                yield replace(file, uri=self._archive.uri(f"dt={day}/{entry.path}"))

    def flat(self) -> list[RawFile]:
        if not has_flat_files(self.table):
            return []
        entries = [entry for entry in self._visible(self._base) if not _is_folder(entry)]
        paths = [self._path_of(entry) for entry in entries]
        kept = self._of_version(paths, (), lambda path: "/" not in path)
        return [self._file(path, None) for path in kept]

    def _below(self, path: str) -> Sequence[Entry]:
        found = LocalStore(self._base / path).list()
        return [entry._replace(path=f"{path}/{entry.path}") for entry in found]

    def _marks(self) -> list[str]:
        found = [name for name in (LOG, HUDI) if (self._base / name).is_dir()]
        if (self._base / _METADATA).is_dir():
            found += [f"{_METADATA}/{e.name}" for e in self._entries(self._base / _METADATA)]
        return found

    def _walk(self, folder: Path, leftovers: list[str]) -> Iterator[str]:
        """All files below a folder, in the order of their paths; adds to the leftovers."""
        for entry in self._entries(folder):
            if is_hidden(entry.name):
                if is_leftover(entry.name):
                    leftovers.append(self._in_table(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path), leftovers)
            else:
                yield self._path_of(entry)

    def _visible(self, folder: Path) -> list[os.DirEntry[str]]:
        return [entry for entry in self._entries(folder) if not is_hidden(entry.name)]

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """What is in a folder, by name; nothing where there is no folder."""
        try:
            with os.scandir(folder) as found:
                return sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RawDataError(
                f"{self._shown(folder)}: the folder cannot be listed ({error.strerror}); expected "
                "to be allowed to read it. Correct its permissions."
            ) from error

    def _path_of(self, entry: os.DirEntry[str]) -> str:
        if entry.is_symlink():
            self._require_inside(Path(entry.path))
        if not _is_file(entry):
            raise RawDataError(
                f"{self._shown(Path(entry.path))}: it is neither a file nor a folder but a link to "
                "a folder or to nothing, a pipe or a device; expected files. Remove it, or deliver "
                "what it stands for."
            )
        return self._in_table(entry.path)

    def _require_inside(self, link: Path) -> None:
        real = Path(os.path.realpath(link))
        if not any(real.is_relative_to(os.path.realpath(b)) for b in (self._raw, self._base)):
            raise RawDataError(
                f"{self._shown(link)}: the link leads out of the lake's raw folder, to "
                f"{printable(str(real))}; expected data below {self._raw}. Deliver the data itself."
            )

    def _in_table(self, path: str) -> str:
        return path.removeprefix(f"{self._base}/")

    def _shown(self, path: Path) -> str:
        """``raw/clicks/…``, or ``raw/clicks`` of the table's own folder."""
        return printable(self._name(path.relative_to(self._base).as_posix()).removesuffix("/."))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself.
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
