"""Which days a raw table has, where it begins, and the files of its days."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Final, Literal

from training_assets.errors import RawDataError
from training_assets.lake import Lake, LocalStore
from training_assets.schemas import RAW_INTERACTIONS, VIEW, Table
from training_assets.sources.columns import printable
from training_assets.sources.declared import declarations
from training_assets.sources.flat import flat_days
from training_assets.sources.listing import Listing, RawFile, fingerprint, whole_file
from training_assets.sources.local import LocalListing
from training_assets.sources.placed import PlacedListing
from training_assets.sources.remote import RemoteListing
from training_assets.sources.years import with_years

_MAX_GAP_DAYS: Final = 366
_MIN_SHARE: Final = 10
_MAX_SHOWN: Final = 3


@dataclass(frozen=True)
class SourceDays:
    """The days that a raw table has: those with a folder, and those with rows in a flat file.

    ``first`` is the day on which the source begins, None where it has no day at all: such a source
    is absent, begins nowhere and blocks nothing. ``far`` are days far from all others, as
    1970-01-01 and 9999-12-31 are; they begin nothing.
    """

    days: tuple[date, ...]
    first: date | None
    far: tuple[date, ...]
    listing: Listing | None = field(default=None, repr=False, compare=False)

    @property
    def near(self) -> list[date]:
        """Days without the far ones, oldest first."""
        far = set(self.far)
        return [day for day in self.days if day not in far]

    @classmethod
    def of(cls, days: Iterable[date], listing: Listing | None = None) -> "SourceDays":
        ordered = sorted(set(days))
        far = _far_days(ordered)
        near = [day for day in ordered if day not in far]
        return cls(tuple(ordered), near[0] if near else None, tuple(sorted(far)), listing)


def _far_days(days: Sequence[date]) -> set[date]:
    """Of groups with more than a year between them, those that are small beside the largest."""
    groups: list[list[date]] = []
    for day in days:
        if groups and (day - groups[-1][-1]).days <= _MAX_GAP_DAYS:
            groups[-1].append(day)
        else:
            groups.append([day])
    largest = max(map(len, groups), default=0)
    small = [g for g in groups if len(g) * _MIN_SHARE < largest or len(g) == 1 < largest]
    return {day for group in small for day in group}


def source_days(lake: Lake, table: Table) -> SourceDays:
    """Look at which days the table has.

    On an object store that lists the table, once for all that is asked of these days later on.
    Raises ``RawDataError`` where a folder cannot be listed or a flat file cannot be read.
    """
    if declarations(lake).of(table).is_absent:
        return SourceDays.of([])
    listing = _open_listing(lake, table)
    days = listing.days()
    flat = {file.name: file for file in listing.flat()}
    for name, size, stamp in fingerprint(table, None, flat.values()):
        found = flat_days(lake, table, whole_file(flat[name]), size, stamp)
        days |= {date.fromisoformat(day) for day in found}
    return SourceDays.of(days, listing)


def engagement_of(
    lake: Lake, days_of: Callable[[Table], SourceDays] | None = None
) -> Literal["view", "click"]:
    """What counts as engagement: as it is declared, else by what the shop delivers.

    An event stream has views, and so has a source of them, whatever lies in a window.
    """
    found = declarations(lake)
    if found.engagement:
        return "view" if found.engagement == "view" else "click"
    look = days_of or partial(source_days, lake)
    views = (table for table in found.further if table.action_type == VIEW)
    return "view" if any(look(table).days for table in (RAW_INTERACTIONS, *views)) else "click"


def _open_listing(lake: Lake, table: Table) -> Listing:
    declared, raw = declarations(lake).of(table), lake.raw
    if declared.path:
        return PlacedListing(lake, table, declared)
    folders: Listing
    if isinstance(raw, LocalStore):
        folders = LocalListing(raw, table, declared)
    else:
        folders = RemoteListing(raw, table, declared)
    return with_years(lake, table, declared, folders)


def files_of_days(
    lake: Lake,
    table: Table,
    days: Collection[date],
    known: SourceDays | None = None,
    *,
    allow_missing: bool = False,
) -> list[RawFile]:
    """The files of ``days``, and the flat ones.

    A day before the first of the source has none. Raises ``RawDataError`` for a later one without
    a folder, unless ``allow_missing`` or a flat file may speak of it; for one that is unfinished,
    for files that lie where no day is read from, and for a source that is declared and has no day
    at all.
    """
    declared = declarations(lake)
    if declared.of(table).is_absent:
        return []
    known = known or source_days(lake, table)
    listing = known.listing or _open_listing(lake, table)
    listing.refuse_misplaced(days)
    if table.name in declared.sources and not known.days and not allow_missing:
        raise _nothing_declared(listing, declared.where)
    flat = listing.flat()
    files: list[RawFile] = []
    for day in days:
        found = listing.day(day)
        if found is None:
            is_expected = known.first is not None and day >= known.first
            if is_expected and not allow_missing and not flat:
                raise _missing(listing, day)
            continue
        if found.leftovers and not found.files:
            raise _unfinished(listing, day, found.leftovers)
        files += found.files
    return files + flat


def _missing(listing: Listing, day: date) -> RawDataError:
    return RawDataError(
        f"{listing.table.name}: raw day {day} is missing; expected the folder "
        f"{listing.folder_of(day)} ({listing.empty_day}). Deliver the day, or set "
        "TRAINING_ASSETS_MISSING_RAW=empty to take absent days as days without rows."
    )


def _nothing_declared(listing: Listing, where: str) -> RawDataError:
    place = listing.declared.path or listing.place.url
    return RawDataError(
        f"{listing.table.name}: {where} declares the source, and there is no day of it at "
        f"{printable(place)}; expected at least one file. Deliver a day, correct the path, or "
        f"write [{listing.table.name}] absent = true as long as there is none."
    )


def _unfinished(listing: Listing, day: date, leftovers: Sequence[str]) -> RawDataError:
    more = f" and {len(leftovers) - _MAX_SHOWN} more" if len(leftovers) > _MAX_SHOWN else ""
    return RawDataError(
        f"{listing.table.name}: raw day {day} holds only what an unfinished writer left "
        f"({printable(', '.join(leftovers[:_MAX_SHOWN]))}{more}); expected data, or the "
        f"folder {listing.folder_of(day)} ({listing.empty_day}). Deliver the day again, or remove "
        "what is left of it."
    )
