"""Faults to plant in a published day: other rows, or files changed where they lie."""

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from training_assets.lake import Lake
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, UNIFIED_ACTIONS
from training_assets.tables import SPECS
from training_assets_tests.support.lakes import IMPRESSION_DAYS, Row
from training_assets_tests.support.planting import paths_of, replant, rows_of

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
