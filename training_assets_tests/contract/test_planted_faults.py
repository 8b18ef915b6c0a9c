"""Faults planted in published days: each fails exactly the check that speaks of it.

The lake is ``support/lakes.py``'s, built once an engine and copied for each fault. All faults are
planted on the third of its five published days; the day after it is checked along and must pass.
Other rows are published like any, so that their files are sound; files that are changed where they
lie are faults of their own.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from training_assets.checks import CheckResult, history
from training_assets.lake import Lake
from training_assets.pipeline import build_days, check_days
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings
from training_assets.tables import SPECS, Build, NewFiles
from training_assets_tests.support.frames import at, click
from training_assets_tests.support.lakes import (
    ACTION_DAYS,
    FIRST_TIME,
    IMPRESSION_DAYS,
    NEW,
    QUIET_DAY,
    SETTINGS,
    SHORT,
    TIED,
    TRUNCATED,
    Row,
    write_raw_lake,
    write_tiny_lake,
)
from training_assets_tests.support.planting import (
    paths_of,
    read_rows,
    replant,
    rows_of,
    unpublish,
    write_day,
)

BAD_DAY, DAY_AFTER = IMPRESSION_DAYS[2:4]
# The tables of impressions; others have faults of their own.
PLANTED = {t.name: SPECS[t.name] for t in (UNIFIED_ACTIONS, CUSTOMER_HISTORY, TRAINING_INPUT)}

Action = tuple[int, int, int]
Edit = Callable[[pa.Table], pa.Table]

# What is there before a fault is planted: (item, type, days ago), newest first.
TRUNCATED_ACTIONS: list[Action] = [(100 + n, 1, n - 2) for n in range(3, 9)]
SHORT_ACTIONS: list[Action] = [(205, 1, 3), (209, 2, 7), (214, 3, 12), (222, 1, 20)]
TIED_ACTIONS: list[Action] = [(606, 1, 4), (606, 3, 4), (706, 1, 4), (706, 1, 4)]


class Plant(NamedTuple):
    """Other rows, published like any; or the day's files changed where they lie."""

    rows: Edit | None = None
    file: Callable[[Path], object] | None = None

    def __call__(self, lake: Lake, table: str, day: date = BAD_DAY) -> None:
        if self.rows:
            replant(lake, table, day, self.rows(rows_of(lake, table, day)))
        for path in paths_of(lake, table, day) if self.file else ():
            self.file(path)


class Fault(NamedTuple):
    """What is planted on the bad day, the check that it breaks, and what that check says."""

    name: str
    table: str
    check: str
    plant: Plant
    says: str
    metrics: dict[str, Any]


def on_table(edit: Edit) -> Plant:
    """The day has the rows and columns that ``edit`` gives back."""
    return Plant(rows=edit)


def on_rows(edit: Callable[[list[Row]], list[Row] | None]) -> Plant:
    """The types stay; ``edit`` gives back other rows or changes those that it is given."""

    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        changed = edit(rows)
        # As declared, because engines forbid nulls where they wrote none.
        (schema,) = [
            t.arrow_schema
            for t in (spec.table for spec in PLANTED.values())
            if t.arrow_schema.names == table.column_names
        ]
        return pa.Table.from_pylist(rows if changed is None else changed, schema=schema)

    return on_table(change)


def on_file(edit: Callable[[Path], object]) -> Plant:
    return Plant(file=edit)


def first(rows: list[Row], customer: int) -> Row:
    return next(row for row in rows if row["customer_id"] == customer)


def set_values(customer: int, **values: Any) -> Plant:
    """In the customer's first row."""
    return on_rows(lambda rows: first(rows, customer).update(values))


def set_history(customer: int, actions: Iterable[Action]) -> Plant:
    items, types, days_ago = ([action[n] for action in actions] for n in range(3))
    return set_values(customer, action_items=items, action_types=types, action_days_ago=days_ago)


def set_padded(customer: int, items: list[int | None], types: list[int | None]) -> Plant:
    return set_values(customer, action_items=items, action_types=types)


def drop_row(customer: int) -> Plant:
    return on_rows(lambda rows: rows.remove(first(rows, customer)))


def repeat_row(customer: int) -> Plant:
    return on_rows(lambda rows: [first(rows, customer), *rows])


def overwrite_row(customer: int) -> Plant:
    """The customer's second row becomes a copy of the first, so that the counts stay."""

    def edit(rows: list[Row]) -> None:
        one, other = [row for row in rows if row["customer_id"] == customer][:2]
        assert one != other
        other.update(one)

    return on_rows(edit)


def add_row(**values: Any) -> Plant:
    return on_rows(lambda rows: [*rows, values])


def cast_column(name: str, to: pa.DataType) -> Plant:
    return on_table(
        lambda table: table.set_column(
            table.schema.get_field_index(name), name, table[name].cast(to)
        )
    )


def rename_column(name: str, to: str) -> Plant:
    return on_table(lambda table: table.rename_columns({name: to}))


def halve_file(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def fill_with_the_day_after(file: Path) -> None:
    """A whole, sealed file of other rows under a name that says otherwise."""
    other = min((file.parent.parent / f"dt={DAY_AFTER}").glob("part-*.parquet"))
    file.write_bytes(other.read_bytes())


def _unreadable(table: str) -> list[Fault]:
    """Faults of the files themselves, the same for each table."""
    metrics = {"differences": 1}
    return [
        Fault("missing file", table, "schema", on_file(Path.unlink), " is missing", metrics),
        Fault("truncated file", table, "schema", on_file(halve_file), " is damaged", metrics),
        Fault("flipped bit", table, "schema", on_file(flip_bit), " is damaged", metrics),
        Fault(
            "file of another day",
            table,
            "schema",
            on_file(fill_with_the_day_after),
            " is damaged (it has the hash ",
            metrics,
        ),
        Fault(
            "renamed column",
            table,
            "schema",
            rename_column("customer_id", "customer"),
            "found columns customer, ",
            metrics,
        ),
    ]


def _of_actions() -> Iterator[Fault]:
    table = UNIFIED_ACTIONS.name

    def schema(name: str, plant: Plant, says: str) -> Fault:
        return Fault(name, table, "schema", plant, says, {"differences": 1})

    def counts(name: str, plant: Plant, says: str, **metrics: Any) -> Fault:
        return Fault(name, table, "row_counts", plant, says, metrics)

    yield schema(
        "item ids of 64 bits",
        cast_column("item_id", pa.int64()),
        "item_id is int64; expected int32",
    )
    yield schema(
        "event times of another unit",
        cast_column("occurred_at", pa.timestamp("ms", tz="UTC")),
        "occurred_at is timestamp[ms, tz=UTC]; expected timestamp[us, tz=UTC]",
    )
    yield from _unreadable(table)
    yield counts(
        "missing action",
        drop_row(SHORT),
        "clicks: 25 in, 23 valid + 1 quarantined",
        clicks_in=25,
        clicks_valid=23,
        clicks_quarantined=1,
    )
    yield counts("action twice", repeat_row(SHORT), "clicks: 25 in, 25 valid + 1 quarantined")
    yield counts(
        "click that became an order",
        set_values(SHORT, action_type=3),
        "clicks: 25 in, 23 valid + 1 quarantined; previous_orders: 2 in, 3 valid",
    )
    yield counts(
        "action of an unknown type",
        add_row(customer_id=SHORT, item_id=5, action_type=6, occurred_at=at(BAD_DAY)),
        "1 of a type other than 1, 2, 3",
        unknown_type=1,
    )


def _of_histories() -> Iterator[Fault]:
    table = CUSTOMER_HISTORY.name

    def schema(name: str, plant: Plant, says: str) -> Fault:
        return Fault(name, table, "schema", plant, says, {"differences": 1})

    def leak(name: str, plant: Plant, **metrics: Any) -> Fault:
        says = f"1 of 9 histories on {BAD_DAY} are not the newest eligible actions"
        metrics = {"histories_checked": 9, "wrong_histories": 1, **metrics}
        return Fault(name, table, "leakage", plant, says, metrics)

    def order(name: str, plant: Plant) -> Fault:
        says = f"1 of 9 histories on {BAD_DAY} hold the right actions in the wrong order"
        return Fault(name, table, "order_and_ties", plant, says, {"misordered": 1})

    def length(name: str, plant: Plant) -> Fault:
        says = f"1 of 9 rows on {BAD_DAY} have arrays that are not equal"
        return Fault(name, table, "sequence_length", plant, says, {"broken_rows": 1})

    def padding(name: str, plant: Plant) -> Fault:
        says = f"1 of 9 rows on {BAD_DAY} have a zero, a null or an unknown type"
        return Fault(name, table, "padding", plant, says, {"broken_rows": 1})

    def counts(name: str, plant: Plant, rows: int, missing: int, surplus: int) -> Fault:
        says = (
            f"{rows} histories for 9 customers with impressions on {BAD_DAY}: "
            f"{missing} missing, {surplus} surplus"
        )
        metrics = {
            "rows": rows,
            "expected_rows": 9,
            "missing_rows": missing,
            "surplus_rows": surplus,
        }
        return Fault(name, table, "row_counts", plant, says, metrics)

    cut, short, tied = TRUNCATED_ACTIONS, SHORT_ACTIONS, TIED_ACTIONS
    yield leak(
        "same-day action swapped in",
        set_history(SHORT, [(202, 1, 0), *short[1:]]),
        actions_not_before_day=1,
    )
    yield leak(
        "same-day action swapped in, said to be of the day before",
        set_history(SHORT, [(202, 1, 1), *short[1:]]),
        actions_not_before_day=0,
    )
    yield leak(
        "same-day action in front of a full history",
        set_history(TRUNCATED, [(102, 1, 0), *cut[:-1]]),
        actions_not_before_day=1,
    )
    yield leak(
        "tomorrow's action",
        set_history(TRUNCATED, [(101, 1, -1), *cut[:-1]]),
        actions_not_before_day=1,
    )
    yield leak(
        "tomorrow's action, said to be of the day before",
        set_history(TRUNCATED, [(101, 1, 1), *cut[:-1]]),
    )
    yield leak("first action of a customer on the day", set_history(FIRST_TIME, [(502, 1, 1)]))
    yield leak("action of another customer", set_history(SHORT, [cut[2], *short[1:]]))
    yield leak("history of another customer", set_history(SHORT, tied))
    yield leak("history where there is none", set_history(NEW, tied))
    yield leak("no history where there is one", set_history(SHORT, []))
    yield leak("newest action dropped", set_history(SHORT, short[1:]))
    yield leak("oldest action of a full history dropped", set_history(TRUNCATED, cut[:-1]))
    yield leak(
        "older action instead of the newest", set_history(TRUNCATED, [*cut[1:], (109, 1, 7)])
    )
    yield leak(
        "action beyond the look-back",
        set_history(SHORT, [*short, (223, 1, 21)]),
        histories_beyond_lookback=1,
    )
    yield leak(
        "action beyond the look-back, said to be within",
        set_history(SHORT, [*short, (223, 1, 20)]),
        histories_beyond_lookback=0,
    )
    yield leak("other days_ago", set_history(SHORT, [(205, 1, 4), *short[1:]]))
    yield leak("null days_ago", set_values(SHORT, action_days_ago=[None, 7, 12, 20]))
    yield leak("action twice", set_history(SHORT, [short[0], *short]))
    yield leak("one of two equal actions dropped", set_history(TIED, tied[:-1]))
    yield leak("other known type", set_history(SHORT, [(205, 2, 3), *short[1:]]))
    yield order("two actions swapped", set_history(SHORT, [short[1], short[0], *short[2:]]))
    yield order("oldest first", set_history(TRUNCATED, cut[::-1]))
    yield order("ties by type before item", set_history(TIED, [tied[0], *tied[2:], tied[1]]))
    yield order("ties by type descending", set_history(TIED, [tied[1], tied[0], *tied[2:]]))
    yield length("null instead of an array", set_values(SHORT, action_items=None))
    yield length("fewer items than types", set_values(SHORT, action_items=[205, 209, 214]))
    yield length("fewer types than items", set_values(SHORT, action_types=[1, 2, 3]))
    yield length("fewer days_ago than items", set_values(SHORT, action_days_ago=[3, 7, 12]))
    yield length("more than history_length", set_history(TRUNCATED, [*cut, (109, 1, 7)]))
    yield padding("null item", set_values(SHORT, action_items=[205, None, 214, 222]))
    yield padding("zero item", set_history(SHORT, [short[0], (0, 2, 7), *short[2:]]))
    yield padding("zero type", set_history(SHORT, [short[0], (209, 0, 7), *short[2:]]))
    yield padding("padded history", set_history(SHORT, [*short, (0, 0, 0)]))
    yield padding("negative item", set_history(SHORT, [short[0], (-209, 2, 7), *short[2:]]))
    yield padding("null type", set_values(SHORT, action_types=[1, None, 3, 1]))
    yield padding("nothing but nulls", set_values(SHORT, action_items=[None] * 4))
    yield padding("unknown type", set_history(SHORT, [(205, 6, 3), *short[1:]]))
    yield counts("missing customer", drop_row(NEW), 8, 1, 0)
    yield counts("customer twice", repeat_row(TRUNCATED), 10, 0, 1)
    yield counts("customer with ties twice", repeat_row(TIED), 10, 0, 1)
    yield counts(
        "customer without impressions",
        add_row(customer_id=999, action_items=[], action_types=[], action_days_ago=[]),
        10,
        0,
        1,
    )
    yield counts("other customer without a history", set_values(NEW, customer_id=999), 9, 1, 1)
    yield counts("no customer", set_values(NEW, customer_id=None), 9, 1, 1)
    yield schema(
        "item ids of 64 bits",
        cast_column("action_items", pa.list_(pa.int64())),
        "action_items is list<int64>; expected list<int32>",
    )
    yield schema(
        "days_ago of 32 bits",
        cast_column("action_days_ago", pa.list_(pa.int32())),
        "action_days_ago is list<int32>; expected list<int16>",
    )
    yield schema(
        "columns in another order",
        on_table(lambda table: table.select(table.column_names[::-1])),
        "found columns action_days_ago, action_types, ",
    )
    yield schema(
        "one more column",
        on_table(lambda table: table.append_column("dt2", table["customer_id"])),
        "action_days_ago, dt2; expected customer_id, ",
    )
    yield from _unreadable(table)


def _of_inputs() -> Iterator[Fault]:
    table = TRAINING_INPUT.name

    def schema(name: str, plant: Plant, says: str) -> Fault:
        return Fault(name, table, "schema", plant, says, {"differences": 1})

    def shape(check: str, says: str) -> Callable[[str, Plant], Fault]:
        return lambda name, plant: Fault(
            name,
            table,
            check,
            plant,
            f"1 of 54 rows on {BAD_DAY} have {says}",
            {"rows": 54, "broken_rows": 1},
        )

    def counts(name: str, plant: Plant, rows: int, missing: int, surplus: int) -> Fault:
        says = (
            f"{rows} training rows for 54 impression items on {BAD_DAY}: "
            f"{missing} missing, {surplus} surplus"
        )
        metrics = {"rows": rows, "missing_rows": missing, "surplus_rows": surplus}
        return Fault(name, table, "row_counts", plant, says, metrics)

    length = shape("sequence_length", "arrays that are not exactly 6 long")
    padding = shape("padding", "a zero, a null or an unknown type before the padding")
    leak = shape("leakage", "other actions than the history of their customer and day")
    order = shape("order_and_ties", "the right actions in the wrong order")
    items, types = [205, 209, 214, 222, 0, 0], [1, 2, 3, 1, 0, 0]
    full, clicks = [103, 104, 105, 106, 107, 108], [1] * 6
    tied, tied_types = [606, 606, 706, 706, 0, 0], [1, 3, 1, 1, 0, 0]

    yield length("many more actions", set_padded(TRUNCATED, full * 3, clicks * 3))
    yield length("trailing zero dropped", set_padded(SHORT, items[:-1], types[:-1]))
    yield length("trailing zero of items dropped", set_padded(SHORT, items[:-1], types))
    yield length("not padded", set_padded(SHORT, items[:4], types[:4]))
    yield length("one more zero", set_padded(SHORT, [*items, 0], [*types, 0]))
    yield length("one more action", set_padded(TRUNCATED, [*full, 109], [*clicks, 1]))
    yield length("zero moved from items to types", set_padded(NEW, [0] * 5, [0] * 7))
    yield length(
        "null that lengthens the items",
        set_padded(SHORT, [205, None, 209, 214, 222, 0, 0], types),
    )
    yield length("null instead of an array", set_values(SHORT, action_items=None))
    yield length("empty arrays", set_padded(NEW, [], []))
    yield padding("null item", set_padded(SHORT, [205, None, 214, 222, 0, 0], types))
    yield padding("hole", set_padded(SHORT, [205, 0, 209, 214, 222, 0], [1, 0, 2, 3, 1, 0]))
    yield padding(
        "zeros on the left", set_padded(SHORT, items[4:] + items[:4], types[4:] + types[:4])
    )
    yield padding("action after the padding", set_padded(SHORT, [*items[:5], 223], [*types[:5], 1]))
    yield padding("item after the padding", set_padded(SHORT, [*items[:5], 223], types))
    yield padding("type after the padding", set_padded(SHORT, items, [*types[:5], 1]))
    yield padding("types shifted right", set_padded(SHORT, items, [0, 1, 2, 3, 1, 0]))
    yield padding("types shifted left", set_padded(SHORT, items, [2, 3, 1, 0, 0, 0]))
    yield padding("no types", set_padded(SHORT, items, [0] * 6))
    yield padding("no items", set_padded(SHORT, [0] * 6, types))
    yield padding("null instead of padding", set_padded(SHORT, [*items[:5], None], types))
    yield padding("unknown type", set_padded(SHORT, items, [6, 2, 3, 1, 0, 0]))
    yield padding("negative type", set_padded(SHORT, items, [-1, 2, 3, 1, 0, 0]))
    yield order(
        "two actions swapped", set_padded(SHORT, [209, 205, *items[2:]], [2, 1, *types[2:]])
    )
    yield order("oldest first", set_padded(TRUNCATED, full[::-1], clicks))
    yield order("ties in another order", set_padded(TIED, tied, [3, 1, 1, 1, 0, 0]))
    yield leak("history of another customer", set_padded(SHORT, tied, tied_types))
    yield leak("history where there is none", set_padded(NEW, tied, tied_types))
    yield leak("zeros instead of a history", set_padded(SHORT, [0] * 6, [0] * 6))
    yield leak("newest action dropped", set_padded(SHORT, [*items[1:], 0], [*types[1:], 0]))
    yield leak("same-day action in front", set_padded(TRUNCATED, [102, *full[:-1]], clicks))
    yield leak(
        "action beyond the look-back",
        set_padded(SHORT, [*items[:4], 223, 0], [*types[:4], 1, 0]),
    )
    yield leak("types of two actions swapped", set_padded(SHORT, items, [2, 1, 3, 1, 0, 0]))
    yield leak("other item", set_padded(SHORT, [206, *items[1:]], types))
    yield counts("missing row", drop_row(SHORT), 53, 1, 0)
    yield counts("row twice", repeat_row(SHORT), 55, 0, 1)
    yield counts("row replaced by another", overwrite_row(SHORT), 54, 1, 1)
    yield counts("other label", set_values(SHORT, is_order=1), 54, 1, 1)
    yield counts("label that is neither 0 nor 1", set_values(SHORT, is_order=2), 54, 1, 1)
    yield counts("other impression item", set_values(SHORT, impression_item_id=9), 54, 1, 1)
    yield counts("other ranking", set_values(SHORT, ranking_id="x"), 54, 1, 1)
    yield counts("no ranking", set_values(SHORT, ranking_id=None), 54, 1, 1)
    yield schema(
        "labels of 64 bits",
        cast_column("is_order", pa.int64()),
        "is_order is int64; expected int32",
    )
    yield schema(
        "types of 8 bits",
        cast_column("action_types", pa.list_(pa.int8())),
        "action_types is list<int8>; expected list<int32>",
    )
    yield from _unreadable(table)


FAULTS = [*_of_actions(), *_of_histories(), *_of_inputs()]
# On Spark a fault takes a second and more, so there only the first of each check is planted, and
# two more: what nulls and lengths out of range lead to is left to the engine.
_ENGINES_DIFFER = ("null days_ago", "null instead of an array")
_FIRST = {(f.table, f.check): f for f in reversed(FAULTS)}.values()
ON_BOTH_ENGINES = [f for f in FAULTS if f in _FIRST or f.name in _ENGINES_DIFFER]
ON_SAIL = [f for f in FAULTS if f not in ON_BOTH_ENGINES]

on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True)
planting = partial(pytest.mark.parametrize, "fault", ids=lambda f: f"{f.table}-{f.check}-{f.name}")


@pytest.fixture(scope="module")
def built(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with all days published; not to be changed."""
    lake = Lake.at(write_tiny_lake(tmp_path_factory.mktemp("lake")))
    build(spark, lake, [UNIFIED_ACTIONS], ACTION_DAYS)
    build(spark, lake, [CUSTOMER_HISTORY, TRAINING_INPUT], IMPRESSION_DAYS)
    return Path(lake.store.url)


@pytest.fixture
def lake(built: Path, tmp_path: Path) -> Lake:
    """A copy of it, with the modification times of the raw files."""
    return Lake.at(shutil.copytree(built, tmp_path / "lake"))


def build(spark: SparkSession, lake: Lake, tables: list[Table], days: list[date]) -> None:
    specs = [SPECS[table.name] for table in tables]
    problems = [r.problem for r in build_days(spark, lake, SETTINGS, specs, days) if r.problem]
    assert problems == []
    lake.refresh()


def check(
    spark: SparkSession,
    lake: Lake,
    *tables: str,
    days: Iterable[date] = (BAD_DAY, DAY_AFTER),
    settings: Settings = SETTINGS,
) -> list[CheckResult]:
    return list(check_days(spark, lake, settings, [SPECS[t] for t in tables], list(days)))


def failed(results: list[CheckResult]) -> list[tuple[str, str, date]]:
    """But for what is so on good data: one of the few clicks of the bad day has no item."""
    found = [(r.check.table, r.check.name, r.day) for r in results if not r.passed]
    return [one for one in found if one not in FEW_VALID]


FEW_VALID = [(table.name, "valid_share", BAD_DAY) for table in (UNIFIED_ACTIONS, TRAINING_INPUT)]


def only(results: list[CheckResult], name: str, day: date) -> CheckResult:
    (result,) = [r for r in results if (r.check.name, r.day) == (name, day)]
    return result


def test_every_error_level_check_has_a_planted_fault() -> None:
    checks = {
        (c.table, c.name) for s in PLANTED.values() for c in s.checks if c.severity == "error"
    }
    # Which is not in the files of a day but beside them; and what test_watches.py plants.
    planted_elsewhere = {(table, "valid_share") for table, _, _ in FEW_VALID}
    planted_elsewhere |= {(table, name) for table, name in checks if name == "ranges"}
    assert {(fault.table, fault.check) for fault in FAULTS} == checks - planted_elsewhere


def test_nothing_fails_on_good_data(spark: SparkSession, built: Path) -> None:
    results = check(spark, Lake.at(built), *PLANTED, days=IMPRESSION_DAYS)
    assert failed(results) == []
    checked = {(r.check.table, r.check.name, r.day) for r in results}
    assert checked == {
        (c.table, c.name, day)
        for s in PLANTED.values()
        for c in s.checks
        for day in IMPRESSION_DAYS
    }
    assert len(results) == len(checked)


@planting(ON_BOTH_ENGINES)
def test_planted_fault_fails_exactly_its_check_on_both_engines(
    spark: SparkSession, lake: Lake, fault: Fault
) -> None:
    plant_and_expect_failure(spark, lake, fault)


@on_sail_only
@planting(ON_SAIL)
def test_planted_fault_fails_exactly_its_check(
    spark: SparkSession, lake: Lake, fault: Fault
) -> None:
    plant_and_expect_failure(spark, lake, fault)


def plant_and_expect_failure(spark: SparkSession, lake: Lake, fault: Fault) -> None:
    fault.plant(lake, fault.table)
    results = check(spark, lake, fault.table)
    assert failed(results) == [(fault.table, fault.check, BAD_DAY)]
    result = only(results, fault.check, BAD_DAY)
    assert str(BAD_DAY) in result.message
    assert fault.says in result.message
    assert result.metrics == {**result.metrics, **fault.metrics}


@on_sail_only
def test_two_faults_of_a_day_fail_both_checks(spark: SparkSession, lake: Lake) -> None:
    set_history(SHORT, SHORT_ACTIONS[1:])(lake, CUSTOMER_HISTORY.name)
    set_history(TIED, TIED_ACTIONS[::-1])(lake, CUSTOMER_HISTORY.name)
    results = check(spark, lake, CUSTOMER_HISTORY.name)
    names = ("leakage", "order_and_ties")
    assert failed(results) == [(CUSTOMER_HISTORY.name, name, BAD_DAY) for name in names]
    messages = [only(results, name, BAD_DAY).message for name in names]
    assert [m.rpartition("for example of customers ")[2] for m in messages] == ["2.", "6."]


@on_sail_only
def test_a_wrong_history_is_found_where_it_lies_and_where_it_is_missed(
    spark: SparkSession, lake: Lake
) -> None:
    leak = set_history(SHORT, [(202, 1, 0), *SHORT_ACTIONS[1:]])
    leak(lake, CUSTOMER_HISTORY.name)
    results = check(spark, lake, CUSTOMER_HISTORY.name, TRAINING_INPUT.name)
    # The training rows are still right, but no longer those of the history that is published.
    assert failed(results) == [
        (CUSTOMER_HISTORY.name, "leakage", BAD_DAY),
        (TRAINING_INPUT.name, "leakage", BAD_DAY),
        (TRAINING_INPUT.name, "up_to_date", BAD_DAY),
    ]


def test_history_that_cannot_be_read_fails_what_is_compared_with_it_and_no_other_day(
    spark: SparkSession, lake: Lake
) -> None:
    on_file(halve_file)(lake, CUSTOMER_HISTORY.name)
    results = check(spark, lake, CUSTOMER_HISTORY.name, TRAINING_INPUT.name)
    rows = ("sequence_length", "padding", "leakage", "order_and_ties")
    names = [(CUSTOMER_HISTORY.name, "schema"), *((TRAINING_INPUT.name, name) for name in rows)]
    assert failed(results) == [(*name, BAD_DAY) for name in names]
    messages = [r.message for r in results if r.check.table == TRAINING_INPUT.name]
    message = next(message for message in messages if "cannot be checked" in message)
    (file,) = paths_of(lake, CUSTOMER_HISTORY.name, BAD_DAY)
    assert message.startswith(f"{BAD_DAY} cannot be checked: {file}: ")


@on_sail_only
def test_days_compared_one_after_the_other_are_judged_alike(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_HISTORIES_AT_ONCE", 1)
    set_history(SHORT, SHORT_ACTIONS[1:])(lake, CUSTOMER_HISTORY.name)
    results = check(spark, lake, CUSTOMER_HISTORY.name, days=IMPRESSION_DAYS)
    assert failed(results) == [(CUSTOMER_HISTORY.name, "leakage", BAD_DAY)]
    checked = [
        only(results, "leakage", day).metrics["histories_checked"] for day in IMPRESSION_DAYS
    ]
    histories = [only(results, "leakage", day).metrics["histories"] for day in IMPRESSION_DAYS]
    assert checked == histories


@on_sail_only
def test_actions_that_cannot_be_read_fail_the_histories_that_need_them(
    spark: SparkSession, lake: Lake
) -> None:
    broken = BAD_DAY - timedelta(days=SETTINGS.lookback_days)
    on_file(halve_file)(lake, UNIFIED_ACTIONS.name, broken)
    results = check(spark, lake, CUSTOMER_HISTORY.name)
    names = ("leakage", "order_and_ties")
    assert failed(results) == [(CUSTOMER_HISTORY.name, name, BAD_DAY) for name in names]
    message = only(results, "leakage", BAD_DAY).message
    (file,) = paths_of(lake, UNIFIED_ACTIONS.name, broken)
    assert message.startswith(f"{BAD_DAY} cannot be checked: {file}: ")


@on_sail_only
def test_actions_that_are_not_as_declared_fail_the_histories_that_need_them(
    spark: SparkSession, lake: Lake
) -> None:
    other = BAD_DAY - timedelta(days=1)
    cast_column("item_id", pa.int64())(lake, UNIFIED_ACTIONS.name, other)
    results = check(spark, lake, CUSTOMER_HISTORY.name, days=[other, BAD_DAY])
    names = ("leakage", "order_and_ties", "up_to_date")
    assert failed(results) == [(CUSTOMER_HISTORY.name, name, BAD_DAY) for name in names]
    message = only(results, "leakage", BAD_DAY).message
    assert message.startswith(
        f"{BAD_DAY} cannot be checked: unified_actions: day {other} is not as declared: part-00000"
    )


@on_sail_only
def test_day_that_is_not_published_fails_all_its_checks(spark: SparkSession, lake: Lake) -> None:
    unpublish(lake, CUSTOMER_HISTORY.name, BAD_DAY)
    results = check(spark, lake, CUSTOMER_HISTORY.name)
    assert failed(results) == [
        (c.table, c.name, BAD_DAY) for c in SPECS[CUSTOMER_HISTORY.name].checks
    ]
    assert f"day {BAD_DAY} is not published" in only(results, "leakage", BAD_DAY).message


@on_sail_only
def test_a_window_without_a_quiet_day_warns_and_names_it(spark: SparkSession, lake: Lake) -> None:
    unpublish(lake, UNIFIED_ACTIONS.name, QUIET_DAY)
    results = check(spark, lake, CUSTOMER_HISTORY.name, days=[BAD_DAY])
    names = ("history_window", "up_to_date")
    assert failed(results) == [(CUSTOMER_HISTORY.name, name, BAD_DAY) for name in names]
    said = only(results, "up_to_date", BAD_DAY).message
    assert said.startswith(
        f"customer_history of {BAD_DAY} is out of date: it cannot be built any more: "
        f"customer_history: 1 day of the look-back of {BAD_DAY} is not published in "
        f"unified_actions: {QUIET_DAY}; "
    )
    warning = only(results, "history_window", BAD_DAY)
    assert warning.check.severity == "warn"
    assert warning.message == (
        f"1 of 20 days of the look-back window of {BAD_DAY} are not in unified_actions: "
        f"{QUIET_DAY}."
    )
    assert warning.metrics["missing_days"] == 1


@on_sail_only
def test_a_window_without_a_day_of_actions_fails_the_histories_that_hold_them(
    spark: SparkSession, lake: Lake
) -> None:
    unpublish(lake, UNIFIED_ACTIONS.name, BAD_DAY - timedelta(days=1))
    results = check(spark, lake, CUSTOMER_HISTORY.name, days=[BAD_DAY - timedelta(days=1), BAD_DAY])
    # Rightly: what the histories hold of that day is no longer among the actions.
    assert failed(results) == [
        (CUSTOMER_HISTORY.name, "leakage", BAD_DAY),
        (CUSTOMER_HISTORY.name, "history_window", BAD_DAY),
        (CUSTOMER_HISTORY.name, "up_to_date", BAD_DAY),
    ]


@on_sail_only
@pytest.mark.parametrize(("rows", "warns"), [(8, False), (7, True)])
def test_a_drop_of_more_than_a_fifth_warns(
    spark: SparkSession, tmp_path: Path, rows: int, warns: bool
) -> None:
    days = IMPRESSION_DAYS[1:]
    counts = dict.fromkeys(days[:-1], 10) | {days[-1]: rows}
    clicks = [click(SHORT, 5, day, at(day)) for day in days for _ in range(counts[day])]
    lake = Lake.at(write_raw_lake(tmp_path, [], clicks, impression_days=[], action_days=days))
    build(spark, lake, [UNIFIED_ACTIONS], days)
    results = check(spark, lake, UNIFIED_ACTIONS.name, days=days)
    assert failed(results) == [(UNIFIED_ACTIONS.name, "volume", days[-1])] * warns
    outcome = only(results, "volume", days[-1])
    assert outcome.check.severity == "warn"
    assert (outcome.metrics["clicks_rows"], outcome.metrics["clicks_expected"]) == (rows, 10)
    expected = f"Fewer rows than usual on {days[-1]}: clicks: 7 rows, expected about 10."
    assert outcome.message == expected * warns


def test_above_a_size_a_sample_is_checked_that_is_the_same_each_time(
    spark: SparkSession, lake: Lake
) -> None:
    settings = replace(SETTINGS, check_customers=5)
    # The smaller day is checked in full beside the larger one.
    on_rows(lambda rows: rows[:5])(lake, CUSTOMER_HISTORY.name, DAY_AFTER)
    on_rows(lambda rows: [row | {"action_days_ago": row["action_types"]} for row in rows])(
        lake, CUSTOMER_HISTORY.name
    )

    def sampled(*days: date) -> list[tuple[Any, ...]]:
        results = check(spark, lake, CUSTOMER_HISTORY.name, days=days, settings=settings)
        names = ("histories_checked", "histories", "wrong_histories")
        leakage = [only(results, "leakage", day).metrics for day in days]
        return [tuple(metrics[name] for name in names) for metrics in leakage]

    both = sampled(BAD_DAY, DAY_AFTER)
    assert both == [(6, 9, 4), (5, 5, 0)]
    assert sampled(BAD_DAY) == both[:1]


def poison(monkeypatch: pytest.MonkeyPatch, table: Table, plant: Plant) -> None:
    """Let the build of a table plant a fault in what it wrote of the bad day."""
    spec = SPECS[table.name]

    def poisoned(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
        written = dict(spec.build(build, days))
        if BAD_DAY in written:
            written[BAD_DAY] = spoiled(build, table, plant, written[BAD_DAY])
        return written

    monkeypatch.setitem(SPECS, table.name, replace(spec, build=poisoned))


def spoiled(build: Build, table: Table, plant: Plant, new: NewFiles) -> NewFiles:
    paths = [Path(build.root(table.name), file.name) for file in new.files]
    if plant.file:
        for path in paths:
            plant.file(path)
        return new
    rows = plant.rows(read_rows(map(str, paths)))
    for path in paths:
        path.unlink()
    spoilt = write_day(build.lake, table, BAD_DAY, [rows], build.run)
    return NewFiles(spoilt.files, spoilt.bounds)


def rebuild_and_expect_lost(spark: SparkSession, lake: Lake, *lost: str) -> dict[str, str]:
    """Build all days anew, shorter; of the bad day ``lost`` must stay. Gives their problems."""
    settings = replace(SETTINGS, history_length=5)
    before = {table: lake.snapshot(table).files_of(BAD_DAY) for table in PLANTED}
    reports = list(
        build_days(spark, lake, settings, [SPECS[name] for name in PLANTED], IMPRESSION_DAYS)
    )
    lake.refresh()
    assert {(r.table, r.day) for r in reports} == {(t, d) for t in PLANTED for d in IMPRESSION_DAYS}
    problems = {(r.table, r.day): r.problem for r in reports if r.problem}
    assert problems.keys() == {(table, BAD_DAY) for table in lost}
    for table in PLANTED:
        for day in IMPRESSION_DAYS:
            if table != UNIFIED_ACTIONS.name:
                length = lake.manifest(table, day)["settings"]["history_length"]
                assert length == (6 if (table, day) in problems else 5)
        is_same = lake.snapshot(table).files_of(BAD_DAY) == before[table]
        assert is_same == (table in lost or table == UNIFIED_ACTIONS.name)
        # What was not published is gone.
        of_day = lake.table_store(table).list(f"dt={BAD_DAY}")
        published = {file.name for file in lake.snapshot(table).files_of(BAD_DAY)}
        old = {file.name for file in before[table]}
        assert {entry.path for entry in of_day} == published | old
    return {table: problem for (table, _), problem in problems.items()}


NOT_BUILT = f"training_input: day {BAD_DAY} was not built, because its customer_history failed."


@on_sail_only
@pytest.mark.parametrize(
    ("table", "plant", "lost", "says"),
    [
        (UNIFIED_ACTIONS, drop_row(SHORT), [], "row_counts: Rows were lost or added"),
        (CUSTOMER_HISTORY, set_history(SHORT, [(202, 1, 1)]), [TRAINING_INPUT], "leakage: 1 of 9"),
        (CUSTOMER_HISTORY, on_file(halve_file), [TRAINING_INPUT], f"schema: On {BAD_DAY}: part-0"),
        (TRAINING_INPUT, set_padded(SHORT, [205], [1]), [], "sequence_length: 1 of 54 rows"),
        (TRAINING_INPUT, cast_column("is_order", pa.int64()), [], "is_order is int64"),
    ],
    ids=["lost action", "leak", "unreadable history", "short rows", "wide labels"],
)
def test_day_that_is_staged_wrong_stays_as_it_was_and_the_others_are_published(
    spark: SparkSession,
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
    table: Table,
    plant: Plant,
    lost: list[Table],
    says: str,
) -> None:
    poison(monkeypatch, table, plant)
    problems = rebuild_and_expect_lost(spark, lake, table.name, *(t.name for t in lost))
    assert says in problems[table.name]
    assert str(BAD_DAY) in problems[table.name]
    assert [problems[t.name] for t in lost] == [NOT_BUILT] * len(lost)


def test_day_whose_raw_files_are_broken_stays_in_all_tables_and_the_others_are_published(
    spark: SparkSession, lake: Lake
) -> None:
    for source in ("clicks", "impressions"):
        halve_file(Path(lake.store.url) / f"raw/{source}/dt={BAD_DAY}/part-0.parquet")
    problems = rebuild_and_expect_lost(spark, lake, *PLANTED)
    assert f"raw/clicks/dt={BAD_DAY}/part-0.parquet" in problems[UNIFIED_ACTIONS.name]
    assert f"raw/impressions/dt={BAD_DAY}/part-0.parquet" in problems[CUSTOMER_HISTORY.name]
    assert problems[TRAINING_INPUT.name] == NOT_BUILT


@on_sail_only
def test_day_whose_raw_file_breaks_while_it_is_read_does_not_fail_the_range(
    spark: SparkSession, lake: Lake
) -> None:
    file = Path(lake.store.url) / f"raw/clicks/dt={BAD_DAY}/part-0.parquet"
    content = file.read_bytes()
    # The footer, which is all that is looked at before a job starts, stays whole.
    file.write_bytes(content[:4] + b"\xff" * 40 + content[44:])
    problems = rebuild_and_expect_lost(spark, lake, UNIFIED_ACTIONS.name)
    assert f"raw/clicks/dt={BAD_DAY}/part-0.parquet" in problems[UNIFIED_ACTIONS.name]
