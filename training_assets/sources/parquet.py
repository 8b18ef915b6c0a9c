"""Raw Parquet files as chunks; see ``columns.py``. No row is looked at by itself."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.schemas import Table
from training_assets.sources.columns import (
    BATCH_ROWS,
    IGNORED_COLUMNS,
    ITEMS,
    OUTSIDE,
    WIDE,
    Chunk,
    Task,
    Values,
    first_fault,
    items_of,
    lists_of,
    no_faults,
    parse_texts,
    widen_all,
)
from training_assets.sources.opening import open_parquet

_FIRST_DAY: Final = (date.min - date(1970, 1, 1)).days
_LAST_DAY: Final = (date.max - date(1970, 1, 1)).days
_PER_DAY: Final = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6}


def row_groups(file: pq.ParquetFile, task: Task) -> range:
    """The task's row groups; raises ``ArrowInvalid`` where the file has fewer by now."""
    stop = task.stop if task.stop >= 0 else file.num_row_groups
    if stop > file.num_row_groups:
        raise pa.ArrowInvalid("it has fewer row groups than when it was listed")
    return range(task.start, stop)


def parquet_chunks(task: Task, table: Table, names: Sequence[str]) -> Iterator[Chunk]:
    """Chunks with those of the columns ``names`` that the file has."""
    with open_parquet(task.uri) as file:
        present = [name for name in names if name in file.schema_arrow.names]
        groups = list(row_groups(file, task))
        missing = sum(file.metadata.row_group(n).num_rows for n in groups)
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=present):
            missing -= len(batch)
            yield _chunk(batch, table, present)
        if missing:
            # At a page of a kind that it does not know, Arrow ends without a word.
            raise pa.ArrowInvalid(f"{missing} rows of its footer are not in its pages")


def _chunk(batch: pa.RecordBatch, table: Table, names: Sequence[str]) -> Chunk:
    def originals(indices: Sequence[int]) -> list[dict[str, Any]]:
        rows = batch.take(pa.array(indices, pa.int64()))
        types = {column.name: column.type for column in table.columns}
        shown = {
            name: _printable(rows.column(name), types[name])
            for name in names
            if is_readable(rows.column(name).type, types[name])
        }
        return [{name: shown[name][n] for name in shown} for n in range(len(rows))]

    columns, faults = widen_all(
        table,
        names,
        lambda name, type_name: widen(batch.column(name), name, type_name),
        no_faults(len(batch)),
    )
    return Chunk(columns, faults, originals)


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
    if expected == "boolean":
        return pa.types.is_boolean(found)
    return _is_items(found)


def _is_string(found: pa.DataType) -> bool:
    return pa.types.is_string(found) or pa.types.is_large_string(found) or found == pa.string_view()


def _is_items(found: pa.DataType) -> bool:
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(found) for is_kind in kinds):
        return False
    item = found.value_type
    if pa.types.is_null(item):
        return True
    if not pa.types.is_struct(item):
        return False
    names = [item.field(n).name for n in range(item.num_fields)]
    return all(
        names.count(name) == 1 and is_readable(item.field(names.index(name)).type, expected)
        for name, expected in (("item_id", "int"), ("is_order", "boolean"))
    )


def widen(values: pa.Array, name: str, type_name: str) -> Values:
    """A typed column in its wide type."""
    values = _decoded(values)
    is_known = is_readable(values.type, type_name)
    if not is_known and name not in IGNORED_COLUMNS:
        # It was another when the file was listed.
        raise pa.ArrowInvalid(f"{name} is {values.type}; expected {type_name}")
    if pa.types.is_null(values.type) or not is_known:
        return Values(pa.nulls(len(values), WIDE[type_name]), no_faults(len(values)))
    if type_name == ITEMS:
        return Values(_widen_items(values), no_faults(len(values)))
    return _WIDEN[type_name](values, name, type_name)


def _decoded(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _widen_integers(values: pa.Array, name: str, type_name: str) -> Values:
    faults = no_faults(len(values))
    if values.type == pa.uint64():
        beyond = pc.greater(values, pa.scalar(2**63 - 1, pa.uint64()))
        faults = first_fault(faults, beyond, f"{name} {OUTSIDE[type_name]}")
        values = pc.if_else(beyond, pa.scalar(None, pa.uint64()), values)
    return Values(values.cast(pa.int64()), faults)


def _widen_strings(values: pa.Array, name: str, type_name: str) -> Values:
    raw = values.cast(pa.large_string()).cast(pa.large_binary())
    faults = no_faults(len(values))
    try:
        return Values(raw.cast(pa.string()), faults)
    except pa.ArrowInvalid:
        broken = pa.array([_is_not_utf8(value) for value in raw.to_pylist()])
        faults = first_fault(faults, broken, f"{name} is not UTF-8")
        kept = pc.if_else(broken, pa.scalar(None, pa.large_binary()), raw)
        return Values(kept.cast(pa.string()), faults)


def _is_not_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return True
    return False


def _widen_dates(values: pa.Array, name: str, type_name: str) -> Values:
    if _is_string(values.type):
        texts = _widen_strings(values, name, type_name)
        parsed = parse_texts(texts.values, name, type_name)
        return Values(parsed.values, pc.coalesce(texts.faults, parsed.faults))
    if pa.types.is_date64(values.type):
        numbers, faults = _in_years(values.cast(pa.int64()), name, type_name, _PER_DAY["ms"])
        numbers = _floor_divide(numbers, _PER_DAY["ms"])
    else:
        days = values.cast(pa.int32()).cast(pa.int64())
        numbers, faults = _in_years(days, name, type_name, 1)
    return Values(numbers.cast(pa.int32()).cast(pa.date32()), faults)


def _widen_timestamps(values: pa.Array, name: str, type_name: str) -> Values:
    numbers, unit = values.cast(pa.int64()), values.type.unit
    if unit == "ns":
        # Floored, as Spark does with what is finer than its clock; 64 bits end within the years.
        return Values(_floor_divide(numbers, 1000).cast(WIDE[type_name]), no_faults(len(values)))
    numbers, faults = _in_years(numbers, name, type_name, _PER_DAY[unit])
    return Values(numbers.cast(pa.timestamp(unit, tz="UTC")).cast(WIDE[type_name]), faults)


def _in_years(numbers: pa.Array, name: str, type_name: str, per_day: int) -> Values:
    first, last = _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day - 1
    beyond = pc.or_(pc.less(numbers, first), pc.greater(numbers, last))
    faults = first_fault(no_faults(len(numbers)), beyond, f"{name} {OUTSIDE[type_name]}")
    return Values(pc.if_else(beyond, pa.scalar(None, pa.int64()), numbers), faults)


def _floor_divide(numbers: pa.Array, by: int) -> pa.Array:
    floored = np.floor_divide(np.asarray(numbers.fill_null(0)), by)
    return pa.array(floored, pa.int64(), mask=np.asarray(numbers.is_null()))


_WIDEN: Final[dict[str, Callable[[pa.Array, str, str], Values]]] = {
    "long": _widen_integers,
    "int": _widen_integers,
    "string": _widen_strings,
    "date": _widen_dates,
    "timestamp": _widen_timestamps,
}


def _widen_items(values: pa.Array) -> pa.Array:
    lengths, items = _flatten(values)
    if pa.types.is_null(items.type):
        return lists_of(lengths, items.cast(WIDE[ITEMS].value_type))
    ids = widen(pc.struct_field(items, "item_id"), "item_id", "int")
    label = _decoded(pc.struct_field(items, "is_order")).cast(pa.bool_())
    labels = Values(label, no_faults(len(items)))
    return lists_of(lengths, items_of(ids, labels, no_faults(len(items)), items.is_null()))


def _flatten(values: pa.Array) -> tuple[np.ndarray, pa.Array]:
    lists = values.cast(pa.list_(values.type.value_type))
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0)), lists.flatten()


# --- rows as they were, for the quarantine --------------------------------------------------------


def _printable(values: pa.Array, type_name: str) -> list[Any]:
    """The values as they are in the file, in what JSON can say."""
    values = _decoded(values)
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return _print_times(values)
    if _is_string(values.type):
        raw = values.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
        return [None if value is None else _text(value) for value in raw]
    if type_name == ITEMS and not pa.types.is_null(values.type):
        return _print_items(values)
    return values.to_pylist()


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _print_times(values: pa.Array) -> list[Any]:
    """ISO, in UTC where there is a zone; what no calendar has, as its number."""
    if pa.types.is_timestamp(values.type):
        is_zoned = values.type.tz is not None
        values = values.cast(pa.timestamp(values.type.unit, tz="UTC" if is_zoned else None))
        numbers = values.cast(pa.int64())
        fits = _widen_timestamps(values, "", "timestamp").values
    else:
        width = pa.int64() if pa.types.is_date64(values.type) else pa.int32()
        numbers = values.cast(width)
        fits = _widen_dates(values, "", "date").values
    known = pc.if_else(fits.is_valid(), values, pa.scalar(None, values.type))
    pairs = zip(known.cast(pa.string()).to_pylist(), numbers.to_pylist(), strict=True)
    return [number if text is None else text for text, number in pairs]


def _print_items(values: pa.Array) -> list[Any]:
    lists = values.cast(pa.list_(values.type.value_type))
    lengths, items = _flatten(lists)
    if not pa.types.is_null(items.type):
        names = ["item_id", "is_order"]
        fields = [_decoded(pc.struct_field(items, name)) for name in names]
        items = pa.StructArray.from_arrays(fields, names=names, mask=items.is_null())
    shown = lists_of(lengths, items).to_pylist()
    return [
        None if is_null else row
        for row, is_null in zip(shown, lists.is_null().to_pylist(), strict=True)
    ]
