"""Rows of a published table as one JSON array of values each, and back, typed as they were.

    customer_id 17, total_purchases 2, monetary_value 19.9000, recent_items [5, 3]
    17  ->  [2,"19.9000",[5,3]]

Whole columns are written by Arrow: a million rows take seconds. A decimal is text, a time is
microseconds since 1970, a day is text; the types stand with the version, not with each row.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.errors import ValidationError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NULL: Final = "null"


def column_types(schema: pa.Schema, key: str) -> tuple[tuple[str, str], ...]:
    """(name, Arrow type) of all columns but the key."""
    return tuple((field.name, str(field.type)) for field in schema if field.name != key)


def encode(rows: pa.Table, key: str) -> list[str]:
    """A JSON array for each row, of all columns but the key.

    Raises ``ValidationError`` for a number that JSON does not have, and for a type that is unknown.
    """
    if not len(rows):
        return []
    texts = [_texts(rows[name], name) for name in rows.column_names if name != key]
    if not texts:
        return ["[]"] * len(rows)
    joined = pc.binary_join_element_wise(*texts, ",")
    return [f"[{row}]" for row in joined.to_pylist()]


def decoder_of(columns: Sequence[tuple[str, str]]) -> Callable[[str | bytes], dict[str, Any]]:
    """Makes of an array the values by column, as Python has them."""
    names = [name for name, _ in columns]
    found = [(place, _decoder(kind)) for place, (_, kind) in enumerate(columns)]
    changed = [(place, read) for place, read in found if read is not _as_it_is]

    def decode(text: str | bytes) -> dict[str, Any]:
        values = orjson.loads(text)
        for place, read in changed:
            if values[place] is not None:
                values[place] = read(values[place])
        return dict(zip(names, values, strict=True))

    return decode


def _texts(column: pa.ChunkedArray, name: str) -> pa.Array:
    """The JSON of each value of a column."""
    values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks)
    kind = values.type
    if pa.types.is_list(kind):
        inner = _texts(pa.chunked_array([values.values]), name)
        lists = pa.ListArray.from_arrays(values.offsets, inner, mask=values.is_null())
        text = pc.binary_join(lists, ",")
        return pc.fill_null(_wrapped("[", text, "]"), _NULL)
    return pc.fill_null(_scalars(values, kind, name), _NULL)


def _scalars(values: pa.Array, kind: pa.DataType, name: str) -> pa.Array:
    if pa.types.is_floating(kind):
        if pc.any(pc.invert(pc.is_finite(values))).as_py():
            raise ValidationError(
                f"online: {name} holds a value that is not a finite number; expected none in a "
                "published table. Materialize the day again."
            )
        return values.cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.string())
    if pa.types.is_decimal(kind) or pa.types.is_date(kind):
        return _wrapped('"', values.cast(pa.string()), '"')
    if pa.types.is_timestamp(kind):
        micros = values.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
        return micros.cast(pa.string())
    if pa.types.is_string(kind):
        encoded = values.dictionary_encode()
        words = [json.dumps(word) for word in encoded.dictionary.to_pylist()]
        return pa.array(words, pa.string()).take(encoded.indices)
    raise ValidationError(
        f"online: {name} is {kind}, which cannot be served; expected numbers, text, days, times or "
        "lists of them. Leave the feature out or give it another type."
    )


def _wrapped(left: str, texts: pa.Array, right: str) -> pa.Array:
    return pc.binary_join_element_wise(left, texts, right, "")


def _decoder(kind: str) -> Callable[[Any], Any]:
    if kind not in _DECODERS:
        _DECODERS[kind] = _new_decoder(kind)
    return _DECODERS[kind]


_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {}


def _new_decoder(kind: str) -> Callable[[Any], Any]:
    if kind.startswith("list<"):
        inner = _decoder(kind[kind.index(": ") + 2 : -1].removesuffix(" not null"))
        if inner is _as_it_is:
            return inner
        return lambda values: [None if value is None else inner(value) for value in values]
    if kind in ("double", "float"):
        return float
    if kind.startswith("decimal"):
        return Decimal
    if kind.startswith("timestamp"):
        return lambda micros: _EPOCH + timedelta(microseconds=micros)
    if kind.startswith("date"):
        return date.fromisoformat
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
