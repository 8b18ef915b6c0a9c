"""Events as they go into the log: objects under the names of the table, each with an id."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import orjson

from training_assets.schemas import SHOP_TABLES
from training_assets.service.bodies import Body
from training_assets.service.known_names import kept
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
# So deep is what orjson certainly writes; it reads more.
_MAX_WRITTEN: Final = 200
_RANDOM_BYTES: Final = 2**16
_BOM: Final = b"\xef\xbb\xbf"


# The digits that version 7 has in its fourth part, by a random one.
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


@dataclass(frozen=True, slots=True)
class Events:
    """Those of a request, each in the same place of all lists.

    ``documents`` are their JSON, and ``rows`` what any reader makes of it, or again the document
    where readers may differ. Entity and id are empty of what is no object. ``names`` are all keys.
    """

    documents: Sequence[bytes]
    rows: Sequence[dict[str, Any] | bytes]
    entities: Sequence[str]
    ids: Sequence[str]
    names: Collection[str]

    def __len__(self) -> int:
        return len(self.documents)

    def only(self, numbers: Sequence[int]) -> "Events":
        """Those of the numbers, from 1 on."""
        if len(numbers) == len(self):
            return self
        places = [number - 1 for number in numbers]
        return Events(
            [self.documents[place] for place in places],
            [self.rows[place] for place in places],
            [self.entities[place] for place in places],
            [self.ids[place] for place in places],
            self.names,
        )


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
    return _written(row) or json.dumps(row).encode()


def _written(row: Mapping[str, Any]) -> bytes | None:
    """As JSON that is read as the same everywhere, None where there is none."""
    try:
        found = orjson.dumps(row)
    except TypeError:
        return None
    # Of Infinity and NaN it makes null.
    return found if b"null" not in found or _is_finite(row) else None


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


@kept
def _other_names(data_type: str, names: tuple[str, ...]) -> Mapping[str, str]:
    found = find_columns(SHOP_TABLES[data_type], names, Reading(), None, "the event")
    return {given: own for own, given in found.other.items()}


def events_of(found: Body, data_type: str, key: str | None, settings: ServiceSettings) -> Events:
    """The events of a body; raises ``Problem`` and ``SchemaError``."""
    kind = format_of(found)
    if kind not in ("json", "jsonl"):
        raise Problem("unsupported_format", "The body is not JSON; expected an object.")
    # What it reads it writes as it was.
    dumps: Callable[[Any], bytes | None]
    dumps = orjson.dumps if settings.max_nesting <= _MAX_WRITTEN else _written
    if kind == "jsonl":
        require_shape(found, kind, settings)
        content = found.file.read().removeprefix(_BOM)
        lines: Sequence[bytes] = [
            stripped for line in content.split(b"\n") if (stripped := line.strip())
        ]
        try:
            rows = list(map(orjson.loads, lines))
        except orjson.JSONDecodeError:
            rows, dumps = list(map(parsed, lines)), _written
    else:
        rows, lines = _rows_of_document(found, settings), ()
    if not rows:
        raise Problem("unreadable", "There are no events.")
    most = min(settings.max_events, settings.max_rows)
    if len(rows) > most:
        raise Problem("too_large", f"There are more than {most} events.")
    making = _Making(data_type, key, len(rows), dumps)
    if not making.add_alike(rows):
        for number, row in enumerate(rows):
            if type(row) is dict:
                making.add(row, number)
            else:
                # As it was sent, so that its fault shows it.
                making.add_text(lines[number] if lines else orjson.dumps(row))
    # The id may be ours.
    if max(map(len, making.documents)) > settings.max_event_bytes + _MAX_ID:
        raise Problem("too_large", f"An event is larger than {settings.max_event_bytes} bytes.")
    return making.events


def _rows_of_document(found: Body, settings: ServiceSettings) -> list[Any]:
    """Values of JSON that is not one a line."""
    if not (is_small := found.size <= settings.max_line_bytes):
        require_shape(found, "json", settings)
    content = found.file.read().removeprefix(_BOM)
    try:
        whole = orjson.loads(content)
    except orjson.JSONDecodeError:
        require_shape(found, "json", settings)
        raise Problem("unreadable", "The body is not whole JSON.") from None
    rows = whole if isinstance(whole, list) else [whole]
    brackets = content.count(b"{") + content.count(b"[")
    # One event may have all that are not the first of another.
    nested = 1 + brackets - sum(isinstance(row, (dict, list)) for row in rows)
    if is_small and nested > settings.max_nesting:
        require_shape(found, "json", settings)
    return rows


class _Making:
    """Makes the events of one request, which are mostly of the same names."""

    def __init__(
        self, data_type: str, key: str | None, count: int, dumps: Callable[[Any], bytes | None]
    ) -> None:
        self._data_type, self._key, self._dumps = data_type, key, dumps
        self._entity = ROW_TOPICS[data_type]
        self._column = ID_COLUMN.get(data_type, "")
        self._new_ids = new_ids(count) if key is None else []
        # Of the row before: its names, and those that differ from the table's.
        self._given: tuple[str, ...] | None = None
        self._other: Mapping[str, str] = {}
        self._names: dict[str, None] = {}
        self.documents: list[bytes] = []
        self._rows: list[dict[str, Any] | bytes] = []
        self._entities: list[str] = []
        self._ids: list[str] = []

    @property
    def events(self) -> Events:
        return Events(self.documents, self._rows, self._entities, self._ids, self._names)

    def add_alike(self, rows: Sequence[Any]) -> bool:
        """Add all rows at once, as ``add`` does, where that is simple, which it mostly is.

        They are objects of the same names, those of the table, and all have an id that is a text
        or none has one. False where not all of it is so; nothing is added then.
        """
        if self._dumps is not orjson.dumps or {*map(type, rows)} != {dict}:
            return False
        names = tuple(rows[0])
        if {*map(tuple, rows)} != {names}:
            return False
        self._look_at(names)
        if self._other:
            return False
        if self._column and self._column in names:
            ids = [row[self._column] for row in rows]
            if {*map(type, ids)} != {str} or "" in ids:
                return False
        else:
            key = self._key
            numbers = range(1, len(rows) + 1)
            ids = self._new_ids if key is None else [_id_of_key(key, n) for n in numbers]
            if self._column:
                for row, event_id in zip(rows, ids, strict=True):
                    row[self._column] = event_id
        self.documents = list(map(orjson.dumps, rows))
        self._entities = [str(row.get(self._entity, "")) for row in rows]
        self._rows, self._ids = list(rows), ids
        return True

    def add(self, row: dict[str, Any], number: int) -> None:
        """A row that is this event's alone; ``number`` is from 0 on."""
        if (names := tuple(row)) != self._given:
            self._look_at(names)
        other, column = self._other, self._column
        named = {other.get(name, name): value for name, value in row.items()} if other else row
        given = named.get(column) if column else None
        if given in (None, ""):
            event_id = (
                self._new_ids[number] if self._key is None else _id_of_key(self._key, number + 1)
            )
            if column:
                named[column] = event_id
        else:
            is_whole = isinstance(given, float) and given.is_integer()
            event_id = str(int(given) if is_whole else given)
        document = self._dumps(named)
        self._entities.append(str(named.get(self._entity, "")))
        self._ids.append(event_id)
        if document is None:
            document = json.dumps(named).encode()
            self._rows.append(document)
        else:
            self._rows.append(named)
        self.documents.append(document)

    def add_text(self, text: bytes) -> None:
        """What is no object."""
        self.documents.append(text)
        self._rows.append(text)
        self._entities.append("")
        self._ids.append("")

    def _look_at(self, names: tuple[str, ...]) -> None:
        if len(names) > MAX_NAMES:
            raise Problem("too_large", f"An event has more than {MAX_NAMES} members.")
        self._given, self._other = names, _other_names(self._data_type, names)
        self._names |= dict.fromkeys(self._other.get(name, name) for name in names)
        if self._column:
            self._names[self._column] = None


def _id_of_key(key: str, number: int) -> str:
    found = f"{key}:{number}"
    return (
        found if len(found) <= _MAX_ID else f"{hashlib.sha256(key.encode()).hexdigest()}:{number}"
    )


class _Random:
    """Random bytes of the system, which are asked for many at a time."""

    def __init__(self) -> None:
        self._begin()
        # A process that is forked would hand out the same ones.
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._bytes, self._place = b"", 0

    def take(self, count: int) -> bytes:
        with self._lock:
            if self._place + count > len(self._bytes):
                self._bytes, self._place = os.urandom(max(count, _RANDOM_BYTES)), 0
            self._place += count
            return self._bytes[self._place - count : self._place]


_RANDOM: Final = _Random()


def new_ids(count: int) -> list[str]:
    """Each of 128 bits, in the order of time (UUID version 7)."""
    at = f"{time.time_ns() // 1_000_000:012x}"
    head, random = f"{at[:8]}-{at[8:]}-7", _RANDOM.take(10 * count).hex()
    return [
        f"{head}{r[:3]}-{_VARIANT[r[3]]}{r[4:7]}-{r[7:19]}"
        for r in (random[n : n + 20] for n in range(0, 20 * count, 20))
    ]
