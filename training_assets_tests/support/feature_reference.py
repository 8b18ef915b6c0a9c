"""The truth: features by plain loops, one after the other, for any reader to check.

Rows are dicts with the columns of the functions' inputs; a column that is not there is null. Slow
on purpose; shares no code with the package.
"""

import math
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Row = dict[str, Any]

KINDS = {1: "click", 2: "add_to_cart", 3: "order", 4: "view", 5: "like"}
WEIGHTS = {4: 1, 1: 2, 5: 3, 2: 4, 3: 5}
CLICK, ORDER, VIEW, RETURN = 1, 3, 4, 6


# What a row of the input means.


def day_of(value: Any) -> date | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).date()
    return value if isinstance(value, date) else date.fromisoformat(value)


def money(value: Any) -> Decimal | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return exact.quantize(Decimal("0.0001"), ROUND_HALF_UP)


def valid(actions: Iterable[Row]) -> list[Row]:
    kept = []
    for action in actions:
        if action.get("dt") is None or action.get("customer_id") is None:
            continue
        if action.get("item_id") is None or action.get("action_type") not in (*KINDS, RETURN):
            continue
        kind = ORDER if action["action_type"] == RETURN else action["action_type"]
        kept.append({**action, "day": day_of(action["dt"]), "kind": kind})
    return kept


def in_window(actions: Iterable[Row], dt: date, lookback_days: int | None) -> list[Row]:
    kept = []
    for action in valid(actions):
        if not action["day"] < dt:
            continue
        if lookback_days is not None and action["day"] < dt - timedelta(days=lookback_days):
            continue
        kept.append(action)
    return kept


def newest_snapshot(items: Iterable[Row] | None, item_id: Any, until: date) -> Row | None:
    """The item's snapshot of ``until`` or, if it has none, the newest before."""
    found: Row | None = None
    for row in items or []:
        if row.get("item_id") != item_id or row.get("dt") is None or day_of(row["dt"]) > until:
            continue
        if found is None or day_of(row["dt"]) > day_of(found["dt"]):
            found = row
    return found


def as_of(items: Iterable[Row] | None, item_id: Any, dt: date) -> Row | None:
    return newest_snapshot(items, item_id, dt - timedelta(days=1))


def word(row: Row | None, name: str) -> str | None:
    value = None if row is None else row.get(name)
    return None if value == "unknown" else value


def is_active(row: Row) -> bool:
    return row.get("is_active") is not False


def is_return(action: Row) -> bool:
    if action["kind"] != ORDER:
        return False
    if action["action_type"] == RETURN:
        return True
    for name in ("quantity", "price", "amount"):
        value = action.get(name)
        if value is not None and (value < 0 or (name == "quantity" and value == 0)):
            return True
    return False


def is_purchase(action: Row) -> bool:
    return action["kind"] == ORDER and not is_return(action)


def unit_price(action: Row, items: Iterable[Row] | None) -> Decimal | None:
    own = money(action.get("price"))
    if own is not None:
        return own
    row = newest_snapshot(items, action["item_id"], action["day"])
    return None if row is None else money(row.get("price"))


def worth(action: Row, items: Iterable[Row] | None) -> Decimal | None:
    if action.get("amount") is not None:
        return money(action["amount"])
    price = unit_price(action, items)
    if price is None:
        return None
    quantity = action.get("quantity")
    return money(price * (1 if quantity is None else Decimal(str(quantity))))


def sort_time(action: Row) -> datetime:
    """As in histories: the day at midnight where there is no time."""
    at = action.get("occurred_at")
    return at if at is not None else datetime.combine(action["day"], time(), UTC)


def by_session(actions: Iterable[Row]) -> list[list[Row]]:
    """Each session as its actions in order of (time, id)."""
    timed = [a for a in actions if a.get("occurred_at") is not None]
    timed.sort(key=lambda a: (a["occurred_at"], a.get("interaction_id") or "", a["item_id"]))
    named: dict[tuple, list[Row]] = {}
    unnamed: dict[tuple, list[list[Row]]] = {}
    for action in timed:
        owner = (action["customer_id"], action["day"])
        if action.get("session_id") is not None:
            named.setdefault((*owner, action["session_id"]), []).append(action)
            continue
        sessions = unnamed.setdefault(owner, [])
        if sessions:
            pause = action["occurred_at"] - sessions[-1][-1]["occurred_at"]
            if pause <= timedelta(minutes=30):
                sessions[-1].append(action)
                continue
        sessions.append([action])
    return list(named.values()) + [session for list_ in unnamed.values() for session in list_]


def ratio(over: Any, under: Any) -> float | None:
    return None if under == 0 else float(over) / float(under)


def count(actions: Iterable[Row], is_counted: Callable[[Row], bool]) -> int:
    number = 0
    for action in actions:
        if is_counted(action):
            number += 1
    return number


def mean(values: list[Any]) -> float | None:
    return float(sum(values)) / len(values) if values else None


def ratings(actions: Iterable[Row]) -> list[Any]:
    given = []
    for action in actions:
        rating = action.get("rating")
        if rating is not None and not math.isnan(rating):
            given.append(rating)
    return given


# user_features


def favorite(actions: list[Row], items: Iterable[Row] | None, dt: date) -> tuple[str | None, int]:
    """The favourite category and its actions."""
    counts: dict[str, int] = {}
    newest: dict[str, datetime] = {}
    for action in actions:
        category = word(as_of(items, action["item_id"], dt), "category")
        if category is None:
            continue
        counts[category] = counts.get(category, 0) + 1
        newest[category] = max(newest.get(category, sort_time(action)), sort_time(action))
    best: str | None = None
    for category in sorted(counts):
        if best is None or (counts[category], newest[category]) > (counts[best], newest[best]):
            best = category
    return best, counts.get(best, 0) if best is not None else 0


def recent_items(actions: list[Row]) -> list[Any]:
    ordered = sorted(actions, key=lambda a: (a["item_id"], a["kind"]))
    ordered.sort(key=sort_time, reverse=True)
    found: list[Any] = []
    for action in ordered:
        if action["item_id"] not in found:
            found.append(action["item_id"])
    return found[:10]


def user_row(actions: list[Row], items: Iterable[Row] | None, dt: date, engagement: str) -> Row:
    """``actions``: of one customer in the window, at least one."""
    total = len(actions)
    purchases = [a for a in actions if is_purchase(a)]
    by_kind = {name: count(actions, lambda a, k=k: a["kind"] == k) for k, name in KINDS.items()}
    engagements = by_kind[engagement]
    sessions = by_session(actions)
    best, in_best = favorite(actions, items, dt)
    prices = [p for a in purchases if (p := unit_price(a, items)) is not None]
    values = [worth(a, items) for a in purchases]
    returned = [worth(a, items) for a in actions if is_return(a)]
    categories = {word(as_of(items, a["item_id"], dt), "category") for a in purchases} - {None}
    days = {a["day"] for a in actions}
    since_first = (dt - min(days)).days
    times = [a["occurred_at"] for a in actions if a.get("occurred_at") is not None]
    lengths = [(s[-1]["occurred_at"] - s[0]["occurred_at"]).total_seconds() for s in sessions]
    return {
        "dt": dt,
        "customer_id": actions[0]["customer_id"],
        "total_interactions": total,
        "total_purchases": len(purchases),
        "unique_items": len({a["item_id"] for a in actions}),
        "days_active": len(days),
        **{f"count_{name}": number for name, number in by_kind.items()},
        **{f"share_{name}": number / total for name, number in by_kind.items()},
        "avg_session_duration": mean(lengths),
        "favorite_category": best,
        "avg_price_point": mean(prices),
        "recency_days": (dt - max(days)).days,
        "last_interaction": max(times) if times else None,
        "frequency_score": total / max(1, since_first / 7),
        "monetary_value": sum((v for v in values if v is not None), Decimal("0.0000"))
        - sum((abs(v) for v in returned if v is not None), Decimal("0.0000")),
        "purchases_without_price": count(values, lambda v: v is None),
        "diversity_score": ratio(len(categories), len(purchases)),
        "conversion_rate": ratio(len(purchases), engagements),
        "conversion_smoothed": (len(purchases) + 1) / (engagements + 20),
        "avg_rating": mean(ratings(actions)),
        "recent_items": recent_items(actions),
        "sessions": len(sessions),
        "days_since_first": since_first,
        "favorite_category_share": None if best is None else in_best / total,
    }


def user_features(
    actions: Iterable[Row],
    items: Iterable[Row] | None = None,
    *,
    days: Iterable[date],
    lookback_days: int | None = 365,
    engagement: str = "view",
) -> list[Row]:
    rows = []
    for dt in days:
        window = in_window(actions, dt, lookback_days)
        for customer in {a["customer_id"] for a in window}:
            own = [a for a in window if a["customer_id"] == customer]
            rows.append(user_row(own, items, dt, engagement))
    return rows


# item_features


def price_percentile(items: Iterable[Row] | None, item_id: Any, dt: date) -> float | None:
    row = as_of(items, item_id, dt)
    if row is None or not is_active(row) or money(row.get("price")) is None:
        return None
    if word(row, "category") is None:
        return None
    prices = []
    for other in {r["item_id"] for r in items or []}:
        found = as_of(items, other, dt)
        if found is None or not is_active(found) or money(found.get("price")) is None:
            continue
        if word(found, "category") == word(row, "category"):
            prices.append(money(found["price"]))
    lower = count(prices, lambda price: price < money(row["price"]))
    return 0.0 if len(prices) == 1 else lower / (len(prices) - 1)


def item_row(
    item_id: Any,
    window: list[Row],
    items: Iterable[Row] | None,
    shown: int | None,
    dt: date,
    lookback_days: int | None,
    engagement: str,
) -> Row:
    """``window``: all actions of all items in the window."""
    engaged = {name: kind for kind, name in KINDS.items()}[engagement]
    actions = [a for a in window if a["item_id"] == item_id]
    purchases = [a for a in actions if is_purchase(a)]
    by_kind = {name: count(actions, lambda a, k=k: a["kind"] == k) for k, name in KINDS.items()}
    engagements = by_kind[engagement]
    row = as_of(items, item_id, dt)
    rated = ratings(actions)
    age = age_of(row, actions, dt)
    e7 = count(actions, lambda a: a["kind"] == engaged and (dt - a["day"]).days <= 7)
    base = count(actions, lambda a: a["kind"] == engaged and 7 < (dt - a["day"]).days <= 35)
    base_days = None if age is None else min(28, age - 7)
    clicks_under = shown if shown is not None else by_kind["view"] if engagement == "view" else 0
    return {
        "dt": dt,
        "item_id": item_id,
        **{f"count_{name}": number for name, number in by_kind.items()},
        "unique_users": len({a["customer_id"] for a in actions}),
        "rating_mean": mean(rated),
        "rating_count": len(rated),
        "rating_std": deviation(rated),
        "popularity_score": engagements / exposure_days(row, actions, window, dt, lookback_days),
        "conversion_rate": ratio(len(purchases), engagements),
        "conversion_smoothed": (len(purchases) + 1) / (engagements + 20),
        "avg_rating": mean(rated),
        "catalog_avg_rating": None if row is None else row.get("avg_rating"),
        "price": None if row is None else money(row.get("price")),
        "price_percentile": price_percentile(items, item_id, dt),
        "recency_score": 1 / ((dt - max(a["day"] for a in purchases)).days + 1)
        if purchases
        else 0.0,
        "category_popularity": category_popularity(row, window, items, dt, engaged),
        "trending_score": None
        if age is None or age <= 7 or base == 0
        else (e7 / 7) / (base / base_days),
        "trending_smoothed": (e7 + 1) / (7 * base / max(1, base_days or 1) + 1),
        "engagement_score": ratio(sum(WEIGHTS[a["kind"]] for a in actions), 5 * len(actions)),
        "purchase_rate": ratio(len(purchases), len(actions)),
        "click_through_rate": ratio(by_kind["click"], clicks_under),
    }


def deviation(values: list[Any]) -> float | None:
    if len(values) < 2:
        return None
    exact = [Decimal(repr(value)) for value in values]
    middle = sum(exact) / len(exact)
    return math.sqrt(sum((value - middle) ** 2 for value in exact) / (len(exact) - 1))


def created_day(row: Row | None) -> date | None:
    return None if row is None else day_of(row.get("created_at"))


def age_of(row: Row | None, actions: list[Row], dt: date) -> int | None:
    born = created_day(row)
    if born is None and actions:
        born = min(a["day"] for a in actions)
    return None if born is None else (dt - born).days


def exposure_days(
    row: Row | None, actions: list[Row], window: list[Row], dt: date, lookback_days: int | None
) -> int:
    starts = []
    age = age_of(row, actions, dt)
    if age is not None:
        starts.append(dt - timedelta(days=age))
    if lookback_days is not None:
        starts.append(dt - timedelta(days=lookback_days))
    if window:
        starts.append(min(a["day"] for a in window))
    return max(1, (dt - max(starts)).days) if starts else 1


def category_popularity(
    row: Row | None, window: list[Row], items: Iterable[Row] | None, dt: date, engaged: int
) -> float:
    category = word(row, "category")
    everywhere = [a for a in window if a["kind"] == engaged]
    if category is None or not everywhere:
        return 0.0
    inside = 0
    for action in everywhere:
        if word(as_of(items, action["item_id"], dt), "category") == category:
            inside += 1
    return inside / len(everywhere)


def item_features(
    actions: Iterable[Row],
    items: Iterable[Row] | None = None,
    impressions: Iterable[Row] | None = None,
    *,
    days: Iterable[date],
    lookback_days: int | None = 365,
    engagement: str = "view",
) -> list[Row]:
    rows = []
    for dt in days:
        window = in_window(actions, dt, lookback_days)
        known = {a["item_id"] for a in window}
        for row in items or []:
            if row.get("item_id") is not None and as_of(items, row["item_id"], dt) is not None:
                known.add(row["item_id"])
        for item_id in known:
            shown = None
            if impressions is not None:
                shown = times_shown(impressions, item_id, dt, lookback_days)
            given = (item_id, window, items, shown, dt, lookback_days, engagement)
            rows.append(item_row(*given))
    return rows


def times_shown(
    impressions: Iterable[Row], item_id: Any, dt: date, lookback_days: int | None
) -> int:
    number = 0
    for row in impressions:
        if row["item_id"] != item_id or row["dt"] is None or not day_of(row["dt"]) < dt:
            continue
        if lookback_days is None or (dt - day_of(row["dt"])).days <= lookback_days:
            number += 1
    return number


# pair_features


def attributes(items: Iterable[Row] | None, item_id: Any, dt: date) -> set[tuple[str, Any]]:
    row = as_of(items, item_id, dt)
    found = {(n, v) for n in ("category", "subcategory", "brand") if (v := word(row, n))}
    percentile = price_percentile(items, item_id, dt)
    if percentile is not None:
        found.add(("quartile", min(3, math.floor(4 * percentile))))
    return found


def affinity(own: list[Row], items: Iterable[Row], item_id: Any, dt: date) -> float:
    """``own``: the customer's actions in the window."""
    user: dict[tuple[str, Any], int] = {}
    for action in own:
        for attribute in attributes(items, action["item_id"], dt):
            user[attribute] = user.get(attribute, 0) + WEIGHTS[action["kind"]]
    item = attributes(items, item_id, dt)
    if not user or not item:
        return 0.0
    dot = sum(user.get(attribute, 0) for attribute in item)
    return dot / (math.sqrt(sum(v * v for v in user.values())) * math.sqrt(len(item)))


def pair_features(
    pairs: list[Row],
    actions: Iterable[Row],
    items: Iterable[Row],
    *,
    lookback_days: int | None = 365,
) -> list[Row]:
    rows = []
    placed = [{**pair, "day": day_of(pair["dt"]), "index": n} for n, pair in enumerate(pairs)]
    position = {}
    for session in by_session(placed):
        for place, pair in enumerate(session, start=1):
            position[pair["index"]] = place
    for pair in placed:
        dt, item_id = pair["day"], pair["item_id"]
        window = in_window(actions, dt, lookback_days)
        own = [a for a in window if a["customer_id"] == pair["customer_id"]]
        catalog = as_of(items, item_id, dt)
        category = word(catalog, "category")
        price = None if catalog is None else money(catalog.get("price"))
        paid = [p for a in own if is_purchase(a) and (p := unit_price(a, items)) is not None]
        usual = sum(paid) / len(paid) if paid else None
        known = bool(price and usual and price > 0)
        at = pair.get("occurred_at")
        rows.append(
            {
                "dt": dt,
                "customer_id": pair["customer_id"],
                "item_id": item_id,
                "user_item_affinity": affinity(own, items, item_id, dt),
                "category_match": category is not None and favorite(own, items, dt)[0] == category,
                "price_match": abs(usual - price) < Decimal("20.00") if known else None,
                "price_ratio": math.log(float(price) / float(usual)) if known else None,
                "time_of_day": None if at is None else at.hour,
                "day_of_week": None if at is None else at.isoweekday(),
                "session_position": position.get(pair["index"]),
            }
        )
    return rows
