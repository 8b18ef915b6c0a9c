"""What a table is built from, as its specification declares it."""

from dataclasses import dataclass
from typing import Any, Literal

from training_assets.lake import Lake
from training_assets.schemas import Table
from training_assets.sources import further_sources


@dataclass(frozen=True)
class BuiltFrom:
    """Raw tables of the same day, days of other tables, and settings by their names.

    ``constants`` are what else decides the rows, as the version of a declaration, by name;
    ``optional`` are raw tables of which it decides whether they are delivered at all.
    ``days`` are those that the table has: every one, those from the first delivered one on, or
    only those that are delivered. A day of a table that ``accumulates`` is made of all deliveries
    up to it. One that ``takes_further`` is also made of the sources of actions that the lake's
    ``sources.toml`` adds.
    """

    table: Table
    sources: tuple[Table, ...] = ()
    upstream: tuple["Upstream", ...] = ()
    settings: tuple[str, ...] = ()
    constants: tuple[tuple[str, Any], ...] = ()
    optional: tuple[Table, ...] = ()
    days: Literal["every", "from first", "delivered"] = "every"
    accumulates: bool = False
    takes_further: bool = False

    def sources_in(self, lake: Lake) -> tuple[Table, ...]:
        """Raw tables of the same day, with those that the lake declares."""
        return (*self.sources, *further_sources(lake)) if self.takes_further else self.sources


@dataclass(frozen=True)
class Upstream:
    """Another table: the same day of it, all days of the look-back before the day, or both.

    Of one that ``is_optional`` is read what is published; the day can be built without it.
    """

    of: BuiltFrom
    window: Literal["same day", "look-back", "look-back and day"]
    is_optional: bool = False

    @property
    def looks_back(self) -> bool:
        return self.window != "same day"

    @property
    def has_day(self) -> bool:
        """Whether the day itself is read."""
        return self.window != "look-back"

    @property
    def name(self) -> str:
        return self.of.table.name
