"""Blocks of JSON as columns: by ``pyarrow.json`` where that is without a doubt, else row by row.

Row by row means by orjson where that is installed and agrees, else by the standard library.
"""

import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.sources.blocks import Block
from training_assets.sources.columns import no_faults
from training_assets.sources.csv_cells import NOT_UTF8
from training_assets.sources.json_blocks import Path, most_have, read_block, rows_alike

MISSING: Final[Any] = object()
_SAMPLE_ROWS: Final = 20
# With fewer rows alike it is not worth a second look.
_LEAST_ALIKE: Final = 0.5


class JsonColumns(NamedTuple):
    """Values by path, and what is wrong with whole rows.

    Values are an Arrow array, or a list of Python values in which ``MISSING`` may be, or
    ``MISSING`` itself where no row has the name.
    """

    values: dict[Path, Any]
    faults: pa.Array


class JsonParts(NamedTuple):
    """A block's rows as they were read; ``order`` tells where each stands in the parts together."""

    parts: list[JsonColumns]
    order: pa.Array | None

    def together(self, arrays: Sequence[pa.Array]) -> pa.Array:
        """What the parts have, in the order of the rows."""
        if self.order is None:
            return arrays[0]
        return pa.concat_arrays(arrays).take(self.order)


def read_json(
    block: Block, paths: Sequence[Path], *, missing_matters: Sequence[Path] = ()
) -> JsonParts:
    """The values at ``paths``; of some it matters whether they are null or missing."""
    sample = list(_sample(block))
    types, is_sure = _types(sample, paths)
    if types is None:
        return JsonParts([_one_by_one(block, paths)], None)
    absent = [p for p in missing_matters if json.dumps(p[-1]).encode() not in block.data]
    known = [path for path in missing_matters if path not in absent]
    asked = {path: type_ for path, type_ in types.items() if path not in absent}
    if is_sure and (found := _at_once(block, asked, absent, known)):
        return JsonParts([found], None)
    is_alike = rows_alike(block, sample, types)
    if is_alike is not None and is_alike.mean() >= _LEAST_ALIKE:
        found = _at_once(block.only(is_alike), asked, absent, known)
        if found is not None:
            others = _one_by_one(block.only(~is_alike), paths)
            place = np.argsort(np.argsort(~is_alike, kind="stable"), kind="stable")
            return JsonParts([found, others], pa.array(place))
    return JsonParts([_one_by_one(block, paths)], None)


# --- at once --------------------------------------------------------------------------------------


def _at_once(
    block: Block, types: dict[Path, pa.DataType], absent: Sequence[Path], known: Sequence[Path]
) -> JsonColumns | None:
    """Columns of these types; of the ``known`` ones a null could be either, so there is none."""
    found = read_block(block, types)
    if found is None or any(found[path].null_count for path in known):
        return None
    return JsonColumns({**found, **dict.fromkeys(absent, MISSING)}, no_faults(len(block)))


def _sample(block: Block) -> Iterator[dict[str, Any]]:
    for n in range(min(_SAMPLE_ROWS, len(block))):
        try:
            yield parse_object(block.row(n))
        except ValueError:
            continue


def _types(
    sample: Sequence[dict[str, Any]], paths: Sequence[Path]
) -> tuple[dict[Path, pa.DataType] | None, bool]:
    """The types that most of the first rows speak for, and whether all do."""
    types: dict[Path, pa.DataType] = {}
    is_sure = True
    for path in paths:
        if any(path != other and path == other[: len(path)] for other in paths):
            return None, False
        known = [v for row in sample if (v := at_path(row, path)) is not None and v is not MISSING]
        type_, has_one = most_have(known)
        if type_ is None:
            return None, False
        types[path] = type_
        is_sure = is_sure and has_one
    return types, is_sure


# --- one by one -----------------------------------------------------------------------------------


def _one_by_one(block: Block, paths: Sequence[Path]) -> JsonColumns:
    starts, stops, data = block.starts.tolist(), block.stops.tolist(), block.data
    texts = [data[start:stop] for start, stop in zip(starts, stops, strict=True)]
    return columns_of(texts, paths)


def columns_of(given: Sequence[dict[str, Any] | bytes], paths: Sequence[Path]) -> JsonColumns:
    """The values at ``paths`` of rows in memory: objects, and the text of what may be one."""
    reasons: dict[int, str] = {}
    if (whole := _whole_columns(given, paths)) is not None:
        return whole
    quick = _quick_parser()
    rows: list[dict[str, Any]] = []
    for n, row in enumerate(given):
        read = row if type(row) is dict else _parsed(cast(bytes, row), quick)
        if isinstance(read, str):
            reasons[n] = read
        rows.append({} if isinstance(read, str) else read)
    values: dict[Path, Any] = {}
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


def _whole_columns(
    given: Sequence[dict[str, Any] | bytes], paths: Sequence[Path]
) -> JsonColumns | None:
    """The same of objects that have all of the names, which most are; else None."""
    if len(paths) < 2 or any(len(path) > 1 for path in paths) or {*map(type, given)} != {dict}:
        return None
    try:
        found = zip(*map(itemgetter(*(path[0] for path in paths)), given), strict=True)
        values = dict(zip(paths, map(list, found), strict=True))
    except KeyError:
        return None
    return JsonColumns(values, no_faults(len(given)))


class Nested(NamedTuple):
    """Elements of arrays as rows; ``block`` has each as an object of its own."""

    columns: JsonColumns
    block: Block


def read_nested(block: Block, paths: Sequence[Path], name: str) -> Nested:
    """The values at ``paths`` of each element of the arrays under ``name``, as ``elements_of``."""
    texts: list[bytes] = []
    owners: list[int] = []
    reasons: dict[int, str] = {}
    quick = _quick_parser()
    for n in range(len(block)):
        data = block.row(n)
        row = _parsed(data, quick)
        try:
            parts = [data] if isinstance(row, str) else _as_objects(elements_of(row, name))
        except ValueError as error:
            reasons[len(texts)] = str(error)
            parts = [data]
        texts += parts
        owners += [n] * len(parts)
    stops = np.cumsum([len(text) for text in texts], dtype=np.int64)
    starts = stops - np.array([len(text) for text in texts], np.int64)
    place = np.array(owners, np.int64)
    rows = Block(b"".join(texts), starts, stops, block.rows[place], block.lines[place], False)
    found = _one_by_one(rows, paths)
    if reasons:
        told = pa.array(map(reasons.get, range(len(texts))), pa.string())
        found = found._replace(faults=pc.coalesce(found.faults, told))
    return Nested(found, rows)


def _as_objects(rows: Sequence[Any]) -> list[bytes]:
    texts = (json.dumps(row, ensure_ascii=False) for row in rows)
    return [text.encode(errors="backslashreplace") for text in texts]


def elements_of(row: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The object once for each element of an array, which stands in the array's place then.

    Raises ``ValueError`` where there is something else.
    """
    found = row.get(name)
    if found is None:
        return []
    if type(found) is not list:
        raise ValueError(f"{name} is not an array")
    return [{**row, name: element} for element in found]


def objects_of(block: Block) -> Iterator[dict[str, Any]]:
    """The rows that are objects."""
    quick, data = _quick_parser(), block.data
    for start, stop in zip(block.starts.tolist(), block.stops.tolist(), strict=True):
        row = _parsed(data[start:stop], quick)
        if not isinstance(row, str):
            yield row


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
