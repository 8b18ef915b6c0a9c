"""Typed columns, of Parquet or as ``pyarrow.json`` gives them, in their wide types."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from training_assets.sources.columns import (
    IGNORED_COLUMNS,
    ITEMS,
    OUTSIDE,
    WIDE,
    Values,
    first_fault,
    items_of,
    lists_of,
    no_faults,
)
from training_assets.sources.json_values import items_of_texts
from training_assets.sources.values import (
    ITEM_KINDS,
    MAX_EXACT_FLOAT,
    NOT_A,
    NOT_EXACT,
    Kind,
    floor_divide,
    from_numbers,
    in_zone,
    item_kinds,
    parse_texts,
    read_each,
)

_FIRST_DAY: Final = (date.min - date(1970, 1, 1)).days
_LAST_DAY: Final = (date.max - date(1970, 1, 1)).days
_PER_DAY: Final = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6}
_NOT_MIDNIGHT: Final = "is a time and not a day"


def is_string(found: pa.DataType) -> bool:
    return pt.is_string(found) or pt.is_large_string(found) or found == pa.string_view()


def is_list(found: pa.DataType) -> bool:
    kinds = (pt.is_list, pt.is_large_list, pt.is_fixed_size_list, pt.is_list_view)
    return any(is_kind(found) for is_kind in kinds) or pt.is_large_list_view(found)


def _is_number(found: pa.DataType) -> bool:
    return pt.is_integer(found) or pt.is_floating(found) or pt.is_decimal(found)


def is_readable(found: pa.DataType, kind: Kind) -> bool:
    """Whether values of that Arrow type may be what the column holds."""
    if pt.is_null(found):
        return True
    if pt.is_dictionary(found) or pt.is_run_end_encoded(found):
        return is_readable(found.value_type, kind)
    if kind.type == ITEMS:
        return is_string(found) or _is_items(found, kind)
    if is_string(found):
        return True
    if kind.type in ("long", "int", "double", "decimal(18,4)"):
        return _is_number(found)
    if kind.type == "boolean":
        return pt.is_boolean(found) or _is_number(found)
    if kind.type == "string":
        is_nested = kind.is_json and (pt.is_nested(found))
        return pt.is_integer(found) or is_nested or (kind.is_id and _is_number(found))
    if kind.type == "timestamp" or kind.is_instant:
        is_time = pt.is_timestamp(found) or pt.is_date(found)
        return is_time or (bool(kind.unit) and _is_number(found))
    return pt.is_date(found) or pt.is_timestamp(found) or pt.is_integer(found)


def _is_items(found: pa.DataType, of: Kind) -> bool:
    if not is_list(found):
        return False
    item = found.value_type
    if pt.is_null(item):
        return True
    if not pt.is_struct(item):
        return False
    names = [item.field(n).name for n in range(item.num_fields)]
    return all(
        names.count(name) == 1 and is_readable(item.field(names.index(name)).type, kind)
        for name, kind in item_kinds(of).items()
    )


def widen(values: pa.Array, kind: Kind) -> Values:
    """A typed column in its wide type."""
    values = decoded(values)
    is_known = is_readable(values.type, kind)
    if not is_known and kind.name not in IGNORED_COLUMNS:
        # It was another when the file was listed.
        raise pa.ArrowInvalid(f"{kind.name} is {values.type}; expected {kind.type}")
    if values.null_count == len(values) or not is_known:
        return Values(pa.nulls(len(values), WIDE[kind.type]), no_faults(len(values)))
    if is_string(values.type) and kind.type != ITEMS:
        texts = _strings(values, kind)
        parsed = parse_texts(texts.values, kind)
        return Values(parsed.values, pc.coalesce(texts.faults, parsed.faults))
    return _WIDEN[kind.type](values, kind)


def decoded(values: pa.Array) -> pa.Array:
    if pt.is_dictionary(values.type):
        return values.dictionary_decode()
    return pc.run_end_decode(values) if pt.is_run_end_encoded(values.type) else values


# Above, a narrow float may stand for several integers.
_EXACT: Final = {pa.float16(): 2.0**11 - 1, pa.float32(): 2.0**24 - 1}


def _integers(values: pa.Array, kind: Kind) -> Values:
    faults = no_faults(len(values))
    if pt.is_floating(values.type):
        return _of_floats(values, kind)
    if pt.is_decimal(values.type):
        return _of_decimals(values, kind)
    if values.type == pa.uint64():
        beyond = pc.greater(values, pa.scalar(2**63 - 1, pa.uint64()))
        faults = first_fault(faults, beyond, f"{kind.name} {OUTSIDE[kind.type]}")
        values = pc.if_else(beyond, pa.scalar(None, pa.uint64()), values)
    return Values(values.cast(pa.int64()), faults)


def _of_floats(values: pa.Array, kind: Kind) -> Values:
    """Floats with nothing behind the point; NaN is how pandas writes that there is none."""
    most = _EXACT.get(values.type, MAX_EXACT_FLOAT)
    numbers = np.asarray(values.cast(pa.float64()).fill_null(np.nan))
    is_known = ~np.isnan(numbers)
    with np.errstate(invalid="ignore"):
        is_whole = is_known & np.isfinite(numbers) & (numbers == np.floor(numbers))
        fits = is_whole & (np.abs(numbers) < 2.0**63)
        is_exact = fits & (np.abs(numbers) <= most)
    faults = no_faults(len(values))
    if not is_exact[is_known].all():
        for wrong, reason in (
            (is_known & ~is_whole, NOT_A["long"]),
            (is_whole & ~fits, OUTSIDE[kind.type]),
            (fits & ~is_exact, NOT_EXACT),
        ):
            faults = first_fault(faults, pa.array(wrong), f"{kind.name} {reason}")
    whole = np.where(is_exact, numbers, 0).astype(np.int64)
    return Values(pa.array(whole, mask=~is_exact), faults)


def _of_decimals(values: pa.Array, kind: Kind) -> Values:
    try:
        return Values(values.cast(pa.int64()), no_faults(len(values)))
    except pa.ArrowInvalid:
        return read_each(values.to_pylist(), kind)


def _numbers(values: pa.Array, kind: Kind) -> Values:
    faults = no_faults(len(values))
    if pt.is_floating(values.type):
        values = values.cast(pa.float64())
        is_nan = pc.is_nan(values)
        is_infinite = pc.fill_null(pc.is_inf(values), False)
        faults = first_fault(faults, is_infinite, f"{kind.name} {NOT_A['double']}")
        kept = pc.or_(pc.fill_null(is_nan, False), is_infinite)
        return Values(pc.if_else(kept, pa.scalar(None, pa.float64()), values), faults)
    return Values(values.cast(pa.float64(), safe=False), faults)


def _decimals(values: pa.Array, kind: Kind) -> Values:
    if pt.is_decimal(values.type) or pt.is_integer(values.type):
        try:
            return Values(values.cast(WIDE[kind.type]), no_faults(len(values)))
        except pa.ArrowInvalid:
            return read_each(values.to_pylist(), kind)
    found = _numbers(values, kind)
    numbers = np.asarray(found.values.fill_null(0.0))
    rounded = np.round(numbers, 4)
    is_right = (np.abs(numbers) < 1e10) & (np.abs(rounded - numbers) <= np.abs(numbers) * 1e-12)
    if not is_right.all():
        return read_each(values.to_pylist(), kind)
    return Values(found.values.cast(WIDE[kind.type], safe=False), found.faults)


def _booleans(values: pa.Array, kind: Kind) -> Values:
    if pt.is_boolean(values.type):
        return Values(values, no_faults(len(values)))
    if pt.is_decimal(values.type):
        return read_each(values.to_pylist(), kind)
    numbers = _numbers(values, kind).values
    is_known = pc.fill_null(pc.or_(pc.equal(numbers, 0), pc.equal(numbers, 1)), False)
    is_missing = pc.is_null(values, nan_is_null=True)
    wrong = pc.and_(pc.invert(is_known), pc.invert(is_missing))
    faults = first_fault(no_faults(len(values)), wrong, f"{kind.name} {NOT_A['boolean']}")
    label = pc.equal(numbers, 1)
    return Values(pc.if_else(is_known, label, pa.scalar(None, pa.bool_())), faults)


def _texts(values: pa.Array, kind: Kind) -> Values:
    if pt.is_nested(values.type):
        return read_each(values.to_pylist(), kind)
    found = _integers(values, kind._replace(type="long"))
    return Values(found.values.cast(pa.string()), found.faults)


def _strings(values: pa.Array, kind: Kind) -> Values:
    if values.type == pa.string() and _is_valid(values):
        return Values(values, no_faults(len(values)))
    raw = values.cast(pa.large_string()).cast(pa.large_binary())
    faults = no_faults(len(values))
    try:
        return Values(raw.cast(pa.string()), faults)
    except pa.ArrowInvalid:
        broken = pa.array([_is_not_utf8(value) for value in raw.to_pylist()])
        faults = first_fault(faults, broken, f"{kind.name} is not UTF-8")
        kept = pc.if_else(broken, pa.scalar(None, pa.large_binary()), raw)
        return Values(kept.cast(pa.string()), faults)


def _is_valid(values: pa.Array) -> bool:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _is_not_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return True
    return False


def _dates(values: pa.Array, kind: Kind) -> Values:
    if kind.is_instant:
        return _as_days(_timestamps(values, kind))
    if pt.is_integer(values.type):
        return read_each(values.to_pylist(), kind)
    if pt.is_timestamp(values.type):
        return _midnights(values, kind)
    if pt.is_date64(values.type):
        numbers, faults = _in_years(values.cast(pa.int64()), kind, _PER_DAY["ms"])
        numbers = floor_divide(numbers, _PER_DAY["ms"])
    else:
        days = values.cast(pa.int32()).cast(pa.int64())
        numbers, faults = _in_years(days, kind, 1)
    return Values(numbers.cast(pa.int32()).cast(pa.date32()), faults)


def _midnights(values: pa.Array, kind: Kind) -> Values:
    """Timestamps at midnight, in the zone that their type names, as days."""
    if values.type.tz not in (None, "UTC"):
        values = pc.local_timestamp(values)
    unit = values.type.unit
    numbers = values.cast(pa.int64())
    per_day = _PER_DAY["us"] * 1000 if unit == "ns" else _PER_DAY[unit]
    days = floor_divide(numbers, per_day)
    is_time = pc.not_equal(pc.multiply_checked(days, per_day), numbers)
    whole, faults = _in_years(days, kind, 1)
    faults = first_fault(faults, is_time, f"{kind.name} {_NOT_MIDNIGHT}")
    whole = pc.if_else(pc.fill_null(is_time, False), pa.scalar(None, pa.int64()), whole)
    return Values(whole.cast(pa.int32()).cast(pa.date32()), faults)


def _as_days(found: Values) -> Values:
    return Values(found.values.cast(pa.timestamp("us")).cast(pa.date32()), found.faults)


def _timestamps(values: pa.Array, kind: Kind) -> Values:
    if pt.is_date(values.type):
        found = _dates(values, kind._replace(is_instant=False, type="date"))
        times = in_zone(found.values.cast(pa.timestamp("us")), kind)
        return Values(times, found.faults)
    if not pt.is_timestamp(values.type):
        return _of_unit(values, kind)
    found = _instants(values, kind)
    if values.type.tz is None and kind.zone:
        local = found.values.cast(pa.timestamp("us"))
        try:
            return Values(in_zone(local, kind), found.faults)
        except pa.ArrowInvalid:
            texts = pc.strftime(local, "%Y-%m-%dT%H:%M:%S")
            parsed = parse_texts(texts, kind._replace(type="timestamp", unit=""))
            return Values(parsed.values, pc.coalesce(found.faults, parsed.faults))
    return found


def _of_unit(values: pa.Array, kind: Kind) -> Values:
    of_time = kind._replace(type="timestamp")
    if pt.is_integer(values.type):
        whole = _integers(values, kind._replace(type="long"))
        found = from_numbers(whole.values, of_time)
        return Values(found.values, pc.coalesce(whole.faults, found.faults))
    return read_each(values.to_pylist(), of_time)


def _instants(values: pa.Array, kind: Kind) -> Values:
    numbers, unit = values.cast(pa.int64()), values.type.unit
    if unit == "ns":
        # Floored, as Spark does with what is finer than its clock; 64 bits end within the years.
        found = floor_divide(numbers, 1000).cast(WIDE["timestamp"])
        return Values(found, no_faults(len(values)))
    numbers, faults = _in_years(numbers, kind, _PER_DAY[unit])
    times = numbers.cast(pa.timestamp(unit, tz="UTC")).cast(WIDE["timestamp"])
    return Values(times, faults)


def _in_years(numbers: pa.Array, kind: Kind, per_day: int) -> Values:
    first, last = _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day - 1
    beyond = pc.or_(pc.less(numbers, first), pc.greater(numbers, last))
    faults = first_fault(no_faults(len(numbers)), beyond, f"{kind.name} {OUTSIDE['date']}")
    return Values(pc.if_else(beyond, pa.scalar(None, pa.int64()), numbers), faults)


# --- rankings -------------------------------------------------------------------------------------


def _lists(values: pa.Array, kind: Kind) -> Values:
    if is_string(values.type):
        texts = _strings(values, kind)
        found = items_of_texts(texts.values.to_pylist(), kind)
        return Values(found.values, pc.coalesce(texts.faults, found.faults))
    lengths, items = flatten(values)
    size = no_faults(len(values))
    if pt.is_null(items.type):
        return Values(lists_of(lengths, items.cast(WIDE[ITEMS].value_type)), size)
    ids, labels = (widen(pc.struct_field(items, n), of) for n, of in item_kinds(kind).items())
    return Values(
        lists_of(lengths, items_of(ids, labels, no_faults(len(items)), items.is_null())), size
    )


def flatten(values: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Lengths of the lists, 0 for null, and their items."""
    lists = values.cast(pa.list_(values.type.value_type))
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0)), lists.flatten()


_WIDEN: Final[dict[str, Callable[[pa.Array, Kind], Values]]] = {
    "long": _integers,
    "int": _integers,
    "double": _numbers,
    "decimal(18,4)": _decimals,
    "boolean": _booleans,
    "string": _texts,
    "date": _dates,
    "timestamp": _timestamps,
    ITEMS: _lists,
}


# --- rows as they were, for the quarantine --------------------------------------------------------


def shown(values: pa.Array, kind: Kind) -> list[Any]:
    """The values as they are in the file, in what JSON can say."""
    values = decoded(values)
    if pt.is_timestamp(values.type) or pt.is_date(values.type):
        return _show_times(values)
    if is_string(values.type):
        raw = values.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
        return [None if value is None else _text(value) for value in raw]
    if kind.type == ITEMS and not pt.is_null(values.type):
        return _show_items(values)
    return [str(v) if isinstance(v, Decimal) else v for v in values.to_pylist()]


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _show_times(values: pa.Array) -> list[Any]:
    """ISO, in UTC where there is a zone; what no calendar has, as its number."""
    if pt.is_timestamp(values.type):
        is_zoned = values.type.tz is not None
        values = values.cast(pa.timestamp(values.type.unit, tz="UTC" if is_zoned else None))
        numbers = values.cast(pa.int64())
        fits = _instants(values, Kind("", "timestamp")).values
    else:
        width = pa.int64() if pt.is_date64(values.type) else pa.int32()
        numbers = values.cast(width)
        fits = _dates(values, Kind("", "date")).values
    known = pc.if_else(fits.is_valid(), values, pa.scalar(None, values.type))
    pairs = zip(known.cast(pa.string()).to_pylist(), numbers.to_pylist(), strict=True)
    return [number if text is None else text for text, number in pairs]


def _show_items(values: pa.Array) -> list[Any]:
    lists = values.cast(pa.list_(values.type.value_type))
    lengths, items = flatten(lists)
    if not pt.is_null(items.type):
        names: Sequence[str] = list(ITEM_KINDS)
        fields = [decoded(pc.struct_field(items, name)) for name in names]
        items = pa.StructArray.from_arrays(fields, names=names, mask=items.is_null())
    rows = lists_of(lengths, items).to_pylist()
    return [
        None if is_null else row
        for row, is_null in zip(rows, lists.is_null().to_pylist(), strict=True)
    ]
