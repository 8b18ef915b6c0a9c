"""What the platform knows of a table, in one object."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from training_assets.checks import Check, CheckContext
from training_assets.lake import Lake
from training_assets.provenance import BuiltFrom
from training_assets.schemas import Table
from training_assets.settings import Settings
from training_assets.tables.build import Build, NewFiles

Metrics = Mapping[date, Mapping[str, Any]]


@dataclass(frozen=True)
class TableSpec:
    """A table: what it is built from, how, what must hold of it, and what is counted.

    ``build`` writes the files of days, all in one pass, and returns them by day. ``rejects`` says
    that rows of the sources which cannot be used are kept with the day. ``describe`` is the text
    that a person reads in the UI, without the grain. ``watched_elsewhere`` are columns of other
    tables, whose values are watched there. ``kept`` says for how long a day stays; where it is not
    said, a table that looks back is kept like features, and one made of raw data alone like those.
    """

    built_from: BuiltFrom
    describe: Callable[[Settings], str]
    build: Callable[[Build, Sequence[date]], Mapping[date, NewFiles]]
    checks: tuple[Check, ...]
    metrics: Callable[[CheckContext], Metrics]
    rejects: bool = False
    group: str = "training"
    watched_elsewhere: tuple[str, ...] = ()
    kept: Literal["", "raw", "features", "training"] = ""

    @property
    def table(self) -> Table:
        return self.built_from.table

    @property
    def name(self) -> str:
        return self.table.name

    def rejected_sources(self, lake: Lake) -> tuple[Table, ...]:
        """Raw tables whose rejected rows are kept with the days of this table."""
        return self.built_from.sources_in(lake) if self.rejects else ()
