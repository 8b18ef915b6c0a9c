"""Blocks of JSON as columns: by ``pyarrow.json`` where that is without a doubt, else row by row.

``pyarrow.json`` refuses a whole block for one value of another type; then each row is parsed by
itself, by orjson where that is installed and agrees.
"""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from training_assets.sources.blocks import Block
from training_assets.sources.columns import no_faults
from training_assets.sources.csv_cells import NOT_UTF8, joined_rows, not_utf8_rows

Path = tuple[str, ...]
MISSING: Final[Any] = object()
_SAMPLE_ROWS: Final = 20
_ITEMS: Final = frozenset({"item_id", "is_order"})


class JsonColumns(NamedTuple):
    """Values by path: Arrow arrays, or lists of Python values in which ``MISSING`` may be."""

    values: dict[Path, pa.Array | list[Any]]
    faults: pa.Array


def read_json(
    block: Block, paths: Sequence[Path], *, missing_matters: Sequence[Path] = ()
) -> JsonColumns:
    """The values at ``paths``; of some it matters whether they are null or missing."""
    found = _at_once(block, paths, missing_matters)
    return found or _one_by_one(block, paths)


# --- at once --------------------------------------------------------------------------------------


def _at_once(
    block: Block, paths: Sequence[Path], missing_matters: Sequence[Path]
) -> JsonColumns | None:
    array = np.frombuffer(block.data, np.uint8)
    is_sure = (array[block.starts] == ord("{")) & (array[block.stops - 1] == ord("}"))
    if not is_sure.all() or not_utf8_rows(block):
        return None
    types = _types(block, paths)
    if types is None:
        return None
    absent = [p for p in missing_matters if json.dumps(p[-1]).encode() not in block.data]
    asked = {path: type_ for path, type_ in types.items() if path not in absent}
    data = joined_rows(block, is_sure)
    schema = _schema(asked)
    if not len(schema):
        return None
    try:
        table = pa_json.read_json(
            pa.py_buffer(data),
            pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            pa_json.ParseOptions(
                explicit_schema=schema,
                unexpected_field_behavior="ignore",
                newlines_in_values=b"\n" in block.row(0) or len(block) < data.count(b"\n"),
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    if table.num_rows != len(block):
        return None
    found = {path: _field(table, path) for path in asked}
    if any(found[path].null_count for path in missing_matters if path in found):
        return None
    values: dict[Path, pa.Array | list[Any]] = dict(found)
    values |= {path: [MISSING] * len(block) for path in absent}
    return JsonColumns(values, no_faults(len(block)))


def _field(table: pa.Table, path: Path) -> pa.Array:
    column = table[path[0]].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    for name in path[1:]:
        column = pc.struct_field(column, name)
    return column


def _schema(types: Mapping[Path, pa.DataType]) -> pa.Schema:
    tree: dict[str, Any] = {}
    for path, type_ in types.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = type_
    return pa.schema(_fields(tree))


def _fields(tree: Mapping[str, Any]) -> list[pa.Field]:
    return [
        pa.field(name, pa.struct(_fields(leaf)) if isinstance(leaf, dict) else leaf)
        for name, leaf in tree.items()
    ]


def _types(block: Block, paths: Sequence[Path]) -> dict[Path, pa.DataType] | None:
    """The types that the first rows speak for; None where they do not agree with themselves."""
    rows = []
    for n in range(min(_SAMPLE_ROWS, len(block))):
        try:
            rows.append(parse_object(block.row(n)))
        except ValueError:
            continue
    types: dict[Path, pa.DataType] = {}
    for path in paths:
        if any(path != other and path == other[: len(path)] for other in paths):
            return None
        known = [v for row in rows if (v := at_path(row, path)) is not None and v is not MISSING]
        type_ = _type_of(known)
        if type_ is None:
            return None
        types[path] = type_
    return types


def _type_of(values: Sequence[Any]) -> pa.DataType | None:
    kinds = set(map(type, values))
    if kinds <= {int} and kinds:
        return pa.int64()
    if kinds == {float}:
        return pa.float64()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {list}:
        return _list_type([item for value in values for item in value])
    # Nothing is known, or text; numbers of both kinds would be rounded.
    return pa.string() if kinds <= {str} else None


def _list_type(items: Sequence[Any]) -> pa.DataType | None:
    if not all(type(item) is dict and item.keys() >= _ITEMS for item in items):
        return None
    fields = {name: _type_of([item[name] for item in items]) for name in sorted(_ITEMS)}
    if any(type_ is None or not items for type_ in fields.values()):
        return None
    return pa.list_(pa.struct(list(fields.items())))


# --- one by one -----------------------------------------------------------------------------------


def _one_by_one(block: Block, paths: Sequence[Path]) -> JsonColumns:
    rows: list[Any] = []
    reasons: dict[int, str] = {}
    starts, stops, data = block.starts.tolist(), block.stops.tolist(), block.data
    quick = _quick_parser()
    for n, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        row = _parsed(data[start:stop], quick)
        if isinstance(row, str):
            reasons[n] = row
        rows.append({} if isinstance(row, str) else row)
    values: dict[Path, pa.Array | list[Any]] = {}
    for path in paths:
        if len(path) == 1:
            name = path[0]
            values[path] = [row.get(name, MISSING) for row in rows]
        else:
            values[path] = [at_path(row, path) for row in rows]
    if not reasons:
        return JsonColumns(values, no_faults(len(rows)))
    for column in values.values():
        for n in reasons:
            column[n] = None
    return JsonColumns(values, pa.array(map(reasons.get, range(len(rows))), pa.string()))


def _quick_parser() -> Callable[[bytes], Any] | None:
    # Workers need not have it, so that it is not named where functions travel.
    try:
        loads: Callable[[bytes], Any] = importlib.import_module("orjson").loads
    except ImportError:
        return None
    return loads


def _parsed(data: bytes, quick: Callable[[bytes], Any] | None) -> dict[str, Any] | str:
    """The object, or why there is none."""
    if quick is not None:
        try:
            row = quick(data)
        except ValueError:
            # It may be too strict: it takes neither NaN nor halves of surrogate pairs.
            pass
        else:
            return row if type(row) is dict else "row is not a JSON object"
    try:
        return parse_object(data)
    except UnicodeDecodeError:
        return NOT_UTF8
    except ValueError as error:
        return str(error)


def parse_object(data: bytes) -> dict[str, Any]:
    """The object; raises ``ValueError`` with the reason."""
    text = data.decode()
    try:
        row = parse_json(text)
    except ValueError:
        raise ValueError("row is not JSON") from None
    if type(row) is not dict:
        raise ValueError("row is not a JSON object")
    return row


def at_path(row: Any, path: Path) -> Any:
    for name in path:
        if type(row) is not dict:
            return None
        row = row.get(name, MISSING)
        if row is MISSING:
            return MISSING
    return row


def parse_json(text: str) -> Any:
    """Raises nothing but ``ValueError``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
