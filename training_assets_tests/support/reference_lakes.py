"""A lake whose tables are published from what the reference says, without any build."""

from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import Any

from training_assets.lake import Lake
from training_assets.schemas import (
    ACTION_SOURCES,
    ACTION_TYPES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
)
from training_assets.settings import Settings
from training_assets_tests.support import reference
from training_assets_tests.support.planting import publish_day, table_of

Row = dict[str, Any]


def publish_reference(
    lake: Lake,
    settings: Settings,
    rankings: Iterable[Row],
    actions: Iterable[Row],
    *,
    action_days: Iterable[date],
    impression_days: Iterable[date],
) -> None:
    """All three tables, with what is invalid in the quarantine."""
    rankings, actions = list(rankings), list(actions)
    clicks = [row for row in actions if "click_time" in row]
    orders = [row for row in actions if "order_date" in row]
    carts = [row for row in actions if "config_id" in row and "order_date" not in row]
    valid = reference.unified_actions(clicks, carts, orders)
    for day in action_days:
        of_day = [action for action in valid if action.day == day]
        names = UNIFIED_ACTIONS.column_names[1:5]
        told = {"has_time": True, "is_bot": False}
        rows = table_of(
            UNIFIED_ACTIONS, ({**dict(zip(names, a[1:], strict=True)), **told} for a in of_day)
        )
        good = Counter(action.action_type for action in of_day)
        rejects, counts = {}, {}
        raws = (clicks, carts, orders)
        for source, code, raw in zip(ACTION_SOURCES, (1, 2, 3), raws, strict=True):
            came = sum(row[source.day_column] == day for row in raw)
            counts[f"num_{ACTION_TYPES[code]}s"] = good[code]
            if came > good[code]:
                rejects[source.name] = came - good[code]
        publish_day(
            lake,
            UNIFIED_ACTIONS,
            day,
            rows.sort_by("customer_id"),
            manifest={"figures": counts},
            rejects=rejects,
        )
    sources = (clicks, carts, orders)
    knobs = (settings.history_length, settings.lookback_days)
    shown = reference.training_input(rankings, *sources, *knobs)
    for day in impression_days:
        of_day = [row for row in shown if row[0] == str(day)]
        histories = []
        for customer in sorted({row[1] for row in of_day}):
            newest = reference.history(valid, customer, day, *knobs)
            histories.append(
                {
                    "customer_id": customer,
                    "action_items": [a.item_id for a in newest],
                    "action_types": [a.action_type for a in newest],
                    "action_days_ago": [(day - a.day).days for a in newest],
                }
            )
        publish_day(lake, CUSTOMER_HISTORY, day, table_of(CUSTOMER_HISTORY, histories))
        names = TRAINING_INPUT.column_names[1:]
        rows = table_of(TRAINING_INPUT, (dict(zip(names, r[1:], strict=True)) for r in of_day))
        came = sum(len(r["impressions"] or ()) for r in rankings if r["dt"] == day)
        rejects = {IMPRESSIONS.name: came - len(rows)} if came > len(rows) else {}
        publish_day(lake, TRAINING_INPUT, day, rows.sort_by("customer_id"), rejects=rejects)
