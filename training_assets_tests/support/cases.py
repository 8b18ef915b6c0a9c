"""Literal cases, and the two ways in which each is run: by the public function, and published."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.lake.frames import read_days
from training_assets.pipeline import build_days
from training_assets.schemas import RAW_TABLES, TRAINING_INPUT
from training_assets.settings import Settings
from training_assets_tests.support.frames import (
    DAY,
    arrow_schema,
    cart,
    click,
    order,
    ranking,
    training_rows,
)
from training_assets_tests.support.tables import SEQUENCE

Row = dict[str, Any]
Pairs = Sequence[tuple[int, int]]

_LENGTH = 4
# Acts and is shown on every day, so that few of the rows of a day are invalid.
_BYSTANDER = 999_999_999
_VALID_ROWS = 300


@dataclass(frozen=True)
class Case:
    """Raw rows, and the training rows that they give, sorted.

    ``keeps_ids``: the customers are part of the case; others may get other ids.
    """

    rankings: list[Row]
    actions: list[Row]
    rows: list[tuple]
    length: int = _LENGTH
    lookback: int | None = 365
    keeps_ids: bool = False

    def __post_init__(self) -> None:
        padded = [
            (*row[:5], *([*values, *[0] * (self.length - len(values))] for values in row[5:]))
            for row in self.rows
        ]
        object.__setattr__(self, "rows", sorted(padded, key=repr))

    @property
    def knobs(self) -> dict[str, Any]:
        return {"history_length": self.length, "lookback_days": self.lookback}

    def with_ids(self, ids: Mapping[int, int]) -> "Case":
        """The same case of other customers."""

        def renamed(rows: list[Row]) -> list[Row]:
            return [row | {"customer_id": ids.get(row["customer_id"])} for row in rows]

        rows = [(row[0], ids[row[1]], *row[2:]) for row in self.rows]
        return replace(
            self, rankings=renamed(self.rankings), actions=renamed(self.actions), rows=rows
        )

    def customers(self) -> list[int]:
        ids = {row["customer_id"] for row in (*self.rankings, *self.actions)}
        return sorted(ids - {None})


def newest(*actions: Row, gives: Pairs, length: int = _LENGTH, lookback: int | None = 365) -> Case:
    """Customer 1, who is shown item 99 on DAY, and the (item, type) of the history, not padded."""
    rows = [shown(1, 99, newest=gives)]
    return Case([ranking(1, [99])], list(actions), rows, length, lookback)


def shown(
    customer: int,
    item: int,
    label: int = 0,
    *,
    newest: Pairs = (),
    day: date = DAY,
    name: str | None = "r",
) -> tuple:
    """A training row, its arrays not padded."""
    return (str(day), customer, name, item, label, [i for i, _ in newest], [t for _, t in newest])


def frame_rows(spark: SparkSession, case: Case) -> list[tuple]:
    """Training rows of the case by the public function, sorted."""
    return training_rows(spark, case.rankings, *case.actions, **case.knobs)


def rows_in_company(spark: SparkSession, cases: Mapping[str, Case]) -> dict[str, list[tuple]]:
    """Training rows of each case by the public function, of all with the same knobs at once."""

    def compute(some: Sequence[Case]) -> list[tuple[Any, ...]]:
        rankings = [row for case in some for row in case.rankings]
        actions = [row for case in some for row in case.actions]
        return training_rows(spark, rankings, *actions, **some[0].knobs)

    return _in_company(cases, compute)


def published_rows(
    spark: SparkSession, root: Path, cases: Mapping[str, Case]
) -> dict[str, list[tuple]]:
    """Training rows of each case as they are published, sorted.

    Cases with the same knobs are one lake. Rows without a day are left out, since a folder has one.
    """

    def compute(some: Sequence[Case]) -> list[tuple[Any, ...]]:
        knobs = some[0].knobs
        return _published(spark, root / "-".join(map(str, knobs.values())), some, **knobs)

    return _in_company(cases, compute)


def _in_company(
    cases: Mapping[str, Case], compute: Callable[[Sequence[Case]], list[tuple[Any, ...]]]
) -> dict[str, list[tuple]]:
    """Rows of each case, computed with the others of its knobs, each with customers of its own."""
    own = {}
    for number, (name, case) in enumerate(cases.items(), 1):
        ids = {customer: 1_000 * number + n for n, customer in enumerate(case.customers())}
        own[name] = case if case.keeps_ids else case.with_ids(ids)
    found: dict[str, list[tuple]] = {}
    for knobs in {(case.length, case.lookback) for case in own.values()}:
        some = {n: c for n, c in own.items() if (c.length, c.lookback) == knobs}
        rows = compute(list(some.values()))
        for name, case in some.items():
            back = dict(zip(case.customers(), cases[name].customers(), strict=True))
            of_case = [(r[0], back[r[1]], *r[2:]) for r in rows if r[1] in back]
            found[name] = sorted(of_case, key=repr)
    return found


def _published(
    spark: SparkSession, root: Path, cases: Sequence[Case], **knobs: Any
) -> list[tuple[Any, ...]]:
    """Write the raw files of a lake, build its days, read what was published."""
    rankings = [row for case in cases for row in case.rankings if row["dt"]]
    actions = [row for case in cases for row in case.actions if _day_of(row)]
    shown_days = sorted({row["dt"] for row in rankings})
    days = sorted({*shown_days, *map(_day_of, actions)})
    for day in days:
        makers = (click, cart, order)
        actions += [make(_BYSTANDER, 1, day) for make in makers for _ in range(_VALID_ROWS)]
    rankings += [ranking(_BYSTANDER, [1], day) for day in shown_days for _ in range(_VALID_ROWS)]
    _write_raw(root, rankings, actions, days)
    # Only the days that a case is about have raw data.
    settings = Settings(
        lake=str(root), missing_raw="empty", incomplete_window="warn", start_date=days[0], **knobs
    )
    lake = Lake.at(root)
    actions_first, *others = SEQUENCE.values()
    for specs, some in (([actions_first], days), (others, shown_days)):
        reports = list(build_days(spark, lake, settings, specs, some))
        assert [report.problem for report in reports if report.problem] == []
    rows = read_days(spark, lake.snapshot(TRAINING_INPUT.name), TRAINING_INPUT, shown_days)
    return [(str(row[0]), *row[1:]) for row in rows.collect()]


def _day_of(row: Row) -> Any:
    return row["order_date"] if "order_date" in row else row["dt"]


def _write_raw(
    root: Path, rankings: Iterable[Row], actions: Sequence[Row], days: Sequence[date]
) -> None:
    """A file a day of each source; orders in one flat file."""
    sources = {
        "impressions": list(rankings),
        "clicks": [row for row in actions if "click_time" in row],
        "add_to_carts": [row for row in actions if "config_id" in row and "order_date" not in row],
    }
    for name, rows in sources.items():
        schema = arrow_schema(RAW_TABLES[name])
        for day in days:
            folder = root / "raw" / name / f"dt={day}"
            folder.mkdir(parents=True)
            of_day = [row for row in rows if row["dt"] == day]
            pq.write_table(
                pa.Table.from_pylist(of_day, schema).drop_columns("dt"), folder / "0.parquet"
            )
    orders = [row for row in actions if "order_date" in row]
    (root / "raw" / "previous_orders").mkdir()
    pq.write_table(
        pa.Table.from_pylist(orders, arrow_schema(RAW_TABLES["previous_orders"])),
        root / "raw" / "previous_orders" / "orders.parquet",
    )
