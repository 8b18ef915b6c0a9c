"""One build: which table, which days, which windows, and the columns in between."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training_assets.errors import SettingsError
from training_assets.features.calendar import (
    UNLIMITED_DAYS,
    Calendar,
    KnownDays,
    date_of,
    known_days,
)
from training_assets.features.collect import name_leaves
from training_assets.features.feature import FeatureTable, RowValues
from training_assets.features.inputs import require_lookback
from training_assets.features.measures import Leaf
from training_assets.features.vocabulary import TOTAL

_ENGAGEMENTS = ("view", "click")


@dataclass(frozen=True)
class Plan:
    """``windows`` in days: the look-back first, then the shorter ones that get columns too."""

    table: FeatureTable
    calendar: Calendar
    windows: tuple[int, ...]
    engagement: str
    names: Mapping[tuple[Leaf, int], str]

    def collects(self, kinds: tuple[type[Leaf], ...]) -> bool:
        return any(isinstance(leaf, kinds) for leaf, _ in self.names)

    @property
    def edges(self) -> list[int]:
        """Where stretches of days begin that count alike, and the day after the last."""
        assert isinstance(self.calendar, KnownDays)
        return self.calendar.edges

    @property
    def total(self) -> Column:
        """Actions in the look-back."""
        return F.col(self.names[TOTAL, self.windows[0]])

    def select(
        self,
        frame: DataFrame,
        *,
        is_text_id: bool,
        keep: Iterable[str] = (),
        **settings: Any,
    ) -> DataFrame:
        """dt, key, ``keep``, all features; those of shorter windows as ``<name>_<days>d``."""
        given = {"is_view_engagement": self.engagement == "view", "impressions_given": False}

        def columns() -> Iterator[Column]:
            for window in self.windows:
                of_window = {**given, **settings, "lookback_days": window}
                values = RowValues(self.names, window, of_window, is_text_id)
                for feature in self.table.features:
                    if window == self.windows[0]:
                        yield feature.column(values).alias(feature.name)
                    elif feature.has_lookback:
                        yield feature.column(values).alias(f"{feature.name}_{window}d")

        dt = date_of(F.col("dt")).alias("dt")
        return frame.select(dt, *self.table.key, *keep, *columns())


def plan_of_days(
    table: FeatureTable, days: Iterable[date | str], *, where: str, **options: Any
) -> Plan:
    """A plan of days that are known; ``options`` and errors as of ``make_plan``."""
    return make_plan(
        table, lambda lengths: known_days(days, lengths, where), where=where, **options
    )


def make_plan(
    table: FeatureTable,
    calendar: Callable[[Iterable[int]], Calendar],
    *,
    lookback_days: int | None,
    windows: Iterable[int] = (),
    engagement: str = "view",
    where: str,
) -> Plan:
    """``calendar`` makes one of the windows in days that have to be told apart.

    Raises ``SettingsError`` for a look-back or window below 1, a window longer than the look-back,
    or an engagement that is neither view nor click.
    """
    require_lookback(lookback_days, where)
    longest = UNLIMITED_DAYS if lookback_days is None else lookback_days
    if engagement not in _ENGAGEMENTS:
        raise SettingsError(
            f"{where}: engagement is {engagement!r}; expected 'view' or 'click'. Name the kind of "
            "action that the shop records for every visit to an item."
        )
    shorter = sorted(set(windows) - {longest}, reverse=True)
    for window in shorter:
        if not 1 <= window < longest:
            raise SettingsError(
                f"{where}: windows holds {window}; expected 1 to lookback_days ({lookback_days}). "
                "Raise lookback_days or leave the window out."
            )
    names = name_leaves([TOTAL, *table.leaves_wanted()], (longest, *shorter))
    told_apart = {window for _, window in names}
    return Plan(table, calendar(told_apart), (longest, *shorter), engagement, names)
