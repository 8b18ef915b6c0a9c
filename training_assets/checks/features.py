"""Feature tables: leakage, found by recomputing rows from published actions.

Of each day the rows of some customers, items or pairs are computed anew, by plain loops over their
actions (``recomputed.py``): all of them where there are few, a share by hash above that. A value
that differs, a row that should not be there, and one that lacks are the same finding: the row is
not what the days before say. Features that a shop declared itself are held to their ranges only,
by another check.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets.checks.context import CheckContext, CheckOutcome, Metric
from training_assets.checks.recomputed import (
    CLICK,
    ORDER,
    RETURN,
    VIEW,
    Action,
    Catalogue,
    Row,
    Shop,
    item_row,
    money,
    pair_row,
    user_row,
)
from training_assets.checks.structure import facts_of
from training_assets.schemas import (
    IMPRESSIONS,
    ITEMS,
    ITEMS_SHOWN,
    UNIFIED_ACTIONS,
)
from training_assets.sources import engagement_of, source_days

# Of a thousand customers whose histories are compared, a tenth has its features recomputed.
_SHARE_OF_CUSTOMERS: Final = 10
_ROWS_AT_ONCE: Final = 300
_BUCKETS: Final = 1_000_000
_TOLERANCE: Final = 1e-9
_EXAMPLES: Final = 3
_CATALOGUE: Final = (
    "item_id",
    "category",
    "subcategory",
    "brand",
    "price",
    "avg_rating",
    "created_at",
    "is_active",
)

Expected = Callable[[date, Mapping[int, list[Action]]], dict[tuple[Any, ...], Row]]


def check_user_leakage(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows of customers that are not what their actions and the catalogue before the day give."""
    sample = _sample(context, "customer_id")
    actions, engagement = _actions(context, sample, context.days), _engagement(context)

    def expected(day: date, by_customer: Mapping[int, list[Action]]) -> dict[tuple[Any, ...], Row]:
        catalogue = _catalogue(context, day)
        return {
            (customer,): user_row(own, catalogue, day, engagement)
            for customer, own in by_customer.items()
        }

    return _compare(context, sample, actions, "customer", expected)


def check_item_leakage(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows of items that are not what actions and the catalogue before the day give."""
    sample = _sample(context, "item_id")
    actions, engagement = _actions(context, sample, context.days), _engagement(context)
    shops = {day: _shop(context, day, engagement) for day in context.days}
    lookback = context.settings.lookback_days

    def expected(day: date, by_item: Mapping[int, list[Action]]) -> dict[tuple[Any, ...], Row]:
        listed = [item for item in shops[day].catalogue.rows if sample.has(item)]
        return {
            (item,): item_row(item, by_item.get(item, []), shops[day], day, lookback, engagement)
            for item in {*listed, *by_item}
        }

    return _compare(context, sample, actions, "item", expected)


def check_pair_leakage(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Pairs of which a value is not what the days before give; their number is another check's."""
    sample = _sample(context, "customer_id")
    actions = _actions(context, sample, context.days)
    outcomes = {}
    for day, rows in _rows(context, sample).items():
        by_customer = _grouped(actions, day, context.settings.lookback_days, "customer")
        catalogue = _catalogue(context, day)
        found = _Finding()
        for row in rows:
            own = by_customer.get(row["customer_id"], [])
            expected = pair_row(row["item_id"], row["occurred_at"], own, catalogue)
            key = (row["customer_id"], row["item_id"])
            found.add(key, _differences(row, expected))
        outcomes[day] = found.outcome(context, day)
    return outcomes


# --- which rows -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sample:
    """Keys in the first buckets of a hash; all where ``buckets`` are all of them."""

    key: str
    buckets: int
    chosen: frozenset[int] | None

    def condition(self) -> SparkColumn:
        if self.chosen is None:
            return F.lit(True)
        return F.pmod(F.xxhash64(F.col(self.key).cast("long")), F.lit(_BUCKETS)) < self.buckets

    def has(self, key: int) -> bool:
        return self.chosen is None or key in self.chosen


def _sample(context: CheckContext, key: str) -> _Sample:
    rows = max((sum(f.rows for f in files) for files in facts_of(context).values()), default=0)
    limit = max(10, context.settings.check_customers // _SHARE_OF_CUSTOMERS)
    limit = min(limit, max(10, _ROWS_AT_ONCE // max(1, len(context.days))))
    if rows <= limit:
        return _Sample(key, _BUCKETS, None)
    sample = _Sample(key, max(1, limit * _BUCKETS // rows), frozenset())
    if key != "item_id":
        return sample
    # Items of the catalogue have to be known by id too.
    chosen: list[int] = []
    if known := _all_items(context):
        ids = context.spark.createDataFrame(pa.table({key: pa.array(sorted(known), pa.int64())}))
        chosen = ids.where(sample.condition()).toArrow()[key].to_pylist()
    return _Sample(key, sample.buckets, frozenset(chosen))


def _all_items(context: CheckContext) -> set[int]:
    return {item for day in context.days for item in _catalogue(context, day).rows}


def _rows(context: CheckContext, sample: _Sample) -> dict[date, list[Row]]:
    """The rows of the sample, by day."""
    names = [column.name for column in context.table.stored_columns]
    frame = context.columns(context.table, context.days, names).where(sample.condition())
    found: dict[date, list[Row]] = {day: [] for day in context.days}
    for row in _plain(frame).to_pylist():
        found[row["dt"]].append(row)
    return found


def _plain(frame: DataFrame) -> pa.Table:
    """Times as microseconds since 1970."""
    times = [name for name, kind in frame.dtypes if kind.startswith("timestamp")]
    for name in times:
        frame = frame.withColumn(name, F.unix_micros(name))
    return frame.toArrow()


# --- what they are computed from ------------------------------------------------------------------


def _window(context: CheckContext, days: Iterable[date]) -> list[date]:
    published = context.lake.days(UNIFIED_ACTIONS.name)
    lookback = context.settings.lookback_days
    return [d for d in published if any(_counts(d, day, lookback) for day in days)]


def _counts(of: date, day: date, lookback_days: int | None) -> bool:
    return of < day and (lookback_days is None or (day - of).days <= lookback_days)


def _actions(context: CheckContext, sample: _Sample, days: Sequence[date]) -> list[Action]:
    """All actions of the sample that count for any of the days, without those of bots."""
    names = [c.name for c in UNIFIED_ACTIONS.stored_columns]
    frame = context.columns(UNIFIED_ACTIONS, _window(context, days), names)
    rows = _plain(frame.where(sample.condition() & ~F.col("is_bot"))).to_pylist()
    prices = _prices(context, rows)
    return [_action(row, prices) for row in rows]


def _action(row: Row, prices: Mapping[tuple[date, int], Decimal | None]) -> Action:
    paid = money(row["price"])
    known = paid if paid is not None else prices.get((row["dt"], row["item_id"]))
    return Action(
        row["dt"],
        row["customer_id"],
        row["item_id"],
        ORDER if row["action_type"] == RETURN else row["action_type"],
        row["occurred_at"] if row["has_time"] else None,
        row["session_id"],
        row["rating"],
        paid,
        money(row["quantity"]),
        money(row["amount"]),
        known,
        row["action_type"] == RETURN,
    )


def _may_be_priced(row: Row) -> bool:
    return row["action_type"] in (ORDER, RETURN) and not row["price"]


def _prices(context: CheckContext, rows: Sequence[Row]) -> dict[tuple[date, int], Decimal | None]:
    """What the catalogue says of purchases without a price, as of their day."""
    wanted = {(r["dt"], r["item_id"]) for r in rows if _may_be_priced(r)}
    published = context.lake.days(ITEMS.name)
    if not wanted or not published:
        return {}
    newest = {day: max((d for d in published if d <= day), default=None) for day, _ in wanted}
    days = {day for day in newest.values() if day is not None}
    items = sorted({item for _, item in wanted})
    frame = context.columns(ITEMS, days, ["item_id", "price"]).where(F.col("item_id").isin(items))
    known = {(r["dt"], r["item_id"]): money(r["price"]) for r in frame.toArrow().to_pylist()}
    return {(day, item): known.get((newest[day], item)) for day, item in wanted if newest[day]}


def _catalogue(context: CheckContext, day: date) -> Catalogue:
    """The newest published catalogue of a day before."""
    key = f"catalogue {day}"
    if key not in context.memo:
        before = [d for d in context.lake.days(ITEMS.name) if d < day]
        rows: list[Row] = []
        if before:
            rows = context.columns(ITEMS, before[-1:], _CATALOGUE).toArrow().to_pylist()
        context.memo[key] = Catalogue({row["item_id"]: row for row in rows})
    found: Catalogue = context.memo[key]
    return found


def _engagement(context: CheckContext) -> int:
    chosen = context.settings.engagement
    if chosen == "auto":
        chosen = engagement_of(context.lake)
    return VIEW if chosen == "view" else CLICK


def _shop(context: CheckContext, day: date, engagement: int) -> Shop:
    """What all items together did in the look-back of the day."""
    names = ["item_id", "action_type", "is_bot"]
    window = _window(context, [day])
    frame = context.columns(UNIFIED_ACTIONS, window, names).where(~F.col("is_bot"))
    is_engaged = (F.col("action_type") == engagement).cast("long")
    counted = frame.groupBy("item_id").agg(
        F.sum(is_engaged).alias("engagements"), F.min("dt").alias("first_day")
    )
    rows = counted.toArrow().to_pylist() if window else []
    shown = None
    if source_days(context.lake, IMPRESSIONS).days:
        shown = _shown(context, day)
    return Shop(
        _catalogue(context, day),
        {row["item_id"]: row["engagements"] for row in rows},
        min((row["first_day"] for row in rows), default=None),
        shown,
    )


def _shown(context: CheckContext, day: date) -> dict[int, int]:
    shown, lookback = ITEMS_SHOWN, context.settings.lookback_days
    window = [d for d in context.lake.days(shown.name) if _counts(d, day, lookback)]
    if _first_unknown(context, day, set(window)) is not None:
        return {}
    frame = context.columns(shown, window, ["item_id", "times"])
    rows = frame.groupBy("item_id").agg(F.sum("times").alias("times")).toArrow().to_pylist()
    return {row["item_id"]: row["times"] for row in rows}


def _first_unknown(context: CheckContext, day: date, known: set[date]) -> date | None:
    """A day of rankings in the look-back of which it is not known what was shown."""
    source, lookback = source_days(context.lake, IMPRESSIONS), context.settings.lookback_days
    delivered = set(source.days)
    if source.first is None:
        return None
    for number in range((day - source.first).days):
        of = source.first + timedelta(days=number)
        is_expected = of in delivered or context.settings.missing_raw == "error"
        if is_expected and _counts(of, day, lookback) and of not in known:
            return of
    return None


# --- what was found -------------------------------------------------------------------------------


def _compare(
    context: CheckContext,
    sample: _Sample,
    actions: Sequence[Action],
    owner: str,
    expected: Expected,
) -> dict[date, CheckOutcome]:
    outcomes = {}
    for day, rows in _rows(context, sample).items():
        grouped = _grouped(actions, day, context.settings.lookback_days, owner)
        wanted, found = expected(day, grouped), _Finding()
        for row in rows:
            key = (row[sample.key],)
            true = wanted.pop(key, None)
            found.add(key, ["the row itself"] if true is None else _differences(row, true))
        for key in wanted:
            found.add(key, ["no row"])
        outcomes[day] = found.outcome(context, day)
    return outcomes


def _grouped(
    actions: Iterable[Action], day: date, lookback_days: int | None, owner: str
) -> dict[int, list[Action]]:
    found: dict[int, list[Action]] = {}
    for action in actions:
        if _counts(action.day, day, lookback_days):
            found.setdefault(getattr(action, owner), []).append(action)
    return found


def _differences(row: Row, expected: Row) -> list[str]:
    """Names of the columns that differ."""
    return [name for name, value in expected.items() if not _is_same(row.get(name), value)]


def _is_same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(found == expected)


class _Finding:
    """Of one day: rows that were recomputed, and those that differ."""

    def __init__(self) -> None:
        self._checked = 0
        self._wrong: list[tuple[tuple[Any, ...], list[str]]] = []

    def add(self, key: tuple[Any, ...], differences: list[str]) -> None:
        self._checked += 1
        if differences:
            self._wrong.append((key, differences))

    def outcome(self, context: CheckContext, day: date) -> CheckOutcome:
        rows = sum(file.rows for file in facts_of(context)[day])
        metrics: dict[str, Metric] = {
            "rows": rows,
            "rows_checked": self._checked,
            "wrong_rows": len(self._wrong),
        }
        if not self._wrong:
            return CheckOutcome(True, metrics)
        columns = sorted({name for _, names in self._wrong for name in names})
        keys = ", ".join("/".join(map(str, key)) for key, _ in self._wrong[:_EXAMPLES])
        return CheckOutcome(
            False,
            metrics,
            f"{len(self._wrong)} of {self._checked} rows on {day} are not what the days before "
            f"give ({', '.join(columns[:10])}), for example of {keys}.",
        )
