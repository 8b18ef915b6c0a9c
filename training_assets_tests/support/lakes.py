"""A tiny raw lake: 30 days of actions, rankings on the last five of them, ten customers.

Rows are literal where a test depends on them and seeded elsewhere. Meant for ``SETTINGS``: with
histories of 6 and a look-back of 20 days, both limits cut something. An item says by its last two
digits how many days before ``DAY`` it was acted on.
"""

import random
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.lake import day_range
from training_assets.schemas import RAW_TABLES
from training_assets.settings import Settings
from training_assets_tests.support.frames import DAY, at, before, cart, click, order, ranking

SETTINGS = Settings(history_length=6, lookback_days=20)
ACTION_DAYS = day_range(before(29), DAY)
IMPRESSION_DAYS = day_range(before(4), DAY)
# From here on there are many actions a day, except on the quiet day, which has none.
BUSY_DAYS = day_range(before(13), DAY)
QUIET_DAY = before(10)

TRUNCATED = 1  # acts once on all of the last days, so every history is cut
SHORT = 2  # a click, a cart, an order; one action at the old end of the look-back, one beyond it
NEW = 3  # never acted
LAPSED = 4  # acted, but before the look-back
FIRST_TIME = 5  # acts on the third impression day only
TIED = 6  # several actions at the same time, one of them twice
LATE = 7  # events that arrived days later, and events without a time
REGULARS = (8, 9)  # act at random
SILENT = 10  # acts most, and is never shown anything
SHOWN = (TRUNCATED, SHORT, NEW, LAPSED, FIRST_TIME, TIED, LATE, *REGULARS)

Row = dict[str, Any]


def tiny_actions(seed: int = 7) -> list[Row]:
    """Clicks, carts and orders, of which one click has no item."""
    third = IMPRESSION_DAYS[2]
    tie = at(before(6), "09:30")
    rows = [
        *(click(TRUNCATED, 100 + n, before(n), at(before(n))) for n in range(14) if n != 10),
        click(SHORT, 202, third, at(third)),
        click(SHORT, 205, before(5), at(before(5))),
        cart(SHORT, 209, before(9), at(before(9))),
        order(SHORT, 214, before(14), at(before(14))),
        click(SHORT, 222, before(22), at(before(22))),
        click(SHORT, 223, before(23), at(before(23))),
        click(LAPSED, 426, before(26), at(before(26))),
        click(FIRST_TIME, 502, third, at(third)),
        click(TIED, 606, before(6), tie),
        order(TIED, 606, before(6), tie),
        click(TIED, 706, before(6), tie),
        click(TIED, 706, before(6), tie),
        click(LATE, 705, before(5), at(before(15))),
        order(LATE, 708, before(8), None),
        click(LATE, 709, before(9), at(before(9), "00:00:01")),
        click(SHORT, None, third, at(third)),
    ]
    rng = random.Random(seed)
    for day in BUSY_DAYS:
        if day == QUIET_DAY:
            continue
        ago = (DAY - day).days
        for make, customers in ((click, [SILENT] * 20), (cart, [SILENT] * 10), (order, [SILENT])):
            for customer in (*customers, rng.choice(REGULARS)):
                item = 100 * rng.randint(11, 19) + ago
                rows.append(make(customer, item, day, at(day, f"{rng.randrange(24):02d}:00")))
    return rows


def tiny_rankings() -> list[Row]:
    """One to three rankings a customer and day; an item twice in each, one without an id."""
    return [
        ranking(customer, [(7, False), (8, n == 0), (7, False)], day, f"{customer}-{n}")
        for day in IMPRESSION_DAYS
        for customer in SHOWN
        for n in range(1 + customer % 3)
    ] + [ranking(SHORT, [(None, True)], IMPRESSION_DAYS[2], "no item")]


def write_raw_lake(
    root: Path,
    rankings: Iterable[Row],
    actions: Iterable[Row],
    *,
    impression_days: Sequence[date] = IMPRESSION_DAYS,
    action_days: Sequence[date] = ACTION_DAYS,
) -> Path:
    """Write rows of ``frames.py`` as raw Parquet: orders flat, all else in a folder a day.

    A day without rows has an empty folder.
    """
    listed = list(actions)
    orders = [row for row in listed if "order_date" in row]
    clicks = [row for row in listed if "click_time" in row]
    carts = [row for row in listed if "config_id" in row and "order_date" not in row]
    _write(root, "previous_orders", "orders.parquet", orders)
    for name, rows, days in (
        ("impressions", list(rankings), impression_days),
        ("clicks", clicks, action_days),
        ("add_to_carts", carts, action_days),
    ):
        for day in days:
            of_day = [row for row in rows if row["dt"] == day]
            _write(root, name, f"dt={day}/part-0.parquet", of_day)
    return root


def _write(root: Path, name: str, file: str, rows: list[Row]) -> None:
    table = RAW_TABLES[name]
    path = root / "raw" / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    is_flat = "/" not in file
    # A flat file has the day as a column; in a day folder the path says it.
    columns = table.columns if is_flat else table.stored_columns
    schema = pa.schema([(column.name, column.arrow) for column in columns])
    if rows or is_flat:
        pq.write_table(pa.Table.from_pylist(rows, schema), path)


def write_tiny_lake(root: Path) -> Path:
    return write_raw_lake(root, tiny_rankings(), tiny_actions())
