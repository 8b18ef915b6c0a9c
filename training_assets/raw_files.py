"""Parse raw files into valid rows and faults, on the workers, the same on every engine.

Needs pyarrow and NumPy only. Each row of a file ends in exactly one of two places: among the valid
rows, typed as ``schemas.py`` says, or among the faults, with the first rule that it broke and its
content. In impressions each item is judged by itself.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.errors import RawDataError
from training_assets.schemas import MAX_ITEM_ID, MIN_ITEM_ID, QUARANTINE, RAW_TABLES, Table

_BATCH_ROWS: Final = 65_536
_FAULT: Final = "_fault"
_CONTENT: Final = "_content"
_ITEMS_TYPE: Final = pa.list_(pa.struct([("item_id", pa.int64()), ("is_order", pa.bool_())]))

# What the parser hands on before the rules are applied: ids wide enough to be judged.
_WIDE: Final = {
    "long": pa.int64(),
    "int": pa.int64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "array<struct<item_id:int,is_order:boolean>>": _ITEMS_TYPE,
}


class Task(NamedTuple):
    """A part of a raw file: row groups ``start`` to ``stop`` of Parquet, or a whole text file."""

    task: int
    path: str
    name: str
    format: str
    day: date | None
    start: int
    stop: int


def parse(
    batches: Iterator[pa.RecordBatch], table_name: str, days: Sequence[date], *, wants_faults: bool
) -> Iterator[pa.RecordBatch]:
    """The tasks' valid rows, or their faults as rows of the quarantine table.

    Of flat files only rows of ``days`` are given; rows without a day are faults of the first day
    in their file.
    """
    table = RAW_TABLES[table_name]
    for batch in batches:
        for row in batch.to_pylist():
            task = Task(**row)
            for wide in _wide_tables(task, table):
                judged = _judge(wide, table, task, days)
                rows = _faults(judged, table, task) if wants_faults else _valid(judged, table)
                yield from rows.to_batches()


def count_rows(task: Task, table_name: str, days: Sequence[date]) -> dict[date, int]:
    """Rows of the task by day, good or bad, counted without looking at their content.

    Only flat files must be parsed for it, because their days stand in their rows.
    """
    if task.day is None:
        counts: dict[date, int] = {}
        table = RAW_TABLES[table_name]
        for wide in _wide_tables(task, table):
            judged = _judge(wide, table, task, days)
            for entry in pc.value_counts(judged.column(table.day_column)).to_pylist():
                counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
        return counts
    if task.format == "parquet":
        groups = range(task.start, task.stop)
        metadata = pq.read_metadata(task.path)
        return {task.day: sum(metadata.row_group(n).num_rows for n in groups)}
    lines = sum(1 for line, _ in _lines(task) if line.strip())
    return {task.day: max(lines - 1, 0) if task.format == "csv" else lines}


def is_readable(found: pa.DataType, expected: str) -> bool:
    """Whether a Parquet column of type ``found`` can be read as the declared Spark type."""
    if pa.types.is_null(found):
        return True
    if pa.types.is_dictionary(found):
        return is_readable(found.value_type, expected)
    if expected in ("long", "int"):
        return pa.types.is_integer(found)
    if expected == "string":
        return _is_string(found)
    if expected == "date":
        return pa.types.is_date(found) or _is_string(found)
    if expected == "timestamp":
        return pa.types.is_timestamp(found)
    return _is_items(found)


def csv_header(line: bytes) -> list[str]:
    text = line.decode("utf-8-sig", errors="replace").strip("\r\n")
    return [name.strip() for name in next(csv.reader([text]), [])]


def _is_string(found: pa.DataType) -> bool:
    return pa.types.is_string(found) or pa.types.is_large_string(found) or found == pa.string_view()


def _is_items(found: pa.DataType) -> bool:
    if not (pa.types.is_list(found) or pa.types.is_large_list(found)):
        return False
    item = found.value_type
    if pa.types.is_null(item):
        return True
    if not pa.types.is_struct(item):
        return False
    fields = {item.field(n).name: item.field(n).type for n in range(item.num_fields)}
    label = fields.get("is_order")
    return (
        "item_id" in fields
        and pa.types.is_integer(fields["item_id"])
        and label is not None
        and (pa.types.is_boolean(label) or pa.types.is_null(label))
    )


# --- reading: a file becomes tables of wide columns, with the faults that parsing found -----------


def _wide_tables(task: Task, table: Table) -> Iterator[pa.Table]:
    try:
        if task.format == "parquet":
            yield from _wide_parquet(task, table)
        else:
            yield from _wide_text(task, table)
    except (OSError, EOFError, pa.ArrowInvalid) as error:
        raise RawDataError(
            f"{task.name}: the file cannot be read as {task.format} ({error}). "
            "Deliver it again, whole."
        ) from error


def _wide_parquet(task: Task, table: Table) -> Iterator[pa.Table]:
    with pq.ParquetFile(task.path) as file:
        wanted = [c.name for c in table.columns if c.name in file.schema_arrow.names]
        groups = list(range(task.start, task.stop))
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=wanted):
            rows = pa.Table.from_batches([batch])
            faults = pa.nulls(len(rows), pa.string())
            columns = {}
            for column in table.columns:
                if column.name in wanted:
                    values = rows.column(column.name).combine_chunks()
                    columns[column.name], faults = _widen(values, column.name, column.type, faults)
            yield pa.table({**columns, _FAULT: faults, _CONTENT: pa.nulls(len(rows), pa.string())})


def _widen(
    values: pa.Array, name: str, type_name: str, faults: pa.Array
) -> tuple[pa.Array, pa.Array]:
    """The column in its wide type; values that do not fit it become null, with a fault."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    target = _WIDE[type_name]
    if target == _ITEMS_TYPE:
        return _wide_items(values), faults
    if _is_string(values.type) and type_name == "date":
        parsed = pa.array([_day_or_none(text) for text in values.to_pylist()], pa.date32())
        return parsed, _first_fault(faults, _lost(values, parsed), f"{name} is not a date")
    if pa.types.is_timestamp(values.type) and values.type.unit == "ns":
        return _floor_nanos(values).cast(target), faults
    try:
        return values.cast(target), faults
    except pa.ArrowInvalid:
        # Only a value beyond 64 bits gets here: one by one, to keep the others.
        parsed = pa.array([_cast_one(value, target) for value in values], target)
        return parsed, _first_fault(faults, _lost(values, parsed), f"{name} is out of range")


def _floor_nanos(values: pa.Array) -> pa.Array:
    """Microseconds; floored, as Spark does with what is finer than its clock."""
    nanos = np.asarray(values.cast(pa.int64()).fill_null(0))
    mask = np.asarray(values.is_null())
    return pa.array(np.floor_divide(nanos, 1000), pa.int64(), mask=mask)


def _cast_one(value: pa.Scalar, target: pa.DataType) -> pa.Scalar:
    try:
        return value.cast(target)
    except pa.ArrowInvalid:
        return pa.scalar(None, target)


def _lost(before: pa.Array, after: pa.Array) -> pa.Array:
    return pc.and_(pc.is_valid(before), pc.is_null(after))


def _wide_items(values: pa.Array) -> pa.Array:
    if pa.types.is_large_list(values.type):
        values = values.cast(pa.list_(values.type.value_type))
    if pa.types.is_null(values.type) or pa.types.is_null(values.type.value_type):
        return values.cast(_ITEMS_TYPE)
    lists = pa.array(values, values.type)
    items = lists.flatten()
    ids = pc.struct_field(items, "item_id")
    wide = pa.StructArray.from_arrays(
        [_cast_ids(ids), pc.struct_field(items, "is_order").cast(pa.bool_())],
        fields=list(_ITEMS_TYPE.value_type),
        mask=items.is_null(),
    )
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    return _lists(np.asarray(lengths), wide, _ITEMS_TYPE)


def _cast_ids(ids: pa.Array) -> pa.Array:
    if ids.type == pa.uint64():
        # Beyond int64 is beyond any valid item id: 0 is judged the same, as out of range.
        beyond = pc.greater(ids, pa.scalar(2**63 - 1, pa.uint64()))
        ids = pc.if_else(beyond, pa.scalar(0, pa.uint64()), ids)
    return ids.cast(pa.int64())


def _lists(lengths: np.ndarray, values: pa.Array, type_: pa.DataType) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=type_)


def _wide_text(task: Task, table: Table) -> Iterator[pa.Table]:
    rows = _json_rows(task) if task.format == "json" else _csv_rows(task)
    while chunk := list(islice(rows, _BATCH_ROWS)):
        faults: list[str | None] = [fault for _, fault, _ in chunk]
        columns = {}
        for column in table.columns:
            if column.name == table.day_column and task.day is not None:
                present = any(column.name in row for row, _, _ in chunk)
                if not present:
                    continue
            convert = _CONVERT[column.type]
            values = []
            for n, (row, _, _) in enumerate(chunk):
                try:
                    values.append(convert(row.get(column.name)))
                except (ValueError, TypeError, OverflowError) as error:
                    values.append(None)
                    faults[n] = faults[n] or f"{column.name} {error}"
            columns[column.name] = pa.array(values, _WIDE[column.type])
        content = pa.array([text for _, _, text in chunk], pa.string())
        yield pa.table({**columns, _FAULT: pa.array(faults, pa.string()), _CONTENT: content})


_TextRow = tuple[dict[str, Any], str | None, str]


def _lines(task: Task) -> Iterator[tuple[str, str | None]]:
    """The lines, with a fault for those that are not UTF-8."""
    opener: Callable[[str], Any] = gzip.open if task.path.endswith(".gz") else _open_binary
    with opener(task.path) as file:
        for number, line in enumerate(file):
            bare = line.rstrip(b"\r\n")
            try:
                yield bare.decode("utf-8-sig" if number == 0 else "utf-8"), None
            except UnicodeDecodeError:
                yield bare.decode("utf-8", errors="backslashreplace"), "row is not UTF-8"


def _open_binary(path: str) -> Any:
    return open(path, "rb")


def _json_rows(task: Task) -> Iterator[_TextRow]:
    for line, fault in _lines(task):
        if line.strip():
            yield ({}, fault, line) if fault else (*_parse_json(line), line)


def _parse_json(line: str) -> tuple[dict[str, Any], str | None]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}, "row is not JSON"
    return (row, None) if isinstance(row, dict) else ({}, "row is not a JSON object")


def _csv_rows(task: Task) -> Iterator[_TextRow]:
    lines = _lines(task)
    header = csv_header(next(lines, ("", None))[0].encode())
    for line, fault in lines:
        if line.strip():
            yield ({}, fault, line) if fault else (*_parse_csv(line, header), line)


def _parse_csv(line: str, header: list[str]) -> tuple[dict[str, Any], str | None]:
    try:
        # Line by line: one broken quote must not swallow the rows that follow it.
        cells = next(csv.reader(io.StringIO(line), strict=True))
    except csv.Error:
        return {}, "row is not CSV"
    if len(cells) != len(header):
        return {}, f"row has {len(cells)} cells, the header {len(header)}"
    return {k: _Cell(v) for k, v in zip(header, cells, strict=True) if v.strip()}, None


class _Cell(str):
    """A CSV cell: text that may stand for any type, unlike a JSON string."""


def _as_int(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, _Cell):
        text = value.strip()
        if not text.lstrip("+-").isdecimal():
            raise ValueError("is not an integer")
        value = int(text) if len(text) < 30 else 2**64
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("is not an integer")
    if not -(2**63) <= value < 2**63:
        raise ValueError("is beyond 64 bits")
    return value


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    raise ValueError("is not a string")


def _as_date(value: Any) -> date | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value.strip())
    except (ValueError, AttributeError):
        raise ValueError("is not a date") from None


def _day_or_none(value: Any) -> date | None:
    try:
        return _as_date(value)
    except ValueError:
        return None


def _as_timestamp(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("is not a timestamp")
    try:
        parsed = datetime.fromisoformat(value.strip())
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a timestamp") from None


def _as_items(value: Any) -> list[dict[str, Any] | None] | None:
    if isinstance(value, _Cell):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("is not JSON") from None
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError("is not an array")
    return [_as_item(item) for item in value]


def _as_item(item: Any) -> dict[str, Any] | None:
    if item is None:
        return None
    if not isinstance(item, dict):
        raise ValueError("has an item that is not an object")
    label = item.get("is_order")
    if label is not None and not isinstance(label, bool):
        raise ValueError("has an is_order that is not true or false")
    try:
        return {"item_id": _as_int(item.get("item_id")), "is_order": label}
    except ValueError as error:
        raise ValueError(f"has an item_id that {error}") from None


_CONVERT: Final[dict[str, Callable[[Any], Any]]] = {
    "long": _as_int,
    "int": _as_int,
    "string": _as_text,
    "date": _as_date,
    "timestamp": _as_timestamp,
    "array<struct<item_id:int,is_order:boolean>>": _as_items,
}


# --- judging: the rules of the contract -----------------------------------------------------------


def _judge(wide: pa.Table, table: Table, task: Task, days: Sequence[date]) -> pa.Table:
    """The rows with all columns, their day in ``dt`` and, in ``_fault``, the first broken rule."""
    size = len(wide)
    faults = wide.column(_FAULT).combine_chunks()
    columns: dict[str, pa.Array] = {}
    for column in table.columns:
        if column.name in wide.column_names:
            columns[column.name] = wide.column(column.name).combine_chunks()
        else:
            columns[column.name] = pa.nulls(size, _WIDE[column.type])
    day_name = table.day_column
    stated = columns[day_name]
    if task.day is not None:
        folder_day = pa.array([task.day], pa.date32()).take(pa.array(np.zeros(size, np.int32)))
        if day_name in wide.column_names:
            faults = _first_fault(faults, pc.is_null(stated), f"{day_name} is null")
            other = pc.not_equal(stated, folder_day)
            faults = _first_fault(faults, other, f"{day_name} contradicts the folder")
        columns[day_name] = folder_day
    else:
        faults = _first_fault(faults, pc.is_null(stated), f"{day_name} is null")
        first = _first_day(task, days)
        columns[day_name] = pc.fill_null(stated, pa.scalar(first, pa.date32()))
    faults = _first_fault(faults, pc.is_null(columns["customer_id"]), "customer_id is null")
    for name in ("item_id", "config_id"):
        if name in columns:
            faults = _first_fault(faults, pc.is_null(columns[name]), f"{name} is null")
            outside = pc.invert(_in_item_range(columns[name]))
            faults = _first_fault(faults, outside, f"{name} outside {MIN_ITEM_ID}..{MAX_ITEM_ID}")
    rows = pa.table({**columns, _FAULT: faults, _CONTENT: wide.column(_CONTENT)})
    if task.day is None:
        rows = rows.filter(pc.is_in(rows.column(day_name), pa.array(days, pa.date32())))
    return rows


def _first_day(task: Task, days: Sequence[date]) -> date:
    """Where rows without a day are counted: the first day of their flat file, if it tells."""
    if task.format == "parquet":
        column = pq.read_table(task.path, columns=["order_date"]).column(0)
        if _is_string(column.type):
            column = pa.chunked_array([[_day_or_none(text) for text in column.to_pylist()]])
        first = pc.min(column.cast(pa.date32())).as_py()
    else:
        rows = _json_rows(task) if task.format == "json" else _csv_rows(task)
        stated = (_day_or_none(row.get("order_date")) for row, _, _ in rows)
        first = min((day for day in stated if day is not None), default=None)
    return first or min(days)


def _first_fault(faults: pa.Array, broken: pa.Array, reason: str) -> pa.Array:
    hit = pc.and_(pc.fill_null(broken, False), pc.is_null(faults))
    return pc.if_else(hit, pa.scalar(reason, pa.string()), faults)


def _in_item_range(ids: pa.Array) -> pa.Array:
    return pc.and_(pc.greater_equal(ids, MIN_ITEM_ID), pc.less_equal(ids, MAX_ITEM_ID))


def _valid_items(lists: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The flattened items and which of them are valid."""
    items = lists.flatten()
    ids = pc.struct_field(items, "item_id")
    has_label = pc.is_valid(pc.struct_field(items, "is_order"))
    inside = pc.fill_null(_in_item_range(ids), False)
    return items, pc.and_(pc.and_(pc.is_valid(items), has_label), inside)


def _valid(rows: pa.Table, table: Table) -> pa.Table:
    good = rows.filter(pc.is_null(rows.column(_FAULT)))
    if "impressions" in table.column_names:
        lists = good.column("impressions").combine_chunks()
        items, valid = _valid_items(lists)
        parents = pc.list_parent_indices(lists)
        kept = np.asarray(parents)[np.asarray(valid)]
        lengths = np.bincount(kept.astype(np.int64), minlength=len(good))
        narrow = _lists(lengths, items.filter(valid), _ITEMS_TYPE)
        place = good.column_names.index("impressions")
        good = good.set_column(place, "impressions", narrow).filter(pa.array(lengths > 0))
    schema = pa.schema([(c.name, c.arrow) for c in table.columns])
    return good.select(table.column_names).cast(schema)


def _faults(rows: pa.Table, table: Table, task: Task) -> pa.Table:
    bad = rows.filter(pc.is_valid(rows.column(_FAULT)))
    found = [
        (row[table.day_column], row[_FAULT], task.name, row[_CONTENT] or _content(row, table))
        for row in bad.to_pylist()
    ]
    if "impressions" in table.column_names:
        found += _item_faults(rows.filter(pc.is_null(rows.column(_FAULT))), table, task)
    schema = pa.schema([(c.name, c.arrow) for c in QUARANTINE.columns])
    return pa.Table.from_pylist([dict(zip(schema.names, f, strict=True)) for f in found], schema)


def _item_faults(rows: pa.Table, table: Table, task: Task) -> list[tuple[date, str, str, str]]:
    lists = rows.column("impressions").combine_chunks()
    _, valid = _valid_items(lists)
    if pc.all(valid).as_py() is not False:
        return []
    parents = np.asarray(pc.list_parent_indices(lists))
    owners = np.unique(parents[~np.asarray(valid)])
    found = []
    for row in rows.take(pa.array(owners)).to_pylist():
        for position, item in enumerate(row["impressions"]):
            if reason := _item_reason(item):
                content = _content({**row, "position": position, "impressions": [item]}, table)
                found.append((row[table.day_column], reason, task.name, content))
    return found


def _item_reason(item: dict[str, Any] | None) -> str | None:
    if item is None:
        return "item is null"
    if item["item_id"] is None:
        return "item_id is null"
    if item["is_order"] is None:
        return "is_order is null"
    if not MIN_ITEM_ID <= item["item_id"] <= MAX_ITEM_ID:
        return f"item_id outside {MIN_ITEM_ID}..{MAX_ITEM_ID}"
    return None


def _content(row: dict[str, Any], table: Table) -> str:
    """The row as JSON; of an impressions item, with its position in the ranking."""
    names = [*table.column_names, "position"]
    return json.dumps({n: row[n] for n in names if n in row}, default=_iso, ensure_ascii=False)


def _iso(value: date | datetime) -> str:
    return value.isoformat()
