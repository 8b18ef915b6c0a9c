"""Blocks of JSON rows by ``pyarrow.json``, for as many of their rows as it reads without a doubt.

``pyarrow.json`` refuses a whole block for one value of another type. So where it does, rows are
told apart by a pattern made of the first rows: objects of the same keys, each with a value of its
type, that any reader of JSON reads alike. Those are read at once, the others are left.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from training_assets.sources.blocks import Block
from training_assets.sources.csv_cells import joined_rows, not_utf8_rows

Path = tuple[str, ...]

_ITEMS: Final = frozenset({"item_id", "is_order"})
_MAX_PATTERN: Final = 8_000


def read_block(block: Block, types: Mapping[Path, pa.DataType]) -> dict[Path, pa.Array] | None:
    """The values at paths, all of their types or missing; None where that is in doubt."""
    array = np.frombuffer(block.data, np.uint8)
    is_object = (array[block.starts] == ord("{")) & (array[block.stops - 1] == ord("}"))
    schema = _schema(types)
    if not is_object.all() or not len(schema) or not_utf8_rows(block):
        return None
    data = joined_rows(block, is_object)
    has_breaks = len(block) <= block.lines[-1] - block.lines[0] or b"\n" in block.row(-1)
    try:
        table = pa_json.read_json(
            pa.py_buffer(data),
            pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            pa_json.ParseOptions(
                explicit_schema=schema,
                unexpected_field_behavior="ignore",
                newlines_in_values=has_breaks,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return {path: _field(table, path) for path in types} if table.num_rows == len(block) else None


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


# --- types ----------------------------------------------------------------------------------------


def most_have(values: Sequence[Any]) -> tuple[pa.DataType | None, bool]:
    """The type that most of the values speak for, and whether all do; None where Arrow has none.

    Of numbers with and without a point it is a float, which not all of them may be read as.
    """
    kinds = Counter(map(type, values))
    if not kinds:
        # Nothing is known.
        return pa.string(), True
    if kinds.keys() >= {int, float}:
        kinds[float] += kinds.pop(int)
        is_sure = False
    else:
        is_sure = len(kinds) == 1
    kind = kinds.most_common(1)[0][0]
    if kind is list:
        type_, has_same = _list_type([item for v in values if type(v) is list for item in v])
        return type_, is_sure and has_same
    return _SCALARS.get(kind), is_sure


_SCALARS: Final = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}


def _list_type(items: Sequence[Any]) -> tuple[pa.DataType | None, bool]:
    known = [item for item in items if type(item) is dict and item.keys() >= _ITEMS]
    if not known:
        return None, False
    found = {name: most_have([item[name] for item in known]) for name in sorted(_ITEMS)}
    if any(type_ is None for type_, _ in found.values()):
        return None, False
    fields = [(name, type_) for name, (type_, _) in found.items()]
    is_sure = len(known) == len(items) and all(sure for _, sure in found.values())
    return pa.list_(pa.struct(fields)), is_sure


# --- rows that are like the first -----------------------------------------------------------------


def rows_alike(
    block: Block, sample: Sequence[Mapping[str, Any]], types: Mapping[Path, pa.DataType]
) -> np.ndarray | None:
    """Which rows are objects of the sample's keys with values of these types; None if unknown."""
    pattern = _object(sample, types, ())
    if pattern is None or len(pattern) > _MAX_PATTERN:
        return None
    try:
        is_alike = pc.match_substring_regex(block.texts(), rf"\A{pattern}{_BLANK}\z")
    except pa.ArrowInvalid:
        # It is too large for the library.
        return None
    matches = np.asarray(is_alike).copy()
    matches[sorted(not_utf8_rows(block))] = False
    return matches


_TEXT: Final = r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"'
_NUMBER: Final = r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?"
_ANY: Final = rf"(?:{_TEXT}|{_NUMBER}|true|false|null)"
_BLANK: Final = r"[ \t\r\n]*"
# No more digits than 64 bits, or a float, have for sure.
_OF_TYPE: Final = {
    pa.int64(): r"(?:-?(?:0|[1-9]\d{0,17})|null)",
    pa.float64(): r"(?:-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?|null)",
    pa.bool_(): "(?:true|false|null)",
    pa.string(): f"(?:{_TEXT}|null)",
}


def _object(
    rows: Sequence[Mapping[str, Any]], types: Mapping[Path, pa.DataType], path: Path
) -> str | None:
    values: dict[str, list[Any]] = {}
    for key, value in _pairs(rows):
        values.setdefault(key, []).append(value)
    pairs = []
    for key, known in values.items():
        value = _value(known, types, (*path, key))
        if value is None or not re.fullmatch(r"[ !#-\[\]-~]+", key):
            return None
        pairs.append(f'"{re.escape(key)}"{_BLANK}:{_BLANK}{value}')
    return _many(r"\{", f"(?:{'|'.join(pairs)})", r"\}") if pairs else None


def _pairs(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for row in rows:
        yield from row.items()


def _value(values: Sequence[Any], types: Mapping[Path, pa.DataType], path: Path) -> str | None:
    if path in types:
        return _of_type(types[path])
    if any(other[: len(path)] == path for other in types):
        rows = [value for value in values if type(value) is dict]
        inner = _object(rows, types, path)
        return None if inner is None else f"(?:{inner}|null)"
    return None if any(type(value) in (dict, list) for value in values) else _ANY


def _of_type(type_: pa.DataType) -> str:
    if not pa.types.is_list(type_):
        return _OF_TYPE[type_]
    fields = [type_.value_type.field(n) for n in range(type_.value_type.num_fields)]
    each = [f'"{f.name}"{_BLANK}:{_BLANK}{_OF_TYPE[f.type]}' for f in fields]
    item = _many(r"\{", f"(?:{'|'.join(each)})", r"\}")
    return f"(?:{_many('[[]', item, ']')}|null)"


def _many(opening: str, each: str, closing: str) -> str:
    """None, one, or several after commas."""
    several = f"{each}(?:{_BLANK},{_BLANK}{each})*"
    return f"{opening}{_BLANK}(?:{several})?{_BLANK}{closing}"
