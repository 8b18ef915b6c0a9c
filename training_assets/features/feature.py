"""What a feature and a table of features are; columns, documents and checks derive from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pyspark.sql import Column
from pyspark.sql import functions as F

from training_assets.errors import SettingsError
from training_assets.features.measures import ACTIONS, Fold, Given, Leaf, Measure

_ID_LIST: Final = "array<long>"
# Arguments of the build that measures may ask for, by name.
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Feature:
    """One column of a feature table.

    ``type`` is Spark DDL. ``empty`` is the value where nothing was there to be counted: 0 or null.
    ``low`` and ``high`` are the range in which a value must lie, both included; None is open.
    """

    name: str
    type: str
    description: str
    measure: Measure
    empty: Literal[0] | None = None
    low: float | None = None
    high: float | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of actions, or what else, that it is computed from, in a fixed order."""
        found: dict[str, None] = {}
        for leaf in self.measure.leaves():
            names = leaf.kinds if isinstance(leaf, Fold) else _source(leaf)
            found.update(dict.fromkeys(names))
        return tuple(found)

    @property
    def windows(self) -> tuple[int, ...]:
        """Windows of its own in days, ascending; empty where it counts the look-back."""
        leaves = [leaf for leaf in self.measure.leaves() if isinstance(leaf, Fold)]
        return tuple(sorted({leaf.window for leaf in leaves if leaf.window is not None}))

    @property
    def has_lookback(self) -> bool:
        """Whether it can be had for windows of any other length."""
        collected = [leaf for leaf in self.measure.leaves() if not isinstance(leaf, Given)]
        return bool(collected) and not self.windows

    def column(self, values: "RowValues") -> Column:
        kind = "array<string>" if self.type == _ID_LIST and values.is_text_id else self.type
        value = self.measure.column(values).cast(kind)
        return value if self.empty is None else F.coalesce(value, F.lit(self.empty).cast(kind))


def number(name: str, description: str, measure: Measure) -> Feature:
    """A count: long, 0 where nothing was there to be counted."""
    return Feature(name, "long", description, measure, empty=0, low=0)


def _source(leaf: Leaf) -> tuple[str, ...]:
    if not isinstance(leaf, Given):
        return ACTIONS
    return () if leaf.source in ("row", "setting") else (leaf.source,)


@dataclass(frozen=True)
class FeatureTable:
    """A table with a row per ``key`` and day; ``given`` are the columns that formulas may name."""

    name: str
    grain: str
    key: tuple[str, ...]
    features: tuple[Feature, ...]
    given: tuple[Given, ...] = ()
    leaves: tuple[type[Leaf], ...] = ()

    def __post_init__(self) -> None:
        seen = {"dt", *self.key}
        for feature in self.features:
            where = f"{self.name}.{feature.name}"
            if feature.name in seen:
                raise SettingsError(
                    f"{where}: the name is taken; expected one that the table does not have. "
                    "Rename the feature."
                )
            seen.add(feature.name)
            self._require_known(where, feature)

    def _require_known(self, where: str, feature: Feature) -> None:
        for leaf in feature.measure.leaves():
            if not isinstance(leaf, self.leaves):
                allowed = ", ".join(kind.__name__ for kind in self.leaves)
                raise SettingsError(
                    f"{where}: {type(leaf).__name__} cannot be collected for {self.name}; "
                    f"expected one of {allowed}. Declare it for another table."
                )
            if isinstance(leaf, Given) and leaf not in self.given:
                raise SettingsError(
                    f"{where}: {leaf} is unknown; expected one of "
                    f"{', '.join(str(given) for given in self.given)}. Correct the name."
                )

    def extended(self, features: tuple[Feature, ...]) -> "FeatureTable":
        """With further columns on the right."""
        return replace(self, features=self.features + features)

    def leaves_wanted(self) -> list[Leaf]:
        """All leaves of all features, each once, in order."""
        leaves = (leaf for feature in self.features for leaf in feature.measure.leaves())
        return list(dict.fromkeys(leaves))


@dataclass(frozen=True)
class RowValues:
    """Values of leaves in one row: of what was collected in ``window``, of columns, of settings."""

    names: Mapping[tuple[Leaf, int], str]
    window: int
    settings: Settings
    is_text_id: bool = False

    def __call__(self, leaf: Leaf) -> Column:
        if isinstance(leaf, Given):
            if leaf.source == "setting":
                return F.lit(self.settings[leaf.name])
            return F.col(leaf.column_name)
        own = leaf.window if isinstance(leaf, Fold) else None
        longest = max(window for _, window in self.names)
        return F.col(self.names[leaf, self.window if own is None else min(own, longest)])
