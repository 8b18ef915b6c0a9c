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
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

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


class Stream:
    """What the tracker tells, day by day; counts keep the shares over all days."""

    def __init__(self, put: Put, shop: Shop, spec: SampleSpec, ids: Ids) -> None:
        self._put, self._shop, self._spec, self._ids = put, shop, spec, ids
        self._catalogue = Catalogue(spec)
        self._users = _users(shop, spec, ids)
        self._seen = 0
        self._told = dict.fromkeys(SHARES, 0)
        self.files = 0
        self.rows = dict.fromkeys(("interactions", "items", "users"), 0)

    def write_day(self, index: int, day: date, tables: Mapping[str, Columns]) -> int:
        """Write the day's interactions, and snapshots where it has them; bytes written."""
        size = 0
        if index % SNAPSHOT_DAYS == 0:
            size += self._write(RAW_ITEMS, day, self._catalogue.rows(index, day, self._ids))
            size += self._write(RAW_USERS, day, self._users)
        rows = self._interactions(index, day, tables)
        return size + self._write(RAW_INTERACTIONS, day, rows)

    def _interactions(
        self, index: int, day: date, tables: Mapping[str, Columns]
    ) -> list[dict[str, Any]]:
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
        return self._rows(rng, index, day, parts)

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

    def _rows(
        self, rng: np.random.Generator, index: int, day: date, parts: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        kinds = np.repeat(list(parts), [len(part[0]) for part in parts.values()])
        who, what, at = (np.concatenate(c) for c in zip(*parts.values(), strict=True))
        order = np.lexsort((kinds, what, who, at))
        kinds, who, what, at = kinds[order], who[order], what[order], at[order]
        sessions, devices = _sessions(who, at, self._spec.seed, index)
        cents = self._catalogue.cents(what, index).tolist()
        stars = np.clip(np.round(rng.normal(4.0, 1.1, len(who))), 1, 5)
        is_rated = rng.random(len(who)) < 0.4
        quantities = 1 + (rng.random(len(who)) < 0.15)
        rows, of_day = [], f"{day:%Y%m%d}"
        columns = (kinds, who, what, sessions, devices)
        each = zip(*(column.tolist() for column in columns), _iso(at), strict=True)
        for n, (kind, user, item, session, device, time) in enumerate(each):
            row: dict[str, Any] = {
                "interaction_id": f"{of_day}-{n}",
                "user_id": _id(self._ids, "user", user),
                "item_id": _id(self._ids, "prod", item),
                "interaction_type": kind,
                "timestamp": time,
                "session_id": f"{of_day}-{user}-{session}",
                "device_type": _DEVICES[device],
                "page_context": _PAGES[kind],
            }
            if kind in ("purchase", "add_to_cart"):
                row["price"] = _money(cents[n])
            if kind == "purchase":
                row |= {
                    "quantity": int(quantities[n]),
                    "amount": _money(cents[n] * int(quantities[n])),
                }
                if is_rated[n]:
                    row["rating"] = float(stars[n])
            rows.append(row)
        return rows

    def _write(self, table: Table, day: date, rows: list[dict[str, Any]]) -> int:
        self.rows[table.name] += len(rows)
        self.files += 1
        folder = f"{table.name}/dt={day}"
        if table is RAW_INTERACTIONS:
            # A line each; no value has a brace in it.
            data = (json.dumps(rows)[1:-1].replace("}, {", "}\n{") + "\n" * bool(rows)).encode()
            self._put(f"{folder}/part-0.jsonl", data)
            return len(data)
        names = list(rows[0])
        schema = pa.schema([(c.name, c.arrow) for c in table.columns if c.name in names])
        if self._ids == "integer":
            for place in (schema.get_field_index(k) for k in table.key):
                schema = schema.set(place, pa.field(schema.field(place).name, pa.int64()))
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema), sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
        self._put(f"{folder}/part-0.parquet", data)
        return len(data)


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

    def rows(self, index: int, day: date, kind: Ids) -> list[dict[str, Any]]:
        """The full snapshot of a day."""
        seed = self._spec.seed
        ids = np.concatenate([np.arange(1, self._spec.items + 1), self.new_ids(index)])
        category, cents = self._category(ids), self.cents(ids, index).tolist()
        brand = (hash_uniform(seed, ids, 26) * len(BRANDS)).astype(np.int64)
        gone = hash_uniform(seed, ids, 27)
        until = hash_uniform(seed, ids, 28) * self._spec.days
        age = 30 + (hash_uniform(seed, ids, 29) * 700).astype(np.int64)
        first = self._spec.dates[0]
        new_days = self._new_days()
        rows = []
        for n, number in enumerate(ids.tolist()):
            is_new = number > self._spec.items
            created = first - timedelta(days=int(age[n]))
            if is_new:
                created = first + timedelta(days=int(new_days[number - self._spec.items - 1]))
            name = CATEGORIES[category[n]]
            rows.append(
                {
                    "item_id": number if kind == "integer" else f"prod_{number}",
                    "title": f"{BRANDS[brand[n]]} {name.title()} {number}",
                    "category": name,
                    "subcategory": f"{name} {number % 4 + 1}",
                    "brand": BRANDS[brand[n]],
                    "price": Decimal(cents[n]) / 100,
                    "attributes": json.dumps({"size": "SML"[number % 3]}),
                    "created_at": datetime.combine(created, datetime.min.time(), UTC),
                    "is_active": not (gone[n] < _GONE_SHARE and until[n] <= index),
                }
            )
        return rows


def _users(shop: Shop, spec: SampleSpec, kind: Ids) -> list[dict[str, Any]]:
    ids = np.sort(shop.customer_ids)
    places = [hash_uniform(spec.seed, ids, n) for n in (31, 32, 33, 34, 35)]
    ages, genders = ("18-24", "25-34", "35-44", "45-54", "55+"), ("female", "male", "other")
    places_named = ("Berlin", "Paris", "Madrid", "Wien", "Oslo", "Roma")
    segments = ("new", "regular", "vip")
    rows, first = [], spec.dates[0]
    for number, a, g, c, s, j in zip(ids.tolist(), *(p.tolist() for p in places), strict=True):
        liked = CATEGORIES[int(c * len(CATEGORIES))]
        rows.append(
            {
                "user_id": number if kind == "integer" else f"user_{number}",
                "age_group": ages[int(a * len(ages))],
                "gender": genders[min(int(g * 2.1), 2)],
                "location": places_named[int(c * len(places_named))],
                "join_date": first - timedelta(days=1 + int(j * 1000)),
                "customer_segment": segments[int(s * len(segments))],
                "preferences": json.dumps({"categories": [liked]}),
            }
        )
    return rows


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
