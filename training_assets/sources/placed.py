"""Raw files in a place that ``sources.toml`` declares, on any store.

    path = "s3://events/clicks/year={year}/month={month}/day={day}"   a folder for each day
    path = "exports/clicks-{yyyymmdd}"                                or files that are named so
    path = "warehouse/orders"                                         flat: rows tell their day
    path = "warehouse/orders.csv.gz"                                  the same, one file

A path that begins with neither ``/`` nor a scheme is relative to the lake.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date
from functools import cached_property
from typing import Final

from training_assets.errors import RawDataError
from training_assets.lake import Entry, Lake, open_store
from training_assets.lake.log import LOG
from training_assets.schemas import Table
from training_assets.sources.columns import printable
from training_assets.sources.declared import Declared
from training_assets.sources.layout import format_of, is_hidden, is_leftover
from training_assets.sources.listing import DayFiles, Item, Listing, RawFile

# Of days that are times at midnight, as some writers name folders, percent-encoded or not.
_MIDNIGHT: Final = r"(?:(?:[ T]|%20)00(?:(?::|%3A)00){1,2}(?:\.0+)?(?:Z|\+00:00|%2B00%3A00)?)?"
_PATTERNS: Final = {
    "dt": rf"(?P<dt>\d{{4}}-\d{{2}}-\d{{2}}){_MIDNIGHT}",
    "yyyymmdd": r"(?P<yyyymmdd>\d{8})",
    "year": r"(?P<year>\d{4})",
    "month": r"(?P<month>\d{1,2})",
    "day": r"(?P<day>\d{1,2})",
    "hour": r"\d{1,2}",
}


class PlacedListing(Listing):
    """Looks once; what was there then stays."""

    empty_day = "with a file _SUCCESS, where the day has no rows"

    def __init__(self, lake: Lake, table: Table, declared: Declared) -> None:
        super().__init__(lake.raw, table, declared)
        # The folder before the first place-holder is the place; the rest is looked for in it.
        whole = (
            declared.path if _is_absolute(declared.path) else f"{lake.store.url}/{declared.path}"
        )
        fixed = re.split(r"\{", whole, maxsplit=1)[0]
        self._only = ""
        if fixed == whole and format_of(whole) is not None:
            base, _, self._only = whole.rpartition("/")
        else:
            base = fixed.rpartition("/")[0] if fixed != whole else whole
        self.place = self._place = open_store(base or "/")
        self._template = "" if self._only else whole[len(base) :].strip("/")
        self._pattern = re.compile(_as_pattern(self._template) + r"(?P<rest>.*)", re.DOTALL)

    @cached_property
    def _entries(self) -> dict[date | None, list[Entry]]:
        """By day; what is of no day under None."""
        found: dict[date | None, list[Entry]] = defaultdict(list)
        for entry in self._place.list():
            if self._only and not f"{entry.path}/".startswith(f"{self._only}/"):
                # What Spark writes as orders.parquet is a folder.
                continue
            found[self._day_at(entry.path) if self._template else None].append(entry)
        return found

    def _day_at(self, path: str) -> date | None:
        if not (match := self._pattern.match(path)):
            return None
        of = match.groupdict()
        try:
            if of.get("dt"):
                return date.fromisoformat(of["dt"])
            if digits := of.get("yyyymmdd"):
                return date.fromisoformat(digits)
            return date(int(of["year"]), int(of["month"]), int(of["day"]))
        except ValueError:
            return None

    def items(self) -> Sequence[Item]:
        return [Item(entry.path, False) for entry in self._entries.get(None, [])]

    def has_files(self, folder: str) -> bool:
        return any(e.path.startswith(f"{folder}/") for of in self._entries.values() for e in of)

    def day(self, day: date) -> DayFiles | None:
        entries = self._entries.get(day)
        if not self._template or not entries:
            return None
        hidden = [entry.path for entry in entries if _hidden(entry.path)]
        names = (path for path in hidden if LOG not in path.split("/"))
        leftovers = tuple(path for path in names if is_leftover(path.rpartition("/")[2]))
        shown = {entry.path: entry for entry in entries if not _hidden(entry.path)}
        paths = self._of_version(list(shown), hidden, lambda path: self._day_at(path) == day)
        if not paths and self._version() is not None:
            return None
        return DayFiles(tuple(self._of(shown[path], day) for path in paths), leftovers)

    def days(self) -> set[date]:
        if (version := self._version()) is not None:
            return {day for path in version if (day := self._day_at(path)) is not None}
        return {day for day in self._entries if day is not None}

    def flat(self) -> list[RawFile]:
        if self._template:
            return []
        found = self._entries.get(None, [])
        shown = {entry.path: entry for entry in found if not _hidden(entry.path)}
        paths = self._of_version(list(shown), (), lambda _: True)
        return [self._of(shown[path], None) for path in paths]

    def _below(self, path: str) -> Sequence[Entry]:
        found = (entry for of in self._entries.values() for entry in of)
        return [entry for entry in found if entry.path.startswith(f"{path}/")]

    def _marks(self) -> list[str]:
        paths = [entry.path for entry in self._entries.get(None, [])]
        return [path for path in paths if _hidden(path) or "metadata" in path.split("/")]

    def folder_of(self, day: date) -> str:
        parts = {
            "dt": str(day),
            "yyyymmdd": f"{day:%Y%m%d}",
            "year": f"{day:%Y}",
            "month": f"{day:%m}",
            "day": f"{day:%d}",
            "hour": "*",
        }
        return self._place.uri(re.sub(r"\{(\w+)\}", lambda m: parts[m[1]], self._template))

    def refuse_misplaced(self, days: Collection[date]) -> None:
        """Raise for files of the place that are of no day: their rows would be missing."""
        if not self._template:
            return
        version = self._version()
        for entry in self._entries.get(None, []):
            if version is not None and entry.path not in version:
                continue
            if not _hidden(entry.path) and format_of(entry.path) is not None:
                raise RawDataError(
                    f"{printable(self._place.uri(entry.path))}: the file is read for no day; "
                    f"expected {self._place.uri(self._template)} as {self.declared.name} are "
                    "declared in sources.toml. Move it away, or correct the path there."
                )

    def _name(self, path: str) -> str:
        return self._place.uri(path)

    def _of(self, entry: Entry, day: date | None) -> RawFile:
        stamp: int | str = entry.modified_ns
        if entry.etag:
            stamp = entry.etag if entry.etag.startswith('"') else f'"{entry.etag}"'
        return self._file(entry.path, day, entry.size, stamp)

    def _uri(self, path: str) -> str:
        return self._place.uri(path)


def _is_absolute(path: str) -> bool:
    return path.startswith(("/", "~")) or "://" in path


def _as_pattern(template: str) -> str:
    parts = re.split(r"\{(\w+)\}", template)
    seen: set[str] = set()
    out = ""
    for number, part in enumerate(parts):
        if number % 2 == 0:
            out += re.escape(part)
        elif part in seen:
            out += f"(?P={part})"
        else:
            seen.add(part)
            out += _PATTERNS[part]
    # A folder of a day, or a name that goes on after it with something that is no digit.
    return out + (r"(?=[/._-]|$)" if template else "")


def _hidden(path: str) -> bool:
    return any(is_hidden(name) for name in path.split("/"))
