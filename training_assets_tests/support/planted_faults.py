"""Every fault that a check of actions, histories and training rows is there for, by table."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, UNIFIED_ACTIONS
from training_assets_tests.support.frames import at
from training_assets_tests.support.lakes import FIRST_TIME, NEW, SHORT, TIED, TRUNCATED
from training_assets_tests.support.plants import (
    BAD_DAY,
    SHORT_ACTIONS,
    TIED_ACTIONS,
    TRUNCATED_ACTIONS,
    Plant,
    add_row,
    cast_column,
    drop_row,
    fill_with_the_day_after,
    flip_bit,
    halve_file,
    on_file,
    on_table,
    overwrite_row,
    rename_column,
    repeat_row,
    set_history,
    set_padded,
    set_values,
)


class Fault(NamedTuple):
    """What is planted on the bad day, the check that it breaks, and what that check says."""

    name: str
    table: str
    check: str
    plant: Plant
    says: str
    metrics: dict[str, Any]


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
