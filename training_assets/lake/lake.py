"""The lake: all tables of one place, as they are published at a moment."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from training_assets.lake.snapshot import Snapshot, open_snapshot
from training_assets.lake.store import Location, Store, open_store

RAW: Final = "raw"


@dataclass(frozen=True)
class Lake:
    """All tables under one root, a local path or an object store's URL.

    A table is looked up when it is first asked for and then stays as it was, until ``refresh``.
    """

    store: Store
    _snapshots: dict[str, Snapshot] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def at(cls, location: "Location | Store | Lake") -> "Lake":
        """Raises ``SettingsError`` for a URL that cannot be one of a lake."""
        return location if isinstance(location, Lake) else cls(open_store(location))

    @property
    def raw(self) -> Store:
        return self.store.child(RAW)

    def table_store(self, table: str) -> Store:
        return self.store.child(table)

    def snapshot(self, table: str, version: int | datetime | None = None) -> Snapshot:
        """The table as it was when first looked at, or an older version by number or time."""
        if version is not None:
            return open_snapshot(self.table_store(table), table, version)
        if table not in self._snapshots:
            self._snapshots[table] = open_snapshot(self.table_store(table), table)
        return self._snapshots[table]

    def refresh(self, *tables: str) -> None:
        """Look again at these tables, or at all, when they are asked for."""
        for table in tables or list(self._snapshots):
            self._snapshots.pop(table, None)

    def days(self, table: str) -> list[date]:
        """Published days, oldest first."""
        return self.snapshot(table).days

    def manifest(self, table: str, day: date) -> dict[str, Any]:
        """What a published day was built from; raises ``DayNotPublishedError``."""
        return self.snapshot(table).manifest(day)


def day_range(first: date, last: date) -> list[date]:
    """All days from ``first`` to ``last``, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def contiguous(days: Iterable[date]) -> list[list[date]]:
    """Days in groups of consecutive ones, oldest first."""
    groups: list[list[date]] = []
    for day in sorted(days):
        if groups and day.toordinal() - groups[-1][-1].toordinal() == 1:
            groups[-1].append(day)
        else:
            groups.append([day])
    return groups


def days_in_words(days: Iterable[date]) -> str:
    """``2024-05-01, 2024-05-03..2024-05-05``."""
    return ", ".join(
        str(group[0]) if len(group) == 1 else f"{group[0]}..{group[-1]}"
        for group in contiguous(days)
    )
