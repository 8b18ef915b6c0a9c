"""Texts, numbers and other Python values as the wide types of ``columns.py``.

What loses nothing and guesses nothing is taken: ``7``, ``7.0`` and ``"7"`` are one id. Whole
columns by Arrow where all values are of a simple form, the others one by one; both give the same
where both apply. Runs on the workers; needs pyarrow and NumPy only.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.sources.columns import (
    OUTSIDE,
    WIDE,
    Values,
    no_faults,
)

NOT_A: Final = {
    "long": "is not an integer",
    "int": "is not an integer",
    "double": "is not a number",
    "decimal(18,4)": "is not a number",
    "date": "is not a date",
    "timestamp": "is not a timestamp",
    "boolean": "is not true or false",
    "string": "is not a string",
}
PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# From 2**53 on, neighbouring integers are one float.
MAX_EXACT_FLOAT: Final = 2**53 - 1
NOT_EXACT: Final = "outside the integers that a float holds"
AMBIGUOUS: Final = "is ambiguous in its time zone"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SCALE: Final = Decimal("0.0001")
_MAX_DECIMAL: Final = Decimal(10) ** 14
_TRUE: Final = frozenset({"true", "t", "1", "1.0"})
_FALSE: Final = frozenset({"false", "f", "0", "0.0"})
_NO_TEXT: Final = pa.scalar(None, pa.string())


class Kind(NamedTuple):
    """What a column holds and how it is written: ``unit`` of times given as numbers.

    ``zone`` is that of times that name none; ``is_instant`` says that a day is the UTC date of a
    time; ``is_id`` that an integer stands for its digits; ``is_json`` that an object is its text.
    """

    name: str
    type: str
    unit: str = ""
    zone: str = ""
    is_instant: bool = False
    is_id: bool = False
    is_json: bool = False


_LABEL: Final = Kind("is_order", "boolean")
ITEM_KINDS: Final = {"item_id": Kind("item_id", "int"), "is_order": _LABEL}
_TEXT_ITEM_KINDS: Final = {"item_id": Kind("item_id", "string", is_id=True), "is_order": _LABEL}


def item_kinds(kind: Kind) -> dict[str, Kind]:
    """What an item of a ranking holds; its id is text where the column is marked as one of ids."""
    return _TEXT_ITEM_KINDS if kind.is_id else ITEM_KINDS


# --- texts: CSV cells, JSON strings, and what stands in Parquet as strings ------------------------


def parse_texts(texts: pa.Array, kind: Kind) -> Values:
    """Values of any type from strings; surrounding blanks do not matter, except of strings."""
    if kind.type == "string":
        return Values(texts, no_faults(len(texts)))
    simple = _simple(texts, kind)
    if simple is not None:
        return Values(simple, no_faults(len(texts)))
    texts = pc.utf8_trim_whitespace(texts)
    if _form(kind) in ("long", "int"):
        # As floats are written whose column has nulls.
        texts = pc.replace_substring_regex(texts, r"^([+-]?\d+)\.0*$", r"\1")
    matches = pc.fill_null(pc.match_substring_regex(texts, _PATTERNS[_form(kind)]), False)
    known = _simple(texts.filter(matches), kind)
    if known is None:
        # A 29th of February, or an hour that a zone has twice: the pattern does not tell.
        return read_each(texts.to_pylist(), kind)
    values = pc.replace_with_mask(pa.nulls(len(texts), WIDE[kind.type]), matches, known)
    rest = pc.and_(pc.is_valid(texts), pc.invert(matches))
    if not _any(rest):
        return Values(values, no_faults(len(texts)))
    others = read_each(texts.filter(rest).to_pylist(), kind)
    faults = pc.replace_with_mask(no_faults(len(texts)), rest, others.faults)
    return Values(pc.replace_with_mask(values, rest, others.values), faults)


def _form(kind: Kind) -> str:
    if kind.type == "timestamp" and kind.unit:
        return "long"
    if kind.type == "date" and kind.is_instant:
        return "long" if kind.unit else "timestamp"
    return kind.type


_DATE: Final = (
    r"(000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d\d\d)"
    r"-(02-(0[1-9]|[12]\d)|(0[13-9]|1[0-2])-(0[1-9]|[12]\d|30)|(0[13578]|1[02])-31)"
)
_CLOCK: Final = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?"
_PATTERNS: Final = {
    "long": r"^-?\d{1,18}$",
    "int": r"^-?\d{1,18}$",
    "double": r"^-?\d{1,15}(\.\d{1,15})?$",
    "decimal(18,4)": r"^-?\d{1,14}(\.\d{1,4})?$",
    "boolean": r"^(?i:true|false|t|f|[01](\.0)?)$",
    "date": rf"^{_DATE}$",
    "timestamp": rf"^{_DATE}[T ]{_CLOCK}(Z| UTC|[+-]\d\d:?\d\d)?$",
}


def _simple(texts: pa.Array, kind: Kind) -> pa.Array | None:
    """The values where Arrow reads all of them and reads them as we do; else None."""
    form = _form(kind)
    try:
        if form in ("long", "int"):
            # Arrow takes 0x1F for an integer.
            if not _has_digits_and(texts, b"-"):
                return None
            numbers = _cast(texts, pa.int64())
            return numbers if form == kind.type else _at_once(from_numbers(numbers, kind))
        if form == "double":
            return _cast(texts, pa.float64()) if _has_digits_and(texts, b"-.") else None
        if form == "decimal(18,4)":
            if not _has_digits_and(texts, b"-."):
                return None
            return _cast(texts, WIDE[form])
        if form == "boolean":
            return _booleans(texts)
        if form == "date":
            return _in_calendar(_cast(texts, pa.date32()), "date")
        times = _in_calendar(_times(texts, kind), "timestamp")
    except pa.ArrowInvalid:
        return None
    return _days(times) if times is not None and kind.type == "date" else times


def _cast(texts: pa.Array, type_: pa.DataType) -> pa.Array:
    """The first text is tried alone: Arrow writes an error for each, and takes long over many."""
    pc.first(texts).cast(type_)
    return texts.cast(type_)


def _at_once(found: Values) -> pa.Array | None:
    return found.values if found.faults.null_count == len(found.faults) else None


def _has_digits_and(texts: pa.Array, others: bytes) -> bool:
    """Whether the strings have digits and these characters only: no more than a look at bytes."""
    if not len(texts) or texts.null_count == len(texts):
        return True
    _, offsets, data = texts.buffers()
    if data is None:
        return True
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    used = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    no_digits = used[used - np.uint8(ord("0")) > 9]
    return not len(no_digits.tobytes().translate(None, others))


def _booleans(texts: pa.Array) -> pa.Array | None:
    lower = pc.utf8_lower(texts)
    is_true = pc.is_in(lower, pa.array(sorted(_TRUE)))
    is_known = pc.or_(is_true, pc.is_in(lower, pa.array(sorted(_FALSE))))
    if not pc.all(pc.or_(is_known, pc.is_null(texts)), min_count=0).as_py():
        return None
    return pc.if_else(pc.is_valid(texts), is_true, pa.scalar(None, pa.bool_()))


_PER_DAY: Final = {"date": 1, "timestamp": 86_400 * 10**6}
_FIRST_DAY: Final = (date.min - date(1970, 1, 1)).days
_LAST_DAY: Final = (date.max - date(1970, 1, 1)).days


def _in_calendar(values: pa.Array, type_name: str) -> pa.Array | None:
    """Arrow knows a year 0, and an offset may lead beyond the last."""
    per_day = _PER_DAY[type_name]
    ends = pc.min_max(values.cast(pa.int32() if type_name == "date" else pa.int64())).as_py()
    if ends["min"] is None:
        return values
    is_inside = ends["min"] >= _FIRST_DAY * per_day and ends["max"] < (_LAST_DAY + 1) * per_day
    return values if is_inside else None


def _times(texts: pa.Array, kind: Kind) -> pa.Array:
    try:
        local = _cast(texts, pa.timestamp("us"))
    except pa.ArrowInvalid:
        return _times_of_other_forms(texts, kind)
    return in_zone(local, kind)


def _times_of_other_forms(texts: pa.Array, kind: Kind) -> pa.Array:
    """Fractions of up to nine digits, and zones; raises where not all are of such a form."""
    if _any(pc.match_substring(texts, ".")):
        texts = pc.replace_substring_regex(texts, r"(\.\d{6})\d{1,3}", r"\1")
    if _any(pc.ends_with(texts, " UTC")):
        texts = pc.replace_substring_regex(texts, r" UTC$", "Z")
    is_zoned = pc.fill_null(pc.match_substring_regex(texts, r"(Z|[+-]\d\d:?\d\d)$"), False)
    # The day of a date alone looks like an offset.
    is_zoned = pc.and_(is_zoned, pc.fill_null(pc.match_substring(texts, ":"), False))
    if not _any(pc.and_(pc.invert(is_zoned), pc.is_valid(texts))):
        return texts.cast(WIDE["timestamp"])
    zoned = pc.if_else(is_zoned, texts, _NO_TEXT).cast(WIDE["timestamp"])
    local = pc.if_else(is_zoned, _NO_TEXT, texts).cast(pa.timestamp("us"))
    return pc.coalesce(zoned, in_zone(local, kind))


def _any(found: pa.Array) -> bool:
    is_any: bool = pc.any(found, min_count=0).as_py()
    return is_any


def in_zone(local: pa.Array, kind: Kind) -> pa.Array:
    """Times without a zone as instants; raises ``ArrowInvalid`` for one that is not exactly one."""
    if not kind.zone:
        return local.cast(WIDE["timestamp"])
    found = pc.assume_timezone(local, kind.zone, ambiguous="raise", nonexistent="raise")
    return found.cast(WIDE["timestamp"])


def _days(times: pa.Array) -> pa.Array:
    return times.cast(pa.timestamp("us")).cast(pa.date32())


# --- numbers --------------------------------------------------------------------------------------


def from_numbers(numbers: pa.Array, kind: Kind) -> Values:
    """Times, or days, from 64-bit integers in ``kind.unit``."""
    per_second = PER_SECOND[kind.unit]
    size = len(numbers)
    if per_second > 10**6:
        micros = floor_divide(numbers, per_second // 10**6)
        beyond = pa.array(np.zeros(size, bool))
    else:
        scale = 10**6 // per_second
        low = _FIRST_DAY * 86_400 * per_second
        high = (_LAST_DAY + 1) * 86_400 * per_second - 1
        beyond = pc.or_(pc.less(numbers, low), pc.greater(numbers, high))
        kept = pc.if_else(beyond, pa.scalar(None, pa.int64()), numbers)
        micros = pc.multiply(kept, scale)
    faults = pc.if_else(
        pc.fill_null(beyond, False), f"{kind.name} {OUTSIDE['timestamp']}", _NO_TEXT
    )
    times = micros.cast(pa.timestamp("us", tz="UTC"))
    return Values(_days(times) if kind.type == "date" else times, faults)


def floor_divide(numbers: pa.Array, by: int) -> pa.Array:
    floored = np.floor_divide(np.asarray(numbers.fill_null(0)), by)
    return pa.array(floored, pa.int64(), mask=np.asarray(numbers.is_null()))


# --- one by one -----------------------------------------------------------------------------------


def read_each(values: Iterable[Any], kind: Kind) -> Values:
    """The values one by one, null and the reason where one cannot be taken."""
    read = _READ[kind.type]
    found: list[Any] = []
    faults: list[str | None] = []
    for value in values:
        try:
            found.append(None if value is None else read(value, kind))
            faults.append(None)
        except ValueError as error:
            found.append(None)
            faults.append(f"{kind.name} {error}")
    return Values(pa.array(found, WIDE[kind.type]), pa.array(faults, pa.string()))


_WHOLE: Final = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")


def _read_integer(value: Any, kind: Kind) -> int | None:
    reason = NOT_A["long"]
    if isinstance(value, bool):
        raise ValueError(reason)
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value.strip())
        if found is None:
            raise ValueError(reason)
        if len(found[1].lstrip("+-0")) > 19:
            raise ValueError(OUTSIDE[kind.type])
        value = int(found[1])
    elif isinstance(value, float):
        if math.isnan(value):
            return None
        if value % 1 or math.isinf(value):
            raise ValueError(reason)
        if abs(value) >= 2**63:
            raise ValueError(OUTSIDE[kind.type])
        if abs(value) > MAX_EXACT_FLOAT:
            raise ValueError(NOT_EXACT)
        value = int(value)
    elif isinstance(value, Decimal):
        # The remainder of a long one is more than decimals compute with.
        if value != value.to_integral_value():
            raise ValueError(reason)
        value = int(value)
    if not isinstance(value, int):
        raise ValueError(reason)
    if not -(2**63) <= value < 2**63:
        raise ValueError(OUTSIDE[kind.type])
    return value


_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _read_number(value: Any, kind: Kind) -> float | None:
    reason = NOT_A["double"]
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(reason)
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        raise ValueError(reason)
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(reason) from None
    if math.isinf(number):
        raise ValueError(reason)
    return None if math.isnan(number) else number


def _read_decimal(value: Any, kind: Kind) -> Decimal | None:
    """Exact to four digits; of a float, what is beyond them may be the float's own noise."""
    number = _read_number(value, kind)
    if number is None:
        return None
    try:
        exact = Decimal(value.strip() if isinstance(value, str) else str(value))
        rounded = exact.quantize(_SCALE) if abs(exact) < _MAX_DECIMAL else None
    except InvalidOperation:
        rounded = None
    if rounded is None:
        raise ValueError("outside 14 digits before the point")
    noise = abs(exact) * Decimal("1e-12") if isinstance(value, float) else Decimal(0)
    if abs(rounded - exact) > noise:
        raise ValueError("has more than 4 digits behind the point")
    return rounded


def _read_boolean(value: Any, kind: Kind) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        value = value.strip().lower()
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
    elif isinstance(value, float) and math.isnan(value):
        return None
    elif isinstance(value, int | float | Decimal) and value in (0, 1):
        return bool(value)
    raise ValueError(NOT_A["boolean"])


def _read_string(value: Any, kind: Kind) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(_read_integer(value, kind._replace(type="long")))
    if kind.is_id and isinstance(value, float | Decimal):
        number = _read_integer(value, kind._replace(type="long"))
        return None if number is None else str(number)
    if kind.name == "ranking_id" and isinstance(value, float) and value.is_integer():
        # An integer, where another row of the block has a point.
        return str(_read_integer(value, kind._replace(type="long")))
    if kind.is_json and isinstance(value, dict | list):
        return json_text(value)
    if not isinstance(value, str):
        raise ValueError(NOT_A["string"])
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8") from None
    return value


def json_text(value: Any) -> str:
    """Compact JSON; half a surrogate pair, which JSON can name and UTF-8 cannot, is named again."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    except RecursionError:
        raise ValueError("is not JSON") from None
    return text.encode(errors="backslashreplace").decode()


_ISO_DAY: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})|([0-9]{4})([0-9]{2})([0-9]{2})")
_MIDNIGHT: Final = re.compile(r"[T ]00:00(?::00(?:\.0{1,9})?)?(?:Z| ?UTC|[+-]00:?00)?")


def _read_date(value: Any, kind: Kind) -> date | None:
    if kind.is_instant:
        at = _read_timestamp(value, kind)
        return None if at is None else at.astimezone(UTC).date()
    if isinstance(value, int) and not isinstance(value, bool) and 10**7 <= value < 10**8:
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(NOT_A["date"])
    text = value.strip()
    found = _ISO_DAY.match(text)
    # Only these of the ISO forms: in the others a count of seconds can look like a date.
    if found is None or (text[found.end() :] and not _MIDNIGHT.fullmatch(text[found.end() :])):
        raise ValueError(NOT_A["date"])
    try:
        return date(*(int(part) for part in found.groups() if part is not None))
    except ValueError:
        raise ValueError(NOT_A["date"]) from None


def _read_timestamp(value: Any, kind: Kind) -> datetime | None:
    if kind.unit:
        return _read_instant(value, kind)
    if not isinstance(value, str):
        raise ValueError(NOT_A["timestamp"])
    text = re.sub(r" ?UTC$", "Z", value.strip())
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|$)", text):
        raise ValueError(NOT_A["timestamp"])
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(NOT_A["timestamp"]) from None
    if parsed.tzinfo is None:
        parsed = _of_zone(parsed, kind.zone)
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError(OUTSIDE["timestamp"]) from None


def _of_zone(local: datetime, zone: str) -> datetime:
    if not zone:
        return local.replace(tzinfo=UTC)
    early, late = (local.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1))
    try:
        is_ambiguous = early.utcoffset() != late.utcoffset()
    except OverflowError:
        raise ValueError(OUTSIDE["timestamp"]) from None
    if is_ambiguous:
        raise ValueError(AMBIGUOUS)
    return early


def _read_instant(value: Any, kind: Kind) -> datetime | None:
    """A time as a number of ``kind.unit`` since 1970, floored to microseconds."""
    number = _read_number(value, kind._replace(type="double")) if _is_numeric(value) else None
    if number is None:
        if isinstance(value, float) and math.isnan(value):
            return None
        raise ValueError(NOT_A["timestamp"])
    per_second = PER_SECOND[kind.unit]
    try:
        exact = Decimal(value.strip() if isinstance(value, str) else str(value))
        micros = math.floor(exact * 10**6 / per_second)
        return _EPOCH + timedelta(microseconds=micros)
    except (OverflowError, InvalidOperation):
        raise ValueError(OUTSIDE["timestamp"]) from None


def _is_numeric(value: Any) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


_READ: Final[dict[str, Callable[[Any, Kind], Any]]] = {
    "long": _read_integer,
    "int": _read_integer,
    "double": _read_number,
    "decimal(18,4)": _read_decimal,
    "boolean": _read_boolean,
    "string": _read_string,
    "date": _read_date,
    "timestamp": _read_timestamp,
}
