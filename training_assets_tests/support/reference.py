"""The truth: training input by plain loops, one rule after the other, for any reader to check.

Rows are dicts with the columns of the raw tables. Slow on purpose; shares no code with the package.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

Row = dict[str, Any]


class Action(NamedTuple):
    day: date
    customer_id: int
    item_id: int
    action_type: int
    at: datetime


def unified_actions(
    clicks: Iterable[Row], add_to_carts: Iterable[Row], previous_orders: Iterable[Row]
) -> list[Action]:
    sources = (
        (clicks, "dt", "item_id", 1, "click_time"),
        (add_to_carts, "dt", "config_id", 2, "occurred_at"),
        (previous_orders, "order_date", "config_id", 3, "occurred_at"),
    )
    actions = []
    for rows, day_name, item_name, action_type, time_name in sources:
        for row in rows:
            day, customer, item = row[day_name], row["customer_id"], row[item_name]
            if day is None or customer is None or item is None:
                continue
            if item < 1 or item > 2147483647:
                continue
            at = row.get(time_name)
            if at is None:
                at = datetime(day.year, day.month, day.day, tzinfo=UTC)
            actions.append(Action(day, customer, item, action_type, at))
    return actions


def history(
    actions: Iterable[Action],
    customer_id: int,
    dt: date,
    history_length: int,
    lookback_days: int | None,
) -> list[Action]:
    counting = []
    for action in actions:
        if action.customer_id != customer_id:
            continue
        if not action.day < dt:
            continue
        if lookback_days is not None and action.day < dt - timedelta(days=lookback_days):
            continue
        counting.append(action)
    counting.sort(
        key=lambda a: (
            -_micros(a.at),
            a.item_id,
            a.action_type,
            -a.day.toordinal(),
        )
    )
    return counting[:history_length]


def training_input(
    impressions: Iterable[Row],
    clicks: Iterable[Row],
    add_to_carts: Iterable[Row],
    previous_orders: Iterable[Row],
    history_length: int = 1000,
    lookback_days: int | None = 365,
) -> list[tuple[Any, ...]]:
    """The rows in the order of the columns of ``training_input``, sorted."""
    actions = unified_actions(clicks, add_to_carts, previous_orders)
    rows = []
    for ranking in impressions:
        dt, customer = ranking["dt"], ranking["customer_id"]
        if dt is None or customer is None:
            continue
        newest = history(actions, customer, dt, history_length, lookback_days)
        missing = history_length - len(newest)
        items = [a.item_id for a in newest] + [0] * missing
        types = [a.action_type for a in newest] + [0] * missing
        for item in ranking["impressions"] or []:
            if item is None or item["item_id"] is None or item["is_order"] is None:
                continue
            if not 1 <= item["item_id"] <= 2147483647:
                continue
            label = 1 if item["is_order"] else 0
            shown = (dt.isoformat(), customer, ranking["ranking_id"], item["item_id"], label)
            rows.append((*shown, items, types))
    return sorted(rows, key=repr)


def _micros(at: datetime) -> int:
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
