"""What a feature is computed from: counts, sums and others over actions, and formulas of them.

A measure is a small tree. Its leaves say what is to be collected, as data, so that one pass over
the actions collects for all features at once; its inner nodes are row-wise arithmetic:

    Ratio(count("order", where="is_purchase"), count(ENGAGEMENT))

``of`` and ``where`` are Spark SQL over the columns of an action, see ``actions.py``: day,
customer_id, item_id, kind, at_micros, sort_micros, rating, rating_units, quantity, unit_price,
worth, is_purchase, is_return, times (1, or how often an item was shown), and for users
is_session_start and session_micros.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from pyspark.sql import Column, Window
from pyspark.sql import functions as F

KIND_CODES: Final = {"shown": 0, "click": 1, "add_to_cart": 2, "order": 3, "view": 4, "like": 5}
# A row of this kind is an order that was taken back, as published actions have it.
RETURN_CODE: Final = 6
ACTIONS: Final = ("click", "add_to_cart", "order", "view", "like")
# Views where the shop has them, else clicks: which of the two is an argument of the build.
ENGAGEMENT: Final = "engagement"
KIND_WEIGHTS: Final = {"view": 1, "click": 2, "like": 3, "add_to_cart": 4, "order": 5}


class Values(Protocol):
    """Where the leaves of a measure have their values while a row is computed."""

    def __call__(self, leaf: "Leaf") -> Column: ...


class Measure(ABC):
    """Something that has one value per row of a feature table."""

    @abstractmethod
    def leaves(self) -> Iterator["Leaf"]:
        """All leaves, in order, repeats included."""

    @abstractmethod
    def column(self, values: Values) -> Column:
        """The value, given those of the leaves."""


class Leaf(Measure):
    """A measure that is collected, not computed."""

    def leaves(self) -> Iterator["Leaf"]:
        yield self

    def column(self, values: Values) -> Column:
        return values(self)


@dataclass(frozen=True)
class Fold(Leaf):
    """A sum, minimum or maximum over actions, or the number of days that have one.

    ``window`` is in days before dt, cut to the look-back; None is the look-back itself.
    """

    operation: Literal["sum", "min", "max", "days"]
    of: str = "1"
    kinds: tuple[str, ...] = ACTIONS
    where: str | None = None
    window: int | None = None

    def of_day(self, engagement: str) -> Column:
        """The aggregate over the actions of one day."""
        codes = [KIND_CODES[engagement if kind == ENGAGEMENT else kind] for kind in self.kinds]
        counts = F.col("kind").isin(codes)
        if self.where is not None:
            counts = counts & F.expr(self.where)
        value = F.when(counts, F.expr(self.of))
        return F.max(value) if self.operation == "days" else self._merge(value)

    def of_days(self, collected: Column) -> Column:
        """The aggregate over what was collected of several days."""
        return self._merge(collected)

    def _merge(self, value: Column) -> Column:
        return {"min": F.min, "max": F.max}.get(self.operation, F.sum)(value)

    def __str__(self) -> str:
        what = {"sum": f"sum of {self.of} over", "days": "days with"}.get(
            self.operation, f"{self.operation} of {self.of} over"
        )
        if self.operation == "sum" and self.of == "1":
            what = "count of"
        which = "actions" if self.kinds == ACTIONS else " or ".join(self.kinds)
        condition = f" where {self.where}" if self.where else ""
        window = f" in {self.window} days" if self.window else ""
        return f"{what} {which}{condition}{window}"


@dataclass(frozen=True)
class Distinct(Leaf):
    """How many items a customer acted on, or how many customers acted on an item."""

    def __str__(self) -> str:
        return "distinct items (of a customer) or customers (of an item)"


@dataclass(frozen=True)
class Favorite(Leaf):
    """A customer's category with most actions: its name, or its number of actions."""

    part: Literal["name", "actions"]

    def __str__(self) -> str:
        return f"category with most actions: its {self.part}"


@dataclass(frozen=True)
class PurchasedCategories(Leaf):
    """How many known categories a customer purchased from."""

    def __str__(self) -> str:
        return "distinct categories purchased"


@dataclass(frozen=True)
class RecentItems(Leaf):
    """The last ``length`` distinct items of a customer, newest first."""

    length: int

    def __str__(self) -> str:
        return f"last {self.length} distinct items"


# Collected from (customer, item) pairs, all others from actions one by one.
PAIR_LEAVES: Final = (Distinct, Favorite, PurchasedCategories, RecentItems)


@dataclass(frozen=True)
class Given(Leaf):
    """Something that is there as of dt: a column of the row itself, of the catalogue, of the
    customer (a user feature) or of the pair; or an argument of the build."""

    source: Literal["row", "catalogue", "customer", "pair", "setting"]
    name: str

    @property
    def column_name(self) -> str:
        """Its column while rows are computed; a pair's other columns may have any names."""
        return self.name if self.source == "row" else f"_{self.source}_{self.name}"

    def __str__(self) -> str:
        return f"{self.name} of the {self.source}"


@dataclass(frozen=True)
class Across(Measure):
    """The sum or minimum of a measure over the rows of a day, or of a day's ``by``."""

    operation: Literal["sum", "min"]
    measure: Measure
    by: Given | None = None

    def leaves(self) -> Iterator[Leaf]:
        yield from self.measure.leaves()
        if self.by is not None:
            yield self.by

    def column(self, values: Values) -> Column:
        rows = Window.partitionBy("dt", *([] if self.by is None else [values(self.by)]))
        value = self.measure.column(values)
        return (F.sum if self.operation == "sum" else F.min)(value).over(rows)

    def __str__(self) -> str:
        return f"{self.operation} over {self.by or 'all rows'} of ({self.measure})"


@dataclass(frozen=True)
class Formula(Measure):
    """Row-wise arithmetic on other measures; ``text`` is what the documents say of it."""

    text: str
    inputs: tuple[Measure, ...]
    compute: Callable[..., Column]

    def leaves(self) -> Iterator[Leaf]:
        for measure in self.inputs:
            yield from measure.leaves()

    def column(self, values: Values) -> Column:
        return self.compute(*(measure.column(values) for measure in self.inputs))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Ratio(Measure):
    """A quotient as double, null where ``under`` is 0; none counted is 0."""

    over: Measure
    under: Measure

    def leaves(self) -> Iterator[Leaf]:
        yield from self.over.leaves()
        yield from self.under.leaves()

    def column(self, values: Values) -> Column:
        return divide(zero_if_null(self.over.column(values)), self.under.column(values))

    def __str__(self) -> str:
        return f"({self.over}) / ({self.under})"


def divide(over: Column, under: Column) -> Column:
    """``over / under`` as double, null where ``under`` is 0."""
    return over.cast("double") / F.nullif(under.cast("double"), F.lit(0.0))


def zero_if_null(value: Column) -> Column:
    return F.coalesce(value, F.lit(0))


def count(*kinds: str, where: str | None = None, window: int | None = None) -> Fold:
    """Actions of these kinds, of all if none is named."""
    return Fold("sum", "1", kinds or ACTIONS, where, window)


def total(of: str, *kinds: str, where: str | None = None, window: int | None = None) -> Fold:
    return Fold("sum", of, kinds or ACTIONS, where, window)


def first(of: str, *kinds: str, where: str | None = None, window: int | None = None) -> Fold:
    return Fold("min", of, kinds or ACTIONS, where, window)


def last(of: str, *kinds: str, where: str | None = None, window: int | None = None) -> Fold:
    return Fold("max", of, kinds or ACTIONS, where, window)


def days(*kinds: str, where: str | None = None, window: int | None = None) -> Fold:
    """Distinct days with such an action."""
    return Fold("days", "1", kinds or ACTIONS, where, window)


def mean(of: str, *kinds: str, where: str | None = None, window: int | None = None) -> Ratio:
    """Sum of ``of`` over how many have it; null where none has."""
    known = f"{of} is not null" + (f" and {where}" if where else "")
    return Ratio(
        total(of, *kinds, where=where, window=window), count(*kinds, where=known, window=window)
    )
