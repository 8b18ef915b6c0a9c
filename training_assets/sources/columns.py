"""What is read of raw files: chunks of rows, their columns in wide types, a reason for each misfit.

Wide means that what the contract forbids can still be told from null: ids have 64 bits. Runs on the
workers; needs pyarrow and NumPy only. Reasons are constant phrases, so that they can be grouped.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.schemas import MAX_ITEM_ID, MIN_ITEM_ID, Table

BATCH_ROWS: Final = 65_536
# Read where it can be, never a reason to refuse a row or a file.
IGNORED_COLUMNS: Final = frozenset({"simple_id"})
# What a damaged, vanished or unreadable file can raise while it is read.
READ_ERRORS: Final = (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeError)

ITEMS: Final = "array<struct<item_id:int,is_order:boolean>>"
_ITEM: Final = pa.struct(
    [("item_id", pa.int64()), ("is_order", pa.bool_()), ("fault", pa.string())]
)
WIDE: Final = {
    "long": pa.int64(),
    "int": pa.int64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    ITEMS: pa.list_(_ITEM),
}

OUTSIDE: Final = {
    "long": "outside 64 bits",
    "int": f"outside {MIN_ITEM_ID}..{MAX_ITEM_ID}",
    "date": "outside the years 1..9999",
    "timestamp": "outside the years 1..9999",
}


class Task(NamedTuple):
    """A part of a raw file: row groups ``start`` to ``stop`` of Parquet, or a whole text file.

    ``uri`` is an absolute local path or the URL of a store. ``day`` is that of the file's folder,
    None for a flat file.
    """

    task: int
    uri: str
    name: str
    format: str
    day: date | None
    start: int
    stop: int


class Values(NamedTuple):
    """A column; where a value did not fit it is null and ``faults`` has the reason, else null."""

    values: pa.Array
    faults: pa.Array


class Chunk(NamedTuple):
    """Some rows of a file: the wide columns that it has, and the first misfit of each row.

    ``lines`` are the rows of a text file. ``originals`` gives chosen rows as they were, as far as
    the table has their columns.
    """

    columns: dict[str, pa.Array]
    faults: pa.Array
    originals: Callable[[Sequence[int]], list[dict[str, Any]]]
    lines: list[str] | None = None


def widen_all(
    table: Table, names: Sequence[str], widen: Callable[[str, str], Values], faults: pa.Array
) -> tuple[dict[str, pa.Array], pa.Array]:
    """The table's columns among ``names`` by ``widen(name, type)``; ``faults`` with theirs."""
    columns = {}
    for column in table.columns:
        if column.name in names:
            found = widen(column.name, column.type)
            columns[column.name] = found.values
            if column.name not in IGNORED_COLUMNS and found.faults.null_count < len(found.faults):
                faults = pc.coalesce(faults, found.faults)
    return columns, faults


def no_faults(size: int) -> pa.Array:
    return pa.nulls(size, pa.string())


def first_fault(faults: pa.Array, broken: pa.Array, reason: str) -> pa.Array:
    """``faults`` with ``reason`` where ``broken``, unless a fault stands there already."""
    broken = pc.fill_null(broken, False)
    if not pc.any(broken, min_count=0).as_py():
        return faults
    hit = pc.and_(broken, pc.is_null(faults))
    return pc.if_else(hit, pa.scalar(reason, pa.string()), faults)


def lists_of(lengths: np.ndarray, items: pa.Array) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), items)


def items_of(ids: Values, labels: Values, faults: pa.Array, is_null: pa.Array) -> pa.Array:
    """Items of rankings, each with what is wrong with it."""
    fault = pc.coalesce(faults, ids.faults, labels.faults)
    return pa.StructArray.from_arrays(
        [ids.values, labels.values, fault], fields=list(_ITEM), mask=is_null
    )


# Control characters, ends of lines, changes of writing direction, halves of surrogate pairs.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Text out of data for a message, a log or a terminal: one line that controls nothing."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


# --- texts as values: CSV cells, JSON strings, and dates that stand in Parquet as strings ---------


class Syntax(NamedTuple):
    """How texts become values: those that match ``pattern`` by ``cast``, the others by ``read``.

    Both give the same where both apply. ``read`` raises ``ValueError`` with the reason.
    """

    pattern: str
    cast: Callable[[pa.Array], pa.Array]
    read: Callable[[Any], Any]


def parse_texts(texts: pa.Array, name: str, type_name: str) -> Values:
    """Integers, dates or timestamps from strings; surrounding blanks do not matter."""
    syntax = _SYNTAX[type_name]
    texts = pc.utf8_trim_whitespace(texts)
    is_simple = pc.fill_null(pc.match_substring_regex(texts, syntax.pattern), False)
    try:
        values = syntax.cast(pc.if_else(is_simple, texts, pa.scalar(None, pa.string())))
    except pa.ArrowInvalid:
        # A 30th of February: the pattern alone does not tell.
        return read_each(texts.to_pylist(), name, type_name, syntax.read)
    rest = pc.and_(pc.is_valid(texts), pc.invert(is_simple))
    others = read_each(texts.filter(rest).to_pylist(), name, type_name, syntax.read)
    faults = no_faults(len(texts))
    if len(others.values):
        values = pc.replace_with_mask(values, rest, others.values)
        faults = pc.replace_with_mask(faults, rest, others.faults)
    return Values(values, faults)


def read_each(
    values: Iterable[Any], name: str, type_name: str, read: Callable[[Any], Any]
) -> Values:
    """The values one by one, null and the reason where ``read`` refuses."""
    found: list[Any] = []
    faults: list[str | None] = []
    for value in values:
        try:
            found.append(None if value is None else read(value))
            faults.append(None)
        except ValueError as error:
            found.append(None)
            faults.append(f"{name} {error}")
    return Values(pa.array(found, WIDE.get(type_name, pa.bool_())), pa.array(faults, pa.string()))


def check_integer(value: int, type_name: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise ValueError(OUTSIDE[type_name])
    return value


def _read_integer(text: str, type_name: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError("is not an integer")
    if len(text.lstrip("+-0")) > 19:
        raise ValueError(OUTSIDE[type_name])
    return check_integer(int(text), type_name)


def _read_date(text: Any) -> date:
    # Only this one of the ISO forms: in the others a count of seconds can look like a date.
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text.strip()):
        raise ValueError("is not a date")
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("is not a date") from None


def _read_timestamp(text: Any) -> datetime:
    if not isinstance(text, str):
        raise ValueError("is not a timestamp")
    text = text.strip()
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|$)", text):
        raise ValueError("is not a timestamp")
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a timestamp") from None
    try:
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError(OUTSIDE["timestamp"]) from None


def _cast_timestamps(texts: pa.Array) -> pa.Array:
    return pc.utf8_rtrim(texts, "Z").cast(pa.timestamp("us")).cast(WIDE["timestamp"])


_DATE: Final = r"(000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d\d\d)-\d\d-\d\d"
_INTEGER: Final = r"^-?\d{1,18}$"
_SYNTAX: Final = {
    "long": Syntax(
        _INTEGER, lambda texts: texts.cast(pa.int64()), lambda text: _read_integer(text, "long")
    ),
    "int": Syntax(
        _INTEGER, lambda texts: texts.cast(pa.int64()), lambda text: _read_integer(text, "int")
    ),
    "date": Syntax(f"^{_DATE}$", lambda texts: texts.cast(pa.date32()), _read_date),
    "timestamp": Syntax(
        rf"^{_DATE}[T ]\d\d:\d\d:\d\d(\.\d{{1,6}})?Z?$", _cast_timestamps, _read_timestamp
    ),
}


def read_other(value: Any, type_name: str) -> Any:
    """A date or timestamp out of JSON, where it may be anything."""
    return _SYNTAX[type_name].read(value)
