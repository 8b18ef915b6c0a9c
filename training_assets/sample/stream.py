"""The same shop seen by a tracker: interactions, catalogue, users, beside the four tables.

The tracker sees a part of the clicks and carts of a day and all of its orders, and what only it
sees: views and likes. So of 100 of its events 50 are views, 25 clicks, 12 likes, 8 purchases and 5
carts, while the four tables have 80 clicks, 12 carts and 8 orders of 100 actions. Every click, cart
and purchase of it stands in the four tables too, at the same time; by default ``unified_actions``
therefore takes only views and likes from here.

Each day has a random stream of its own, so the four tables are the same with or without it.
"""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.sample.distributions import Ints, hash_uniform
from training_assets.sample.raw_days import Put
from training_assets.sample.shop import SampleSpec, Shop
from training_assets.schemas import (
    ADD_TO_CARTS,
    CLICKS,
    PREVIOUS_ORDERS,
    RAW_INTERACTIONS,
    RAW_ITEMS,
    RAW_USERS,
    Table,
)

Ids = Literal["integer", "text"]
Columns = Mapping[str, Any]

SHARES: Final = {"view": 0.50, "click": 0.25, "like": 0.12, "purchase": 0.08, "add_to_cart": 0.05}
SNAPSHOT_DAYS: Final = 7
CATEGORIES: Final = (
    "electronics",
    "shoes",
    "dresses",
    "toys",
    "books",
    "garden",
    "kitchen",
    "sports",
    "beauty",
    "music",
    "furniture",
    "pets",
)
BRANDS: Final = (
    *("Acme", "Borealis", "Cedar", "Delta", "Ember", "Fjord", "Grove", "Harbor"),
    *("Iris", "Juno", "Kite", "Lumen", "Mistral", "Nova", "Orbit"),
)
_PRICES: Final = (180, 75, 60, 25, 15, 40, 35, 55, 20, 12, 240, 18)
_SIZES: Final = [json.dumps({"size": size}) for size in "SML"]
_DEVICES: Final = ("mobile", "desktop", "tablet")
_PAGES: Final = {
    "view": "listing",
    "click": "product",
    "like": "product",
    "add_to_cart": "product",
    "purchase": "checkout",
}
_GAP: Final = 30 * 60 * 1_000_000
_SECOND: Final = 1_000_000
_NEW_SHARE: Final = 0.01
_GONE_SHARE: Final = 0.02
_BOT_EVERY: Final = 15
_BOT_VIEWS: Final = 120
_US_PER_DAY: Final = 86_400 * _SECOND


class _File(NamedTuple):
    """A file of a raw table as it is delivered."""

    data: bytes
    ending: str
    rows: int


class Stream:
    """What the tracker tells, day by day; counts keep the shares over all days."""

    def __init__(self, put: Put, shop: Shop, spec: SampleSpec, ids: Ids) -> None:
        self._put, self._shop, self._spec, self._ids = put, shop, spec, ids
        self._catalogue = Catalogue(spec)
        self._users = _as_parquet(RAW_USERS, _users(shop, spec, ids), ids)
        self._seen = 0
        self._told = dict.fromkeys(SHARES, 0)
        self.files = 0
        self.rows = dict.fromkeys(("interactions", "items", "users"), 0)

    def write_day(self, index: int, day: date, tables: Mapping[str, Columns]) -> int:
        """Write the day's interactions, and snapshots where it has them; bytes written."""
        size = 0
        if index % SNAPSHOT_DAYS == 0:
            items = self._catalogue.columns(index, self._ids)
            size += self._write(RAW_ITEMS, day, _as_parquet(RAW_ITEMS, items, self._ids))
            size += self._write(RAW_USERS, day, self._users)
        lines = self._interactions(index, day, tables)
        text = "".join(f"{line}\n" for line in lines)
        return size + self._write(RAW_INTERACTIONS, day, _File(text.encode(), "jsonl", len(lines)))

    def _interactions(self, index: int, day: date, tables: Mapping[str, Columns]) -> list[str]:
        rng = np.random.default_rng([self._spec.seed, index, 2])
        clicks, carts, orders = (
            _events(tables[t.name], item)
            for t, item in (
                (CLICKS, "item_id"),
                (ADD_TO_CARTS, "config_id"),
                (PREVIOUS_ORDERS, "config_id"),
            )
        )
        self._seen += sum(len(kind[0]) for kind in (clicks, carts, orders))
        wanted = {k: round(self._seen * share) - self._told[k] for k, share in SHARES.items()}
        parts = {
            "purchase": orders,
            "add_to_cart": _some(rng, carts, wanted["add_to_cart"]),
            "click": _some(rng, clicks, wanted["click"]),
        }
        bots = self._bots(index, day)
        parts["view"] = self._views(rng, index, clicks, wanted["view"] - len(bots[0]), bots)
        parts["like"] = _around(rng, clicks, wanted["like"], 5)
        for kind, part in parts.items():
            self._told[kind] += len(part[0])
        return self._lines(rng, index, day, parts)

    def _views(
        self, rng: np.random.Generator, index: int, clicks: Any, count: int, bots: Any
    ) -> tuple[Ints, Ints, Ints]:
        """Items seen before they were clicked, and new ones of the catalogue."""
        customers, items, at = _around(rng, clicks, count, -40)
        new = self._catalogue.new_ids(index)
        if len(new):
            is_new = rng.random(len(items)) < 0.01
            items = np.where(is_new, rng.choice(new, len(items)), items)
        return tuple(  # type: ignore[return-value]
            np.concatenate(pair) for pair in zip((customers, items, at), bots, strict=True)
        )

    def _bots(self, index: int, day: date) -> tuple[Ints, Ints, Ints]:
        """Now and then somebody who looks at an item a second, two minutes long."""
        if index % _BOT_EVERY != _BOT_EVERY // 2:
            none = np.empty(0, np.int64)
            return none, none, none
        midnight = (day - date(1970, 1, 1)).days * _US_PER_DAY
        who = self._shop.customer_ids[-1 - index // _BOT_EVERY]
        at = midnight + 3 * 3600 * _SECOND + np.arange(_BOT_VIEWS) * _SECOND
        items = self._shop.item_ids[np.arange(_BOT_VIEWS) % len(self._shop.item_ids)]
        return np.full(_BOT_VIEWS, who, np.int64), items.astype(np.int64), at

    def _lines(
        self, rng: np.random.Generator, index: int, day: date, parts: Mapping[str, Any]
    ) -> list[str]:
        """An event each, as JSON."""
        kinds = np.repeat(list(parts), [len(part[0]) for part in parts.values()])
        who, what, at = (np.concatenate(c) for c in zip(*parts.values(), strict=True))
        order = np.lexsort((kinds, what, who, at))
        kinds, who, what, at = kinds[order], who[order], what[order], at[order]
        sessions, devices = _sessions(who, at, self._spec.seed, index)
        cents = self._catalogue.cents(what, index).tolist()
        stars = np.clip(np.round(rng.normal(4.0, 1.1, len(who))), 1, 5)
        is_rated = rng.random(len(who)) < 0.4
        quantities = 1 + (rng.random(len(who)) < 0.15)
        lines, of_day = [], f"{day:%Y%m%d}"
        id_of = '"{}_{}"'.format if self._ids == "text" else "{1}".format
        columns = (kinds, who, what, sessions, devices)
        each = zip(*(column.tolist() for column in columns), _iso(at), strict=True)
        for n, (kind, user, item, session, device, time) in enumerate(each):
            line = (
                f'{{"interaction_id": "{of_day}-{n}", "user_id": {id_of("user", user)}, '
                f'"item_id": {id_of("prod", item)}, "interaction_type": "{kind}", '
                f'"timestamp": "{time}", "session_id": "{of_day}-{user}-{session}", '
                f'"device_type": "{_DEVICES[device]}", "page_context": "{_PAGES[kind]}"'
            )
            if kind in ("purchase", "add_to_cart"):
                line += f', "price": "{_money(cents[n])}"'
            if kind == "purchase":
                quantity = int(quantities[n])
                line += f', "quantity": {quantity}, "amount": "{_money(cents[n] * quantity)}"'
                if is_rated[n]:
                    line += f', "rating": {float(stars[n])}'
            lines.append(f"{line}}}")
        return lines

    def _write(self, table: Table, day: date, file: _File) -> int:
        self.rows[table.name] += file.rows
        self.files += 1
        self._put(f"{table.name}/dt={day}/part-0.{file.ending}", file.data)
        return len(file.data)


class Catalogue:
    """Items by id: those of the shop, and new ones that come over the days."""

    def __init__(self, spec: SampleSpec) -> None:
        self._spec = spec
        self._num_new = max(1, round(spec.items * _NEW_SHARE))

    def new_ids(self, index: int) -> Ints:
        """Items that were not there on the first day and are by the day's newest snapshot."""
        snapshot = index - index % SNAPSHOT_DAYS
        number = np.arange(self._num_new)
        found: Ints = self._spec.items + 1 + number[self._new_days() <= snapshot]
        return found if snapshot else found[:0]

    def _new_days(self) -> Ints:
        places = hash_uniform(self._spec.seed, np.arange(self._num_new), 21)
        return 1 + (places * (self._spec.days - 1)).astype(np.int64)

    def cents(self, ids: Ints, index: int) -> Ints:
        """Prices as of the newest snapshot: they change now and then, by up to a fifth."""
        week = index // SNAPSHOT_DAYS
        base = np.array(_PRICES)[self._category(ids)] * (
            0.4 + 1.6 * hash_uniform(self._spec.seed, ids, 22)
        )
        change = np.ones(len(ids))
        for n in range(1, week + 1):
            is_changed = hash_uniform(self._spec.seed, ids, n, 23) < 0.05
            factor = 0.8 + 0.4 * hash_uniform(self._spec.seed, ids, n, 24)
            change = np.where(is_changed, factor, change)
        found: Ints = np.round(base * change * 100).astype(np.int64)
        return found

    def _category(self, ids: Ints) -> Ints:
        return (hash_uniform(self._spec.seed, ids, 25) * len(CATEGORIES)).astype(np.int64)

    def columns(self, index: int, kind: Ids) -> Columns:
        """The full snapshot of a day."""
        seed = self._spec.seed
        ids = np.concatenate([np.arange(1, self._spec.items + 1), self.new_ids(index)])
        brand = (hash_uniform(seed, ids, 26) * len(BRANDS)).astype(np.int64)
        gone = hash_uniform(seed, ids, 27)
        until = hash_uniform(seed, ids, 28) * self._spec.days
        age = 30 + (hash_uniform(seed, ids, 29) * 700).astype(np.int64)
        # Days since the first one.
        created, first_new = -age, self._spec.items
        created[first_new:] = self._new_days()[ids[first_new:] - first_new - 1]
        numbers = ids.tolist()
        categories = [CATEGORIES[n] for n in self._category(ids).tolist()]
        brands = [BRANDS[n] for n in brand.tolist()]
        named = zip(brands, categories, numbers, strict=True)
        return {
            "item_id": [_id(kind, "prod", number) for number in numbers],
            "title": [f"{of} {category.title()} {number}" for of, category, number in named],
            "category": categories,
            "subcategory": [
                f"{category} {number % 4 + 1}"
                for category, number in zip(categories, numbers, strict=True)
            ],
            "brand": brands,
            "price": [Decimal(cents) / 100 for cents in self.cents(ids, index).tolist()],
            "attributes": [_SIZES[number % 3] for number in numbers],
            "created_at": np.datetime64(self._spec.dates[0], "us") + created * _US_PER_DAY,
            "is_active": ~((gone < _GONE_SHARE) & (until <= index)),
        }


def _as_parquet(table: Table, columns: Columns, kind: Ids) -> _File:
    schema = pa.schema([(c.name, c.arrow) for c in table.columns if c.name in columns])
    if kind == "integer":
        for place in (schema.get_field_index(name) for name in table.key):
            schema = schema.set(place, pa.field(schema.field(place).name, pa.int64()))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(columns), schema), sink, compression="zstd")
    rows = len(columns[schema.names[0]])
    return _File(sink.getvalue().to_pybytes(), "parquet", rows)


def _users(shop: Shop, spec: SampleSpec, kind: Ids) -> Columns:
    ids = np.sort(shop.customer_ids)
    places = [hash_uniform(spec.seed, ids, n) for n in (31, 32, 33, 34, 35)]
    ages, genders = ("18-24", "25-34", "35-44", "45-54", "55+"), ("female", "male", "other")
    places_named = ("Berlin", "Paris", "Madrid", "Wien", "Oslo", "Roma")
    segments = ("new", "regular", "vip")
    ages_of, genders_of, liked, segments_of, joined = (column.tolist() for column in places)
    preferences = [json.dumps({"categories": [category]}) for category in CATEGORIES]
    first = spec.dates[0]
    return {
        "user_id": [_id(kind, "user", number) for number in ids.tolist()],
        "age_group": [ages[int(place * len(ages))] for place in ages_of],
        "gender": [genders[min(int(place * 2.1), 2)] for place in genders_of],
        "location": [places_named[int(place * len(places_named))] for place in liked],
        "join_date": [first - timedelta(days=1 + int(place * 1000)) for place in joined],
        "customer_segment": [segments[int(place * len(segments))] for place in segments_of],
        "preferences": [preferences[int(place * len(CATEGORIES))] for place in liked],
    }


def _id(kind: Ids, prefix: str, number: int) -> int | str:
    return number if kind == "integer" else f"{prefix}_{number}"


def _events(columns: Columns, item: str) -> tuple[Ints, Ints, Ints]:
    time = "click_time" if "click_time" in columns else "occurred_at"
    who, what, at = (np.asarray(columns[name], np.int64) for name in ("customer_id", item, time))
    return who, what, at


def _some(
    rng: np.random.Generator, events: tuple[Ints, Ints, Ints], count: int
) -> tuple[Ints, Ints, Ints]:
    size = len(events[0])
    chosen = np.sort(rng.permutation(size)[: max(0, min(count, size))])
    who, what, at = (column[chosen] for column in events)
    return who, what, at


def _around(
    rng: np.random.Generator, events: tuple[Ints, Ints, Ints], count: int, seconds: int
) -> tuple[Ints, Ints, Ints]:
    """Events drawn again, up to that many seconds before or after."""
    who, what, at = events
    if not len(who) or count <= 0:
        return who[:0], what[:0], at[:0]
    chosen = np.sort(rng.integers(0, len(who), count))
    shift = (rng.random(count) * seconds * _SECOND).astype(np.int64)
    return who[chosen], what[chosen], at[chosen] + shift


def _sessions(who: Ints, at: Ints, seed: int, index: int) -> tuple[Ints, Ints]:
    """Visit of each event, numbered by customer, and its device; half an hour ends a visit."""
    order = np.lexsort((at, who))
    is_new = np.ones(len(who), bool)
    is_same = who[order][1:] == who[order][:-1]
    is_new[1:] = ~is_same | (np.diff(at[order]) > _GAP)
    number = np.cumsum(is_new)
    first = np.ones(len(who), bool)
    first[1:] = ~is_same
    starts = np.maximum.accumulate(np.where(first, number, 0))
    sessions = np.empty(len(who), np.int64)
    sessions[order] = number - starts
    devices = (hash_uniform(seed, who, sessions, index, 30) * 1.7).astype(np.int64)
    return sessions, devices


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _iso(micros: Ints) -> list[str]:
    """As Python writes them: a whole second has no fraction."""
    texts = np.datetime_as_string(micros.astype("datetime64[us]")).tolist()
    return [f"{text.removesuffix('.000000')}Z" for text in texts]
