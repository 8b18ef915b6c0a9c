"""Events as they go into the log: objects under the names of the table, each with an id."""

import hashlib
import json
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Any, Final

import orjson

from training_assets.schemas import SHOP_TABLES
from training_assets.service.bodies import Body
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings
from training_assets.service.shapes import format_of, require_shape
from training_assets.service.topics import ROW_TOPICS
from training_assets.sources.names import find_columns
from training_assets.sources.reading import Reading

# To find which of them mean columns takes time for each.
MAX_NAMES: Final = 100
ID_COLUMN: Final = {"interactions": "interaction_id"}
_MAX_ID: Final = 255
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """``document`` is its JSON, ``names`` its keys; the others are empty of what is no object."""

    document: bytes
    entity: str = ""
    id: str = ""
    names: Collection[str] = ()


def parsed(document: bytes) -> Any:
    """The value of JSON, None of what is none; takes what the reader of rows takes."""
    try:
        return orjson.loads(document)
    except orjson.JSONDecodeError:
        # It takes neither NaN nor halves of surrogate pairs.
        try:
            return json.loads(document)
        except (ValueError, RecursionError):
            return None


def written(row: Mapping[str, Any]) -> bytes:
    """As JSON, with what of it JSON has no word for as it was read."""
    try:
        found = orjson.dumps(row)
    except TypeError:
        return json.dumps(row).encode()
    # Of Infinity and NaN it makes null.
    return found if b"null" not in found or _is_finite(row) else json.dumps(row).encode()


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or isfinite(value)


def under_own_names(row: dict[str, Any], data_type: str) -> dict[str, Any]:
    """The object itself where its names are those of the table, so that none depends on others.

    Raises ``SchemaError`` where several may be meant.
    """
    other = _other_names(data_type, tuple(row))
    return {other.get(name, name): value for name, value in row.items()} if other else row


@lru_cache(1000)
def _other_names(data_type: str, names: tuple[str, ...]) -> Mapping[str, str]:
    found = find_columns(SHOP_TABLES[data_type], names, Reading(), None, "the event")
    return {given: own for own, given in found.other.items()}


def events_of(
    found: Body, data_type: str, key: str | None, settings: ServiceSettings
) -> list[Event]:
    """The events of a body; raises ``Problem`` and ``SchemaError``."""
    kind = format_of(found)
    if kind not in ("json", "jsonl"):
        raise Problem("unsupported_format", "The body is not JSON; expected an object.")
    require_shape(found, kind, settings)
    content = found.file.read().removeprefix(_BOM)
    if kind == "jsonl":
        lines = [stripped for line in content.split(b"\n") if (stripped := line.strip())]
        rows = [(line, parsed(line)) for line in lines]
    else:
        try:
            whole = orjson.loads(content)
        except orjson.JSONDecodeError:
            raise Problem("unreadable", "The body is not whole JSON.") from None
        rows = [(b"", row) for row in (whole if isinstance(whole, list) else [whole])]
    if not rows:
        raise Problem("unreadable", "There are no events.")
    most = min(settings.max_events, settings.max_rows)
    if len(rows) > most:
        raise Problem("too_large", f"There are more than {most} events.")
    events = [_event(*one, data_type, key, number) for number, one in enumerate(rows, 1)]
    # The id may be ours.
    if any(len(e.document) > settings.max_event_bytes + _MAX_ID for e in events):
        raise Problem("too_large", f"An event is larger than {settings.max_event_bytes} bytes.")
    return events


def _event(line: bytes, row: Any, data_type: str, key: str | None, number: int) -> Event:
    if not isinstance(row, dict):
        # As it was sent, so that its fault shows it.
        return Event(line or orjson.dumps(row))
    if len(row) > MAX_NAMES:
        raise Problem("too_large", f"An event has more than {MAX_NAMES} members.")
    named = under_own_names(row, data_type)
    column = ID_COLUMN.get(data_type, "")
    given = named.get(column) if column else None
    if given in (None, ""):
        event_id = _new_id() if key is None else _id_of_key(key, number)
        if column:
            named = {**named, column: event_id}
    else:
        is_whole = isinstance(given, float) and given.is_integer()
        event_id = str(int(given) if is_whole else given)
    entity = str(named.get(ROW_TOPICS[data_type], ""))
    return Event(written(named), entity, event_id, named.keys())


def _id_of_key(key: str, number: int) -> str:
    found = f"{key}:{number}"
    return (
        found if len(found) <= _MAX_ID else f"{hashlib.sha256(key.encode()).hexdigest()}:{number}"
    )


def _new_id() -> str:
    """Of 128 bits, in the order of time (UUID version 7)."""
    milliseconds = time.time_ns() // 1_000_000
    bits = (milliseconds << 80) | (0x7 << 76) | (secrets.randbits(12) << 64)
    bits |= (0b10 << 62) | secrets.randbits(62)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
