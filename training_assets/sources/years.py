"""Interactions, items and users in folders year=YYYY/month=MM/day=DD, beside those called dt=D.

    raw/interactions/year=2026/month=03/day=01/…      and      raw/interactions/dt=2026-03-01/…

A day has the files of both: what comes through the service is filed under ``dt=``.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date
from typing import Final

from training_assets.errors import RawDataError
from training_assets.lake import Entry, Lake
from training_assets.lake.lake import RAW
from training_assets.schemas import SHOP_TABLES, Table
from training_assets.sources.columns import printable
from training_assets.sources.declared import Declared
from training_assets.sources.layout import format_of, is_hidden
from training_assets.sources.listing import DayFiles, Item, Listing, RawFile
from training_assets.sources.placed import PlacedListing

PREFIX: Final = "year="
_FOLDERS: Final = "year={year}/month={month}/day={day}"


def with_years(lake: Lake, table: Table, declared: Declared, folders: Listing) -> Listing:
    """The listing of a table's own folder, with its folders of years where it may have such."""
    is_of_shop = SHOP_TABLES.get(table.name) == table
    if is_of_shop and any(i.is_folder and i.name.startswith(PREFIX) for i in folders.items()):
        return _Both(folders, _Years(lake, table, declared))
    return folders


class _Years(PlacedListing):
    def __init__(self, lake: Lake, table: Table, declared: Declared) -> None:
        place = f"{RAW}/{table.name}/{_FOLDERS}"
        super().__init__(lake, table, replace(declared, path=place))

    def _name(self, path: str) -> str:
        return f"{RAW}/{self.table.name}/{path}"

    def refuse_misplaced(self, days: Collection[date]) -> None:
        version = self._version()
        for entry in self._entries.get(None, []):
            is_here = entry.path.startswith(PREFIX) and format_of(entry.path) is not None
            is_shown = not any(is_hidden(name) for name in entry.path.split("/"))
            if is_here and is_shown and (version is None or entry.path in version):
                raise RawDataError(
                    f"{printable(self._name(entry.path))}: the file is read for no day; expected "
                    f"folders {PREFIX}YYYY/month=MM/day=DD. Move it away, or into one of these."
                )


class _Both(Listing):
    """Two listings of one folder; each lets be what is the other's."""

    def __init__(self, folders: Listing, years: _Years) -> None:
        super().__init__(folders.raw, folders.table, folders.declared)
        self._folders, self._years = folders, years
        self.empty_day = folders.empty_day  # type: ignore[misc]
        folders.others = PREFIX

    def items(self) -> Sequence[Item]:
        return self._folders.items()

    def has_files(self, folder: str) -> bool:
        return self._folders.has_files(folder)

    def days(self) -> set[date]:
        return self._folders.days() | self._years.days()

    def day(self, day: date) -> DayFiles | None:
        found = [of for of in (self._folders.day(day), self._years.day(day)) if of is not None]
        if not found:
            return None
        files = sorted((file for of in found for file in of.files), key=lambda file: file.name)
        return DayFiles(tuple(files), tuple(name for of in found for name in of.leftovers))

    def flat(self) -> list[RawFile]:
        return self._folders.flat()

    def refuse_misplaced(self, days: Collection[date]) -> None:
        self._folders.refuse_misplaced(days)
        self._years.refuse_misplaced(days)

    def _below(self, path: str) -> Sequence[Entry]:
        return self._folders._below(path)

    def _marks(self) -> Sequence[str]:
        return self._folders._marks()
