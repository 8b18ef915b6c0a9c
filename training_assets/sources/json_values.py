"""Python values, out of JSON rows or JSON texts in cells, in the wide types of columns."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from training_assets.sources.columns import Values, items_of, lists_of, no_faults
from training_assets.sources.json_rows import parse_json
from training_assets.sources.values import Kind, from_numbers, item_kinds, parse_texts, read_each

NOT_JSON: Final[Any] = object()
_FEW: Final = 32


def widen_values(values: list[Any], kind: Kind) -> Values:
    """A column of anything."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {int} and kind.type in ("long", "int", "timestamp", "date"):
        try:
            numbers = pa.array(values, pa.int64())
        except OverflowError:
            return read_each(values, kind)
        if kind.type in ("long", "int"):
            return Values(numbers, no_faults(len(values)))
        if kind.unit:
            return from_numbers(numbers, kind)
    if kinds == {str} and kind.type == "timestamp" and len(values) <= _FEW:
        # For so few Arrow takes longer.
        return read_each(values, kind)
    if kinds <= {str}:
        try:
            texts = pa.array(values, pa.string())
        except UnicodeEncodeError:
            # JSON can name half a surrogate pair.
            pass
        else:
            return parse_texts(texts, kind)
    return read_each(values, kind)


def items_of_texts(cells: Sequence[str | None], kind: Kind) -> Values:
    """Rankings out of cells that hold JSON."""
    return widen_items([parsed_cell(cell) for cell in cells], kind)


def parsed_cell(cell: str | None) -> Any:
    if cell is None:
        return None
    try:
        return parse_json(cell)
    except ValueError:
        return NOT_JSON


def widen_items(values: Sequence[Any], of: Kind) -> Values:
    """Rankings; an item that is wrong is a fault of its own, not of the ranking."""
    faults: list[str | None] = []
    lengths = []
    flat: list[Any] = []
    parsed = (parsed_cell(value) if type(value) is str else value for value in values)
    for value in parsed:
        fault = None
        if type(value) is list:
            flat += value
        elif value is not None:
            fault = f"{of.name} is not JSON" if value is NOT_JSON else f"{of.name} is not an array"
        lengths.append(len(value) if type(value) is list else 0)
        faults.append(fault)
    rows = [item if type(item) is dict else {} for item in flat]
    ids, labels = (
        widen_values([row.get(field) for row in rows], kind)
        for field, kind in item_kinds(of).items()
    )
    odd = [None if type(item) is dict or item is None else "item is not an object" for item in flat]
    is_null = pa.array([item is None for item in flat], pa.bool_())
    items = items_of(ids, labels, pa.array(odd, pa.string()), is_null)
    return Values(lists_of(np.array(lengths, np.int64), items), pa.array(faults, pa.string()))
