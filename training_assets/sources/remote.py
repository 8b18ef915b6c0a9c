"""Raw objects of a bucket, listed once.

There are no folders, only names with ``/`` in them. Some tools put empty objects where a folder
would be: ``dt=2024-05-10/``, or ``dt=2024-05-10_$folder$``. They stand for a folder here too.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from functools import cached_property
from typing import Final, NamedTuple

from training_assets.lake import Entry, Store
from training_assets.lake.log import LOG
from training_assets.schemas import Table
from training_assets.sources.declared import Declared
from training_assets.sources.layout import has_flat_files, is_hidden, is_leftover
from training_assets.sources.listing import DayFiles, Item, Listing, RawFile

_FOLDER: Final = "_$folder$"


class _Object(NamedTuple):
    """An object by its path in the table's folder, or an empty one that stands for a folder."""

    path: str
    entry: Entry
    is_folder: bool


class RemoteListing(Listing):
    """Looks once; what was there then stays."""

    empty_day = "with an object _SUCCESS, where the day has no rows"

    def __init__(self, raw: Store, table: Table, declared: Declared | None = None) -> None:
        super().__init__(raw, table, declared)
        self._tops: dict[str, list[_Object]] = defaultdict(list)
        for entry in raw.list(table.name):
            if one := _object(entry, table):
                self._tops[one.path.partition("/")[0]].append(one)

    @cached_property
    def _items(self) -> list[Item]:
        found = {
            Item(name, one.is_folder or "/" in one.path)
            for name, objects in self._tops.items()
            for one in objects
            if not is_hidden(name)
        }
        return sorted(found)

    def items(self) -> list[Item]:
        return self._items

    def has_files(self, folder: str) -> bool:
        return any(not one.is_folder for one in self._tops.get(folder, ()))

    def day(self, day: date) -> DayFiles | None:
        names = [f"{prefix}{day.isoformat()}" for prefix in self.prefixes]
        found = [one for name in names for one in self._tops.get(name, ())]
        present = [one for one in found if one.is_folder or "/" in one.path]
        if not present:
            return None
        files: dict[str, _Object] = {}
        leftovers: dict[str, None] = {}
        for one in present:
            hidden = _hidden_part(one.path)
            if hidden and is_leftover(hidden.rpartition("/")[2]):
                leftovers[hidden] = None
            elif not hidden and not one.is_folder:
                files[one.path] = one
        paths = self._of_version(list(files), leftovers, self._is_of(day))
        if not paths and self._version() is not None:
            return None
        left = tuple(path for path in leftovers if not path.endswith(f"/{LOG}"))
        return DayFiles(tuple(self._of(files[path], day) for path in paths), left)

    def flat(self) -> list[RawFile]:
        if not has_flat_files(self.table):
            return []
        found = {
            one.path: one
            for item in self._items
            if not item.is_folder
            for one in self._tops[item.name]
            if one.path == item.name and not one.is_folder
        }
        paths = self._of_version(list(found), (), lambda path: "/" not in path)
        return [self._of(found[path], None) for path in paths]

    def _below(self, path: str) -> Sequence[Entry]:
        objects = self._tops.get(path.partition("/")[0], ())
        return [one.entry for one in objects if one.path.startswith(f"{path}/")]

    def _marks(self) -> list[str]:
        found = [name for name in self._tops if is_hidden(name)]
        return found + [one.path for one in self._tops.get("metadata", ())]

    def _of(self, found: _Object, day: date | None) -> RawFile:
        entry = found.entry
        stamp: int | str = entry.modified_ns
        if entry.etag:
            # Some stores have no quotes around it; with them it is told from a hash.
            stamp = entry.etag if entry.etag.startswith('"') else f'"{entry.etag}"'
        return self._file(found.path, day, entry.size, stamp)


def _object(entry: Entry, table: Table) -> _Object | None:
    path = entry.path[len(table.name) + 1 :].rstrip("/")
    name = path.rpartition("/")[2]
    if entry.size or not path:
        return _Object(path, entry, False) if path else None
    if name.endswith(_FOLDER):
        # Those of hidden folders stay when the work there is finished.
        bare = path.removesuffix(_FOLDER)
        return None if is_hidden(name) else _Object(bare, entry, True)
    # Libraries of stores take the last slash away.
    return _Object(path, entry, "." not in name and (is_leftover(name) or not is_hidden(name)))


def _hidden_part(path: str) -> str:
    """The path up to its first hidden name; nothing where there is none."""
    names = path.split("/")
    depth = next((n for n, name in enumerate(names) if is_hidden(name)), -1)
    return "/".join(names[: depth + 1])
