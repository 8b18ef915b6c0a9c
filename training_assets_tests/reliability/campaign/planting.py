"""What is planted into the lake, and what must come of it.

The lake has three days. Each table is published for all of them from ``base_rows("old")``; then
the raw days EVE and DAY get ``base_rows("new")``, plants are added to EVE, and both are built.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from training_assets.schemas import (
    ADD_TO_CARTS,
    CLICKS,
    IMPRESSIONS,
    PREVIOUS_ORDERS,
    RAW_TABLES,
    Table,
)
from training_assets_tests.support.frames import DAY, at, before, cart, click, order, ranking
from training_assets_tests.support.raw_input import FORMATS, WRITE, Row, put

EVE, FIRST = before(1), before(2)
ACTIONS = (CLICKS, ADD_TO_CARTS, PREVIOUS_ORDERS)
ALL = (*ACTIONS, IMPRESSIONS)
# What is planted is shown to this customer, or done by it, so that its histories tell.
CUSTOMER = 1
_NUMBERS = iter(range(1_000, 10**6))
_ITEMS = pa.list_(pa.struct([("item_id", pa.int64()), ("is_order", pa.bool_())]))
_TYPES = {
    "dt": pa.date32(),
    "order_date": pa.date32(),
    "customer_id": pa.int64(),
    "item_id": pa.int64(),
    "config_id": pa.int64(),
    "simple_id": pa.int64(),
    "click_time": pa.timestamp("us", "UTC"),
    "occurred_at": pa.timestamp("us", "UTC"),
    "ranking_id": pa.string(),
    "impressions": _ITEMS,
}


def _nothing(root: Path) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class Plant:
    """One thing planted into one raw table of EVE.

    ``valid`` are the raw rows that must come out, ``reasons`` those of the rows (of impressions,
    items or rankings) that must be in the quarantine. ``meddle`` is in force during the build.
    """

    table: Table
    act: Callable[[Path], object]
    valid: Sequence[Row] = ()
    reasons: Sequence[str] = ()
    replaces: bool = False
    meddle: Callable[[Path], AbstractContextManager[None]] = _nothing


@dataclass(frozen=True)
class Kind:
    """One kind of bad input.

    Without ``error`` EVE must be published, and all plants are in the lake at once. Otherwise the
    day must be refused with those words, and each plant has a lake of its own.
    """

    name: str
    plants: tuple[Plant, ...]
    error: tuple[str, ...] = ()
    stops_all_days: bool = False


def base_rows(version: str, day: date) -> dict[str, list[Row]]:
    rows = {
        "clicks": [click(1, 11, day, at(day)), click(2, 12, day, at(day, "10:00"))],
        "add_to_carts": [cart(1, 13, day, at(day, "11:00"))],
        "previous_orders": [order(1, 14, day, None)],
        "impressions": [
            ranking(1, [5, (6, True)], day, "a"),
            ranking(2, [7, 7], day, "b"),
            ranking(3, [8], day, "c"),
        ],
    }
    if version == "new":
        rows["clicks"].append(click(1, 21, day, at(day, "13:00")))
        rows["add_to_carts"].append(cart(2, 22, day, at(day, "13:00")))
        rows["previous_orders"].append(order(2, 23, day, at(day, "13:00")))
        rows["impressions"].append(ranking(2, [9], day, "new"))
    return rows


def write_base(root: Path, version: str, days: Sequence[date]) -> None:
    for day in days:
        for name, rows in base_rows(version, day).items():
            put(root, "part-0.parquet", parquet(rows), RAW_TABLES[name], f"dt={day}")


def remove_base(root: Path, table: Table) -> None:
    (root / "raw" / table.name / f"dt={EVE}" / "part-0.parquet").unlink()


# --- rows and files -------------------------------------------------------------------------------


def item_column(table: Table) -> str:
    return "item_id" if table is CLICKS else "config_id"


def time_column(table: Table) -> str:
    return "click_time" if table is CLICKS else "occurred_at"


def good(table: Table, **changes: Any) -> Row:
    """A valid raw row without a day; ``item``, ``time`` and ``items`` stand for any table's."""
    number = next(_NUMBERS)
    if table is IMPRESSIONS:
        item = changes.pop("item", number)
        items = changes.pop("items", [{"item_id": item, "is_order": number % 2 == 0}])
        row: Row = {"ranking_id": f"p{number}", "customer_id": CUSTOMER, "impressions": items}
    else:
        row = {"customer_id": CUSTOMER, item_column(table): changes.pop("item", number)}
        row[time_column(table)] = changes.pop("time", at(EVE, "15:00"))
    return {**row, **changes}


def with_day(table: Table, row: Row, **changes: Any) -> Row:
    """The row as the table holds it: with its day, without columns that the table has not."""
    return {**{c.name: None for c in table.columns}, **row, table.day_column: EVE, **changes}


def parquet(rows: Sequence[Row], **types: pa.DataType) -> pa.Table:
    known = {**_TYPES, **types}
    return pa.table(
        {name: pa.array([row[name] for row in rows], known.get(name)) for name in rows[0]}
    )


def content_of(ending: str, rows: Sequence[Row], **types: pa.DataType) -> Any:
    return parquet(rows, **types) if ending == "parquet" else WRITE[ending](rows)


def drop(name: str, content: Any, table: Table, folder: str | None = f"dt={EVE}") -> Callable:
    """Puts a file of that content into the day."""
    return lambda root: put(root, name, content, table, folder)


def planted(
    table: Table,
    ending: str,
    rows: Sequence[Row],
    valid: Sequence[Row],
    reasons: Sequence[str] = (),
    **types: pa.DataType,
) -> Plant:
    """The rows as one more file of the day, in one format."""
    name = f"{table.name}-{next(_NUMBERS)}.{ending}"
    act = drop(name, content_of(ending, rows, **types), table)
    return Plant(table, act, [with_day(table, row) for row in valid], reasons)


def everywhere(
    rows_of: Callable[[Table], tuple[list[Row], list[Row], list[str]]],
    tables: Sequence[Table] = ALL,
    endings: Sequence[str] = FORMATS,
    **types: pa.DataType,
) -> Iterator[Plant]:
    """A plant for each table and format, of (rows, valid ones, reasons)."""
    for table in tables:
        for ending in endings:
            rows, valid, reasons = rows_of(table)
            yield planted(table, ending, rows, valid, reasons, **types)


def refused(
    name: str,
    error: Sequence[str],
    acts: Sequence[tuple[Table, Callable[[Path], object]]],
    meddle: Callable[[Path], AbstractContextManager[None]] = _nothing,
    *,
    stops_all_days: bool = False,
) -> Kind:
    plants = tuple(Plant(table, act, meddle=meddle) for table, act in acts)
    return Kind(name, plants, tuple(error), stops_all_days)


__all__ = [
    "ACTIONS",
    "ALL",
    "DAY",
    "EVE",
    "FIRST",
    "FORMATS",
    "Kind",
    "Plant",
    "base_rows",
    "content_of",
    "drop",
    "everywhere",
    "good",
    "item_column",
    "parquet",
    "planted",
    "put",
    "refused",
    "remove_base",
    "time_column",
    "with_day",
    "write_base",
]
