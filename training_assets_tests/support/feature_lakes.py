"""A lake of a shop with prices, ratings, sessions, bots and a catalogue, published by hand."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from training_assets.lake import Lake, day_range
from training_assets.provenance import Provenance
from training_assets.schemas import ITEMS, UNIFIED_ACTIONS
from training_assets.settings import Settings
from training_assets.tables import unified_actions
from training_assets_tests.support.planting import publish_day, table_of

Row = dict[str, Any]

SETTINGS = Settings(lookback_days=10, engagement="view")
LAST = date(2024, 3, 1)
ACTION_DAYS = day_range(LAST - timedelta(days=19), LAST)
FEATURE_DAYS = day_range(LAST - timedelta(days=4), LAST)
BOT = 99
_CATEGORIES = ("shoes", "shirts", "unknown", None)


def shop_actions(seed: int = 5) -> list[Row]:
    """About 20 actions a day, in the columns of ``unified_actions``."""
    rng = random.Random(seed)
    rows = []
    for day in ACTION_DAYS:
        for _ in range(rng.randrange(12, 25)):
            has_time = rng.random() < 0.9
            clock = timedelta(minutes=rng.randrange(1440)) if has_time else timedelta()
            kind = rng.choice((1, 1, 2, 3, 3, 4, 4, 4, 5))
            customer = rng.choice((1, 2, 3, 4, 5, 6, BOT))
            is_order = kind == 3
            rows.append(
                {
                    "dt": day,
                    "customer_id": customer,
                    "item_id": rng.randrange(1, 12),
                    "action_type": kind,
                    "occurred_at": datetime.combine(day, datetime.min.time(), UTC) + clock,
                    "has_time": has_time,
                    "is_bot": customer == BOT,
                    "session_id": rng.choice(("a", "b", None)),
                    "rating": rng.choice((None, None, 1.0, 4.5)),
                    "price": _money(rng, 0.6) if is_order else None,
                    "quantity": rng.choice((None, 1.0, 2.5, -1.0)) if is_order else None,
                    "amount": _money(rng, 0.3) if is_order else None,
                }
            )
    return rows


def _money(rng: random.Random, share: float) -> Decimal | None:
    return Decimal(rng.randrange(1, 9000)).scaleb(-2) if rng.random() < share else None


def shop_items(seed: int = 6) -> list[Row]:
    """Every item on every day but the first five; prices and categories change."""
    rng = random.Random(seed)
    known = {item: _item(rng, item) for item in range(1, 15)}
    rows = []
    for day in ACTION_DAYS[5:]:
        changed = rng.randrange(1, 15)
        known[changed] = _item(rng, changed)
        rows += [{"dt": day, **row} for row in known.values()]
    return rows


def _item(rng: random.Random, item: int) -> Row:
    born = datetime.combine(ACTION_DAYS[0], datetime.min.time(), UTC)
    return {
        "item_id": item,
        "title": f"item {item}",
        "category": rng.choice(_CATEGORIES),
        "subcategory": rng.choice(("x", "y", None)),
        "brand": rng.choice(("b", "c", "unknown")),
        "price": _money(rng, 0.8),
        "avg_rating": rng.choice((None, 3.5)),
        "created_at": rng.choice((None, born + timedelta(days=rng.randrange(12)))),
        "is_active": rng.random() < 0.8,
        "is_listed": True,
    }


def write_shop_lake(
    root: Path, actions: list[Row], items: list[Row] | None = None, settings: Settings = SETTINGS
) -> Lake:
    """Publish the rows as days of ``unified_actions`` and ``items``."""
    lake = Lake.at(root)
    recorded = Provenance(lake, settings).recorded(unified_actions.BUILT_FROM)
    for day in ACTION_DAYS:
        publish_actions(lake, day, actions, {"settings": recorded})
        publish_catalogue(lake, day, items or [])
    return lake


def publish_catalogue(lake: Lake, day: date, items: list[Row]) -> None:
    """Its snapshot of the day, where the rows have one."""
    if of_day := [row for row in items if row["dt"] == day]:
        publish_day(lake, ITEMS, day, table_of(ITEMS, _without_day(of_day)))


def publish_actions(
    lake: Lake, day: date, actions: list[Row], manifest: dict[str, Any] | None = None
) -> None:
    of_day = _without_day([row for row in actions if row["dt"] == day])
    publish_day(
        lake, UNIFIED_ACTIONS, day, table_of(UNIFIED_ACTIONS, of_day), manifest=manifest or {}
    )


def _without_day(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name != "dt"} for row in rows]


def as_given(actions: list[Row]) -> list[Row]:
    """As the functions take them: without bots, and null where an action has no time of its own."""
    return [
        {**row, "occurred_at": row["occurred_at"] if row["has_time"] else None}
        for row in actions
        if not row["is_bot"]
    ]
