"""An invented shop, day by day: who comes, what is shown, ordered, clicked and carted.

What the days have in common is in ``Shop``, the only state: of the past it remembers, for each
customer, a few items clicked and carted on the days before.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training_assets.errors import SettingsError
from training_assets.sample.distributions import (
    Floats,
    Ints,
    cumulated,
    draw,
    fit_zipf,
    hash_uniform,
)
from training_assets.schemas import (
    ADD_TO_CARTS,
    CLICKS,
    IMPRESSIONS,
    MAX_ITEM_ID,
    PREVIOUS_ORDERS,
    Table,
)

CART_SHARE: Final = 0.12
ORDER_SHARE: Final = 0.08
LATE_SHARE: Final = 0.01
LOOKER_SHARE: Final = 0.05
RANKING_LENGTH: Final = 10

_SECOND_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND_US
_WEEK: Final = np.array([0.96, 0.92, 0.93, 0.97, 1.02, 1.10, 1.20])  # Monday to Sunday
_HOURS: Final = np.array(
    [5, 3, 2, 1, 1, 2, 6, 12, 18, 21, 24, 27, 31, 29, 27, 27, 29, 34, 41, 50, 56, 49, 30, 13]
)
_MEAN_SESSION: Final = 4
_MAX_SESSION: Final = 100  # times the longest gap plus the checkout stays below a day
_TASTES: Final = ((0.55, 60), (0.30, 40), (0.15, 20))  # weight, days until it changes
_CLICK_SLOTS: Final = 6
_SLOTS: Final = 8  # the last two hold carted items
_EMPTY: Final = -1


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """What to generate. ``interactions`` counts clicks, add-to-carts and orders of all days.

    ``end_date`` is the last day, inclusive. Rankings come on top: 550 a day at 100,000
    interactions in 90 days, growing with the 0.7th power of the actions a day. Of the items shown,
    1 to 4 % are ordered.
    Raises SettingsError for sizes that cannot work.
    """

    customers: int = 10_000
    items: int = 5_000
    interactions: int = 100_000
    days: int = 90
    end_date: date
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("customers", 20, 2**40),
            ("items", 20, MAX_ITEM_ID),
            ("interactions", 1, 2**40),
            ("days", 1, 36_500),
            ("seed", 0, 2**63 - 1),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise SettingsError(
                    f"generate: {name} is {value!r}; expected a whole number from {low} to {high}. "
                    f"Give another {name}."
                )
        if type(self.end_date) is not date:
            raise SettingsError(
                f"generate: end_date is {self.end_date!r}; expected a date without a time. "
                "Give a datetime.date."
            )

    @property
    def dates(self) -> list[date]:
        """All days, oldest first; the last one is ``end_date``."""
        return [self.end_date - timedelta(days=back) for back in reversed(range(self.days))]


class DayPlan(NamedTuple):
    browsing: int  # clicks and carts together
    carts: int
    orders: int
    rankings: int


@dataclass(frozen=True)
class Shop:
    """Items in shelf order, customers by falling activity, both by index; and what is remembered.

    ``item_edges`` and ``customer_edges`` are cumulated shares, from 0 to 1, one longer than the
    items and customers; ``shelf_edges`` are those of ``item_edges`` at which shelves begin.
    ``recent`` [customers, 8] holds item indexes of days before: 6 clicked, 2 carted, -1 is none.
    """

    seed: int
    item_ids: npt.NDArray[np.int32]
    item_edges: Floats
    shelves: npt.NDArray[np.int32]
    shelf_edges: Floats
    customer_ids: Ints
    customer_edges: Floats
    first_looker: int
    recent: npt.NDArray[np.int32]


def open_shop(spec: SampleSpec) -> Shop:
    rng = np.random.default_rng([spec.seed, 0, 0])
    num_shelves = max(2, spec.items // 50)
    shelves = rng.permutation(spec.items).astype(np.int32) % np.int32(num_shelves)
    by_shelf = np.argsort(shelves, kind="stable")
    popularity = fit_zipf(spec.items, shift=spec.items / 250, actions=spec.interactions, clump=1)
    item_edges = cumulated(popularity[by_shelf])
    shelves = shelves[by_shelf]
    starts = np.searchsorted(shelves, np.arange(num_shelves + 1))
    activity = fit_zipf(
        spec.customers,
        shift=spec.customers / 10_000,
        actions=spec.interactions,
        clump=_MEAN_SESSION,
    )
    first_looker = spec.customers - round(LOOKER_SHARE * spec.customers)
    activity[first_looker:] = 0.0
    return Shop(
        seed=spec.seed,
        item_ids=(rng.permutation(spec.items) + 1).astype(np.int32),
        item_edges=item_edges,
        shelves=shelves,
        shelf_edges=item_edges[starts],
        customer_ids=rng.permutation(spec.customers) + 1,
        customer_edges=cumulated(activity),
        first_looker=first_looker,
        recent=np.full((spec.customers, _SLOTS), _EMPTY, np.int32),
    )


def plan_days(spec: SampleSpec) -> list[DayPlan]:
    """Split the interactions over the days by the weekly rhythm, to the last one."""
    until = np.cumsum([_WEEK[day.weekday()] for day in spec.dates])
    until = np.round(until / until[-1] * spec.interactions)
    actions, carts, orders = (
        np.diff(np.round(until * share), prepend=0).astype(int)
        for share in (1.0, CART_SHARE, ORDER_SHARE)
    )
    rankings = np.ceil(550 * (actions / (100_000 / 90)) ** 0.7).astype(int)
    return [
        DayPlan(int(a - o), int(c), int(o), int(r))
        for a, c, o, r in zip(actions, carts, orders, rankings, strict=True)
    ]


def simulate_day(
    shop: Shop, rng: np.random.Generator, index: int, day: date, plan: DayPlan
) -> list[tuple[Table, dict[str, Any]]]:
    sessions = _draw_sessions(shop, rng, plan.browsing)
    viewers = _draw_viewers(shop, rng, sessions, plan.rankings)
    shown = _draw_rankings(shop, rng, index, viewers)
    buyers, bought = _draw_orders(shop, rng, index, plan.orders, sessions, viewers, shown)
    browsed, is_cart = _draw_browsing(shop, rng, index, plan.carts, sessions)
    bought_at = _checkout_at(shop, index, sessions, buyers)
    num_items = len(shop.item_ids)
    is_order = np.isin(viewers[:, None] * num_items + shown, buyers * num_items + bought)

    customers = sessions.customers[sessions.of_action]
    _remember(shop, rng, customers, browsed, is_cart, buyers, bought)
    at = sessions.action_at + _midnight_us(day)
    clicked = _Events(customers[~is_cart], browsed[~is_cart], at[~is_cart])
    carted = _Events(customers[is_cart], browsed[is_cart], at[is_cart])
    ordered = _Events(buyers, bought, bought_at + _midnight_us(day))
    return [
        (IMPRESSIONS, _ranking_columns(shop, day, viewers, shown, is_order)),
        (CLICKS, _event_columns(shop, rng, clicked, "item_id", "click_time")),
        (ADD_TO_CARTS, _event_columns(shop, rng, carted, "config_id", "occurred_at")),
        (PREVIOUS_ORDERS, _event_columns(shop, rng, ordered, "config_id", "occurred_at")),
    ]


class _Events(NamedTuple):
    """Indexes of customers and items, and times in microseconds since 1970."""

    customers: Ints
    items: Ints
    at: Ints


def _event_columns(
    shop: Shop, rng: np.random.Generator, events: _Events, item: str, time: str
) -> dict[str, Any]:
    by_time = np.argsort(events.at, kind="stable")
    return {
        "customer_id": shop.customer_ids[events.customers[by_time]],
        item: shop.item_ids[events.items[by_time]],
        "simple_id": rng.integers(1, 9, len(by_time), dtype=np.int32),
        time: events.at[by_time],
    }


def _midnight_us(day: date) -> int:
    return (day - date(1970, 1, 1)).days * _DAY_US


class _Sessions(NamedTuple):
    """Sessions of a day, and their actions in order; times in microseconds after midnight."""

    customers: Ints
    ends_at: Ints
    of_action: Ints
    action_at: Ints
    is_first: npt.NDArray[np.bool_]


def _draw_sessions(shop: Shop, rng: np.random.Generator, num_actions: int) -> _Sessions:
    lengths = np.minimum(rng.geometric(1 / _MEAN_SESSION, num_actions), _MAX_SESSION)
    until = np.cumsum(lengths)
    lengths = lengths[: int(np.searchsorted(until, num_actions)) + 1]
    if num_actions:
        lengths[-1] -= lengths.sum() - num_actions
    of_action = np.repeat(np.arange(len(lengths)), lengths)
    is_first = np.diff(of_action, prepend=-1) > 0
    gaps = np.clip(rng.lognormal(np.log(20), 1.0, num_actions), 1, 600) * _SECOND_US
    run = np.cumsum(gaps.astype(np.int64))
    since_start = run - run[is_first][of_action]
    last = np.cumsum(lengths) - 1
    durations = since_start[last]
    starts = _rhythm(rng.random(len(lengths)))
    starts = np.minimum(starts, _DAY_US - 200 * _SECOND_US - durations)
    starts -= _DAY_US * (rng.random(len(lengths)) < LATE_SHARE)
    return _Sessions(
        customers=draw(shop.customer_edges, rng.random(len(lengths))),
        ends_at=starts + durations,
        of_action=of_action,
        action_at=starts[of_action] + since_start,
        is_first=is_first,
    )


def _draw_viewers(
    shop: Shop, rng: np.random.Generator, sessions: _Sessions, num_rankings: int
) -> Ints:
    """Customer per ranking: of today's sessions, of all, and lookers; some two or three times."""
    source = rng.random(2 * num_rankings)
    viewers = draw(shop.customer_edges, rng.random(len(source)))
    lookers = rng.integers(shop.first_looker, len(shop.customer_ids), len(source))
    viewers = np.where(source < 0.08, lookers, viewers)
    if len(sessions.customers):
        visiting = rng.choice(sessions.customers, len(source))
        viewers = np.where(source > 0.4, visiting, viewers)
    viewers = rng.permutation(np.unique(viewers))
    again = rng.random(len(viewers))
    return rng.permutation(np.repeat(viewers, 1 + (again < 0.1) + (again < 0.02))[:num_rankings])


def _draw_rankings(shop: Shop, rng: np.random.Generator, index: int, viewers: Ints) -> Ints:
    """Item indexes [rankings, 10]; an item stands twice in a ranking only by rare chance."""
    flat = np.repeat(viewers, RANKING_LENGTH)
    shelves = _favourite_shelves(shop, rng, flat, index)
    shown = _draw_items(shop, rng, flat, shelves, by_taste=0.4, by_memory=0.2)
    num_items = len(shop.item_ids)
    anything = rng.integers(0, num_items, len(flat))
    shown = np.where(rng.random(len(flat)) < 0.2, anything, shown).reshape(-1, RANKING_LENGTH)
    for position in range(1, RANKING_LENGTH):
        is_repeated = (shown[:, :position] == shown[:, position, None]).any(axis=1)
        shown[is_repeated, position] = rng.integers(0, num_items, is_repeated.sum())
    return shown


def _draw_orders(
    shop: Shop,
    rng: np.random.Generator,
    index: int,
    num_orders: int,
    sessions: _Sessions,
    viewers: Ints,
    shown: Ints,
) -> tuple[Ints, Ints]:
    """Customer and item of each order: up to 8 in 10 from rankings, the others besides them."""
    wanted = min(round(0.8 * num_orders), round(0.03 * shown.size))
    appeal = _appeal(shop, index, viewers, shown).ravel()
    drawn = np.argsort(rng.exponential(size=shown.size) / appeal, kind="stable")[:wanted]
    num_items = len(shop.item_ids)
    pairs = np.unique(viewers[drawn // RANKING_LENGTH] * num_items + shown.ravel()[drawn])

    num_others = num_orders - len(pairs)
    if len(sessions.customers):
        others = rng.choice(sessions.customers, num_others)
    else:
        others = draw(shop.customer_edges, rng.random(num_others))
    shelves = _favourite_shelves(shop, rng, others, index)
    items = _draw_items(shop, rng, others, shelves, by_taste=0.35, by_memory=0.45)
    return (
        np.concatenate([pairs // num_items, others]),
        np.concatenate([pairs % num_items, items]),
    )


def _appeal(shop: Shop, index: int, viewers: Ints, shown: Ints) -> Floats:
    """Weight of each shown item among all that may be ordered, from earlier days only."""
    appeal = np.full(shown.shape, 0.3)
    tastes = _tastes(shop, viewers, index)
    for column, (weight, _) in enumerate(_TASTES):
        appeal += 8 * weight * (shop.shelves[shown] == tastes[:, column, None])
    for slot in range(_SLOTS):
        remembered = shop.recent[viewers, slot, None] == shown
        appeal += (10 if slot < _CLICK_SLOTS else 30) * remembered
    appeal[viewers >= shop.first_looker] *= 0.2
    return appeal


def _draw_browsing(
    shop: Shop, rng: np.random.Generator, index: int, num_carts: int, sessions: _Sessions
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Item per action, and whether it is a cart: then the item is that of the click before."""
    shelves = _favourite_shelves(shop, rng, sessions.customers, index)[sessions.of_action]
    customers = sessions.customers[sessions.of_action]
    items = _draw_items(shop, rng, customers, shelves, by_taste=0.55, by_memory=0.2)
    later = np.flatnonzero(~sessions.is_first)
    is_cart = np.zeros(len(items), bool)
    is_cart[rng.permutation(later)[:num_carts]] = True
    click_before = np.maximum.accumulate(np.where(is_cart, 0, np.arange(len(items))))
    return items[click_before], is_cart


def _checkout_at(shop: Shop, index: int, sessions: _Sessions, buyers: Ints) -> Ints:
    """One basket per customer and day: after a session of the day, else at an hour of its own."""
    moment = hash_uniform(shop.seed, buyers, index, 9)
    order = np.argsort(sessions.customers, kind="stable")
    found = np.searchsorted(sessions.customers[order], buyers)
    bought_at = np.minimum(_rhythm(moment), _DAY_US - 1)
    if len(order):
        session = order[np.minimum(found, len(order) - 1)]
        after = sessions.ends_at[session] + ((10 + 180 * moment) * _SECOND_US).astype(np.int64)
        bought_at = np.where(sessions.customers[session] == buyers, after, bought_at)
    return bought_at


def _remember(
    shop: Shop,
    rng: np.random.Generator,
    customers: Ints,
    items: Ints,
    is_cart: npt.NDArray[np.bool_],
    buyers: Ints,
    bought: Ints,
) -> None:
    """Let the day's clicks and carts displace older ones, and forget what was bought."""
    slots = rng.integers(0, _CLICK_SLOTS, len(items))
    slots[is_cart] = rng.integers(_CLICK_SLOTS, _SLOTS, is_cart.sum())
    shop.recent[customers, slots] = items
    for slot in range(_SLOTS):
        is_bought = shop.recent[buyers, slot] == bought
        shop.recent[buyers[is_bought], slot] = _EMPTY


def _ranking_columns(
    shop: Shop, day: date, viewers: Ints, shown: Ints, is_order: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    offsets = np.arange(0, shown.size + 1, RANKING_LENGTH, dtype=np.int32)
    entries = pa.StructArray.from_arrays(
        [pa.array(shop.item_ids[shown.ravel()]), pa.array(is_order.ravel())],
        names=["item_id", "is_order"],
    )
    return {
        "ranking_id": [f"{day:%Y%m%d}-{number}" for number in range(len(viewers))],
        "customer_id": shop.customer_ids[viewers],
        "impressions": pa.ListArray.from_arrays(offsets, entries),
    }


def _draw_items(
    shop: Shop,
    rng: np.random.Generator,
    customers: Ints,
    shelves: Ints,
    *,
    by_taste: float,
    by_memory: float,
) -> Ints:
    """An item index per customer: of the shelf, of the customer's memory, or by popularity."""
    count = len(customers)
    source, place = rng.random(count), rng.random(count)
    low, high = shop.shelf_edges[shelves], shop.shelf_edges[shelves + 1]
    place = np.where(source < by_taste + by_memory, low + place * (high - low), place)
    items = draw(shop.item_edges, place)
    remembered = shop.recent[customers, rng.integers(0, _SLOTS, count)]
    return np.where((source < by_memory) & (remembered != _EMPTY), remembered, items)


def _tastes(shop: Shop, customers: Ints, index: int) -> Ints:
    """Favourite shelves [customers, 3], strongest first, as they stand on that day."""
    columns = []
    for number, (_, period) in enumerate(_TASTES):
        phase = (hash_uniform(shop.seed, customers, number, 7) * period).astype(np.int64)
        place = hash_uniform(shop.seed, customers, number, (index + phase) // period, 8)
        columns.append(shop.shelves[draw(shop.item_edges, place)].astype(np.int64))
    return np.stack(columns, axis=1)


def _favourite_shelves(shop: Shop, rng: np.random.Generator, customers: Ints, index: int) -> Ints:
    """One of the favourite shelves of each customer, the strongest most often."""
    weights = np.array([weight for weight, _ in _TASTES])
    column = draw(cumulated(weights), rng.random(len(customers)))
    return _tastes(shop, customers, index)[np.arange(len(customers)), column]


def _rhythm(places: Floats) -> Ints:
    """Time of day in microseconds for places of [0, 1), after the daily rhythm."""
    edges = cumulated(_HOURS.astype(np.float64))
    return np.interp(places, edges, np.arange(25) * (_DAY_US / 24)).astype(np.int64)
