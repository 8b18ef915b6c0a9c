"""Literal cases of features, each a small shop of its own, computed together in one build.

A case speaks of customers and items 1, 2, 3 and of days before DAY. Together in one input, each
gets ids, categories and, where it looks at the whole shop, days of its own; the result is told in
the words of the case again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from training_assets_tests.support.feature_frames import DAY, Row, action, at, before

CLICK, CART, ORDER, VIEW, LIKE = 1, 2, 3, 4, 5
_IDS = 100
_DAYS = 1_000
_ID_COLUMNS = ("customer_id", "item_id")
_WORD_COLUMNS = ("category", "subcategory", "brand")


@dataclass(frozen=True)
class Case:
    """``name`` is the sentence that holds; ``expected`` the value of ``feature`` on DAY.

    It is that of customer 1 and item 1. ``is_apart``: nothing else may be in the shop.
    """

    name: str
    feature: str
    expected: Any
    actions: list[Row] = field(default_factory=list)
    items: list[Row] = field(default_factory=list)
    pair: Row = field(default_factory=dict)
    is_apart: bool = False


def act(kind: int, days_ago: int, clock: str | None = None, **more: Any) -> Row:
    """An action of customer 1 on item 1, so many days before DAY."""
    keys = {"customer": 1, "item": 1} | {
        name: more.pop(name) for name in ("customer", "item") if name in more
    }
    return action(keys["customer"], keys["item"], kind, before(days_ago), clock, **more)


def order(days_ago: int, **more: Any) -> Row:
    money = {name: Decimal(more.pop(name)) for name in ("price", "amount") if name in more}
    return act(ORDER, days_ago, **more, **money)


def listed(days_ago: int, item: int = 1, **more: Any) -> Row:
    """A snapshot of item 1."""
    if "price" in more:
        more["price"] = Decimal(more["price"])
    return {"dt": before(days_ago), "item_id": item, **more}


class Shop:
    """All cases in one input."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self.cases = {case.name: case for case in cases}
        names = list(self.cases)
        apart = [name for name in names if self.cases[name].is_apart]
        self._number = {name: number for number, name in enumerate(names, start=1)}
        self._shift = {
            name: timedelta(days=_DAYS * (apart.index(name) + 1)) if name in apart else timedelta()
            for name in names
        }

    @property
    def days(self) -> list[date]:
        return sorted({DAY + shift for shift in self._shift.values()})

    @property
    def actions(self) -> list[Row]:
        return self._rows(lambda case: case.actions)

    @property
    def items(self) -> list[Row]:
        return self._rows(lambda case: case.items)

    @property
    def pairs(self) -> list[Row]:
        plain = {"dt": DAY, "customer_id": 1, "item_id": 1}
        return self._rows(lambda case: [{**plain, **case.pair}])

    def key(self, name: str, *columns: str) -> tuple:
        """dt, and 1 for each id, as this case has them in the one input."""
        return (DAY + self._shift[name], *(self._id(name, 1) for _ in columns))

    def value(self, name: str, value: Any) -> Any:
        """A value of the one result in the words of the case."""
        if isinstance(value, str):
            return value.partition("#")[0]
        if isinstance(value, datetime):
            return value - self._shift[name]
        if isinstance(value, list):
            return [item - self._number[name] * _IDS for item in value]
        return value

    def _rows(self, of: Any) -> list[Row]:
        return [
            {column: self._shifted(name, column, value) for column, value in row.items()}
            for name, case in self.cases.items()
            for row in of(case)
        ]

    def _id(self, name: str, value: int) -> int:
        return self._number[name] * _IDS + value

    def _shifted(self, name: str, column: str, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if column in _ID_COLUMNS:
            return self._id(name, value)
        if column in _WORD_COLUMNS and value != "unknown":
            return f"{value}#{self._number[name]}"
        return value + self._shift[name] if isinstance(value, date) else value


TIME = at(before(1), "10:00")
