"""Features by plain loops over the actions of one customer or item, for the check to compare with.

Written from the contract, not from the declarations: nothing here is shared with what builds the
tables. ``dt`` is a day; actions are those of its look-back.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from typing import Any, Final, NamedTuple

CLICK, CART, ORDER, VIEW, LIKE = 1, 2, 3, 4, 5
# Stored as a type of its own, counted as an order that was taken back.
RETURN: Final = 6
NAMES: Final = {
    CLICK: "click",
    CART: "add_to_cart",
    ORDER: "order",
    VIEW: "view",
    LIKE: "like",
}
WEIGHTS: Final = {VIEW: 1, CLICK: 2, LIKE: 3, CART: 4, ORDER: 5}
_PAUSE_MICROS: Final = 30 * 60 * 1_000_000
_DAY_MICROS: Final = 86_400_000_000
_EPOCH: Final = date(1970, 1, 1)
_CENTS: Final = Decimal("0.0001")

Row = dict[str, Any]


class Action(NamedTuple):
    """``at`` in microseconds since 1970, None without a time of its own.

    ``unit_price`` is the price that was paid, else the catalogue's as of the day.
    """

    day: date
    customer: int
    item: int
    kind: int
    at: int | None
    session: str | None
    rating: float | None
    price: Decimal | None
    quantity: Decimal | None
    amount: Decimal | None
    unit_price: Decimal | None
    is_stored_return: bool = False

    @property
    def is_return(self) -> bool:
        given = (self.price, self.amount)
        is_taken_back = self.quantity is not None and self.quantity <= 0
        is_taken_back |= any(v is not None and v < 0 for v in given)
        return self.kind == ORDER and (is_taken_back or self.is_stored_return)

    @property
    def is_purchase(self) -> bool:
        return self.kind == ORDER and not self.is_return

    @property
    def worth(self) -> Decimal | None:
        if self.amount is not None:
            return self.amount
        if self.unit_price is None:
            return None
        return money(self.unit_price * (Decimal(1) if self.quantity is None else self.quantity))

    @property
    def newest(self) -> int:
        """Its time, else its day at midnight."""
        return (self.day - _EPOCH).days * _DAY_MICROS if self.at is None else self.at


def money(value: Any) -> Decimal | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return exact.quantize(_CENTS, ROUND_HALF_UP)


@dataclass(frozen=True)
class Catalogue:
    """The catalogue as of a day: rows by item."""

    rows: Mapping[int, Row] = field(default_factory=dict)

    def word(self, item: int, name: str) -> str | None:
        found = self.rows.get(item, {}).get(name)
        return None if found == "unknown" else found

    def price(self, item: int) -> Decimal | None:
        return money(self.rows.get(item, {}).get("price"))

    @cached_property
    def _prices(self) -> Mapping[str, Sequence[Decimal]]:
        found: dict[str, list[Decimal]] = {}
        for item in self.rows:
            if (price := self._ranked_price(item)) is not None:
                found.setdefault(str(self.word(item, "category")), []).append(price)
        return {category: sorted(prices) for category, prices in found.items()}

    def _ranked_price(self, item: int) -> Decimal | None:
        is_active = self.rows[item].get("is_active") is not False
        return self.price(item) if is_active and self.word(item, "category") is not None else None

    def percentile(self, item: int) -> float | None:
        price = self._ranked_price(item) if item in self.rows else None
        if price is None:
            return None
        prices = self._prices[str(self.word(item, "category"))]
        return bisect_left(prices, price) / (len(prices) - 1) if len(prices) > 1 else 0.0

    def attributes(self, item: int) -> set[tuple[str, Any]]:
        names = ("category", "subcategory", "brand")
        found: set[tuple[str, Any]] = {
            (name, word) for name in names if (word := self.word(item, name)) is not None
        }
        if (percentile := self.percentile(item)) is not None:
            found.add(("quartile", min(3, math.floor(4 * percentile))))
        return found


def user_row(own: Sequence[Action], catalogue: Catalogue, dt: date, engagement: int) -> Row:
    """What user_features says of a customer with at least one action."""
    counts = {kind: sum(a.kind == kind for a in own) for kind in NAMES}
    purchases = [a for a in own if a.is_purchase]
    prices = [a.unit_price for a in purchases if a.unit_price is not None]
    sessions = session_lengths(own)
    favorite, in_favorite = favorite_category(own, catalogue)
    bought = {catalogue.word(a.item, "category") for a in purchases} - {None}
    days = {a.day for a in own}
    since_first = (dt - min(days)).days
    return {
        "total_interactions": len(own),
        "total_purchases": len(purchases),
        "unique_items": len({a.item for a in own}),
        "days_active": len(days),
        **{f"count_{name}": counts[kind] for kind, name in NAMES.items()},
        **{f"share_{name}": counts[kind] / len(own) for kind, name in NAMES.items()},
        "avg_session_duration": _mean(sessions),
        "favorite_category": favorite,
        "avg_price_point": _mean(prices),
        "recency_days": (dt - max(days)).days,
        "last_interaction": max((a.at for a in own if a.at is not None), default=None),
        "frequency_score": len(own) / max(1, since_first / 7),
        "monetary_value": _monetary_value(own),
        "purchases_without_price": sum(a.worth is None for a in purchases),
        "diversity_score": _ratio(len(bought), len(purchases)),
        "conversion_rate": _ratio(len(purchases), counts[engagement]),
        "conversion_smoothed": (len(purchases) + 1) / (counts[engagement] + 20),
        "avg_rating": _mean(_ratings(own)),
        "recent_items": _recent_items(own),
        "sessions": len(sessions),
        "days_since_first": since_first,
        "favorite_category_share": None if favorite is None else in_favorite / len(own),
    }


@dataclass(frozen=True)
class Shop:
    """What an item's features need of all others: in the look-back of a day.

    ``engagements`` by item; ``first_day`` of any action; ``shown`` by item, None where nothing is
    said of what was shown.
    """

    catalogue: Catalogue
    engagements: Mapping[int, int]
    first_day: date | None
    shown: Mapping[int, int] | None

    @cached_property
    def by_category(self) -> Mapping[str | None, int]:
        found: dict[str | None, int] = {}
        for item, number in self.engagements.items():
            category = self.catalogue.word(item, "category")
            found[category] = found.get(category, 0) + number
        return found


def item_row(
    item: int,
    own: Sequence[Action],
    shop: Shop,
    dt: date,
    lookback_days: int | None,
    engagement: int,
) -> Row:
    """What item_features says of an item."""
    counts = {kind: sum(a.kind == kind for a in own) for kind in NAMES}
    purchases, rated = [a for a in own if a.is_purchase], _ratings(own)
    listed = shop.catalogue.rows.get(item, {})
    engaged = [(dt - a.day).days for a in own if a.kind == engagement]
    e7, base = sum(ago <= 7 for ago in engaged), sum(7 < ago <= 35 for ago in engaged)
    created = listed.get("created_at")
    born = created.date() if created is not None else min((a.day for a in own), default=None)
    age = None if born is None else (dt - born).days
    n = None if age is None else min(28, age - 7)
    if shop.shown is not None:
        under = shop.shown.get(item, 0)
    else:
        under = counts[VIEW] if engagement == VIEW else 0
    category, everywhere = shop.catalogue.word(item, "category"), sum(shop.engagements.values())
    points = sum(WEIGHTS[a.kind] for a in own)
    return {
        **{f"count_{name}": counts[kind] for kind, name in NAMES.items()},
        "unique_users": len({a.customer for a in own}),
        "rating_mean": _mean(rated),
        "rating_count": len(rated),
        "rating_std": _deviation(rated),
        "popularity_score": len(engaged) / _exposure(born, shop, dt, lookback_days),
        "conversion_rate": _ratio(len(purchases), len(engaged)),
        "conversion_smoothed": (len(purchases) + 1) / (len(engaged) + 20),
        "avg_rating": _mean(rated),
        "catalog_avg_rating": listed.get("avg_rating"),
        "price": shop.catalogue.price(item),
        "price_percentile": shop.catalogue.percentile(item),
        "recency_score": 1 / ((dt - max(a.day for a in purchases)).days + 1) if purchases else 0.0,
        "category_popularity": 0.0
        if category is None or not everywhere
        else shop.by_category.get(category, 0) / everywhere,
        "trending_score": None if not n or n <= 0 or not base else (e7 / 7) / (base / n),
        "trending_smoothed": (e7 + 1) / (7 * base / max(1, n or 1) + 1),
        "engagement_score": _ratio(points, 5 * len(own)),
        "purchase_rate": _ratio(len(purchases), len(own)),
        "click_through_rate": _ratio(counts[CLICK], under),
    }


def pair_row(item: int, at: int | None, own: Sequence[Action], catalogue: Catalogue) -> Row:
    """What pair_features says of a customer, with these actions before, and an item."""
    category, price = catalogue.word(item, "category"), catalogue.price(item)
    paid = [a.unit_price for a in own if a.is_purchase and a.unit_price is not None]
    usual = sum(paid, Decimal(0)) / len(paid) if paid else Decimal(0)
    is_known = price is not None and price > 0 and usual > 0
    return {
        "user_item_affinity": _affinity(own, item, catalogue),
        "category_match": category is not None and favorite_category(own, catalogue)[0] == category,
        "price_match": abs(usual - price) < 20 if is_known and price is not None else None,
        "price_ratio": math.log(float(price) / float(usual))
        if is_known and price is not None
        else None,
        "time_of_day": None if at is None else at // (_DAY_MICROS // 24) % 24,
        "day_of_week": None
        if at is None
        else (_EPOCH + timedelta(days=at // _DAY_MICROS)).isoweekday(),
    }


def session_lengths(own: Iterable[Action]) -> list[float]:
    """Seconds of each session of a customer: by id, or a pause of more than 30 minutes, and day."""
    named: dict[tuple[date, str], list[int]] = {}
    unnamed: dict[date, list[int]] = {}
    for action in own:
        if action.at is None:
            continue
        if action.session is None:
            unnamed.setdefault(action.day, []).append(action.at)
        else:
            named.setdefault((action.day, action.session), []).append(action.at)
    lengths = [(max(times) - min(times)) / 1e6 for times in named.values()]
    for times in unnamed.values():
        start = last = None
        for at in sorted(times):
            if start is None or last is None or at - last > _PAUSE_MICROS:
                if start is not None and last is not None:
                    lengths.append((last - start) / 1e6)
                start = at
            last = at
        if start is not None and last is not None:
            lengths.append((last - start) / 1e6)
    return lengths


def favorite_category(own: Iterable[Action], catalogue: Catalogue) -> tuple[str | None, int]:
    """The category with most actions, tie: newest last action, then name; and its actions."""
    found: dict[str, list[int]] = {}
    for action in own:
        if (category := catalogue.word(action.item, "category")) is not None:
            found.setdefault(category, []).append(action.newest)
    if not found:
        return None, 0
    best = min(found, key=lambda name: (-len(found[name]), -max(found[name]), name))
    return best, len(found[best])


def _affinity(own: Iterable[Action], item: int, catalogue: Catalogue) -> float:
    vector: dict[tuple[str, Any], int] = {}
    for action in own:
        for attribute in catalogue.attributes(action.item):
            vector[attribute] = vector.get(attribute, 0) + WEIGHTS[action.kind]
    wanted = catalogue.attributes(item)
    if not vector or not wanted:
        return 0.0
    length = math.sqrt(sum(v * v for v in vector.values())) * math.sqrt(len(wanted))
    return sum(vector.get(attribute, 0) for attribute in wanted) / length


def _monetary_value(own: Iterable[Action]) -> Decimal:
    total = Decimal("0.0000")
    for action in own:
        if action.kind == ORDER and action.worth is not None:
            total += -abs(action.worth) if action.is_return else action.worth
    return total


def _recent_items(own: Iterable[Action]) -> list[int]:
    ordered = sorted(own, key=lambda a: (-a.newest, a.item))
    return list(dict.fromkeys(action.item for action in ordered))[:10]


def _exposure(born: date | None, shop: Shop, dt: date, lookback_days: int | None) -> int:
    starts = [day for day in (born, shop.first_day) if day is not None]
    if lookback_days is not None:
        starts.append(dt - timedelta(days=lookback_days))
    return max(1, (dt - max(starts)).days) if starts else 1


def _ratings(own: Iterable[Action]) -> list[float]:
    return [a.rating for a in own if a.rating is not None and math.isfinite(a.rating)]


def _mean(values: Sequence[Any]) -> float | None:
    return float(sum(values)) / len(values) if values else None


def _deviation(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    exact = [Decimal(repr(value)) for value in values]
    middle = sum(exact, Decimal(0)) / len(exact)
    return math.sqrt(sum((value - middle) ** 2 for value in exact) / (len(exact) - 1))


def _ratio(over: int, under: int) -> float | None:
    return over / under if under else None
