"""What is read of raw files: chunks of rows, their columns in wide types, a reason for each misfit.

Wide means that what the contract forbids can still be told from null: ids have 64 bits. Runs on the
workers; needs pyarrow and NumPy only. Reasons are constant phrases, so that they can be grouped.
"""

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date
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
    "double": pa.float64(),
    "decimal(18,4)": pa.decimal128(18, 4),
    "boolean": pa.bool_(),
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
    """A part of a raw file.

    ``start`` to ``stop`` are row groups of Parquet, or bytes of text between which whole rows lie;
    ``stop`` is -1 for all that there is. ``uri`` is an absolute local path or the URL of a store.
    ``day`` is that of the file's folder, None for a flat file. ``reading`` is how to read it; see
    ``reading.py``.
    """

    task: int
    uri: str
    name: str
    format: str
    day: date | None
    start: int
    stop: int
    reading: str = ""


class Values(NamedTuple):
    """A column; where a value did not fit it is null and ``faults`` has the reason, else null."""

    values: pa.Array
    faults: pa.Array


class Numbers(NamedTuple):
    """Which rows of a file these are, and on which lines they begin, both from 1 on."""

    rows: np.ndarray
    lines: np.ndarray


class Chunk(NamedTuple):
    """Some rows of a file: the wide columns that it has, and the first misfit of each row.

    ``of_columns`` has the misfits by column, of those that have any, and under no name those of
    whole rows. ``originals`` gives chosen rows as they were, as far as the table has their columns;
    ``lines``, of text, their bytes as text. ``numbers`` are known of text only.
    """

    columns: dict[str, pa.Array]
    faults: pa.Array
    of_columns: Mapping[str, pa.Array]
    originals: Callable[[Sequence[int]], list[dict[str, Any]]]
    lines: Callable[[Sequence[int]], list[str]] | None = None
    numbers: Numbers | None = None


def widen_all(
    table: Table, names: Sequence[str], widen: Callable[[str], Values], faults: pa.Array
) -> tuple[dict[str, pa.Array], pa.Array, dict[str, pa.Array]]:
    """The table's columns among ``names`` by ``widen(name)``; ``faults`` with theirs, and theirs.

    ``faults`` are those of whole rows.
    """
    columns = {}
    of_columns = {"": faults} if faults.null_count < len(faults) else {}
    for column in table.columns:
        if column.name in names:
            found = widen(column.name)
            columns[column.name] = found.values
            if column.name not in IGNORED_COLUMNS and found.faults.null_count < len(found.faults):
                of_columns[column.name] = found.faults
                faults = pc.coalesce(faults, found.faults)
    return columns, faults, of_columns


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
    # Ids are texts where the lake has such.
    fields = [pa.field("item_id", ids.values.type), *list(_ITEM)[1:]]
    return pa.StructArray.from_arrays(
        [ids.values, labels.values, fault], fields=fields, mask=is_null
    )


# Control characters, ends of lines, changes of writing direction, halves of surrogate pairs.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Text out of data for a message, a log or a terminal: one line that controls nothing."""
    if text.isprintable():
        return text
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
