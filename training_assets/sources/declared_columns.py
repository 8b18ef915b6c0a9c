"""What ``sources.toml`` says of a source's columns and of how its text is written."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa

from training_assets.errors import SettingsError
from training_assets.schemas import IMPRESSIONS, RETURN_WORD, Column, Table
from training_assets.sources.declared_words import of_type, one_of, require_known
from training_assets.sources.reading import (
    ITEMS_NAME,
    SUBTRACTS_RETURNS,
    Dialect,
    Made,
    Reading,
    as_named,
    item_rows,
)
from training_assets.sources.text_ids import ENTITY_OF, Entity
from training_assets.sources.values import parse_texts

UNITS: Final = ("s", "ms", "us", "ns")
_CSV_KEYS: Final = ("delimiter", "header", "null")
_COLUMN_KEYS: Final = ("from", "unit", "time", "value", "values", "split", "part", "id")
_TIMES: Final = ("timestamp", "date")


class _Columns:
    """Declarations of columns as they are gathered."""

    def __init__(self) -> None:
        self.paths: dict[str, tuple[str, ...]] = {}
        self.units: dict[str, str] = {}
        self.times: set[str] = set()
        self.made: dict[str, Made] = {}
        self.constants: dict[str, str] = {}


def reading_of(
    at: str, found: Mapping[str, Any], table: Table, cleaning: tuple[str, ...]
) -> Reading:
    """How the source's files are read; raises ``SettingsError``."""
    known = _columns_of(table)
    if SUBTRACTS_RETURNS in cleaning:
        column = known["interaction_type"]
        known["interaction_type"] = replace(column, allowed=(*column.allowed, RETURN_WORD))
    columns = of_type(at, "columns", found.get("columns", {}), dict)
    require_known(f"{at} columns", columns, known)
    told = _Columns()
    for name, value in columns.items():
        _column(f"{at} columns.{name}", known[name], value, told)
    day, paths = table.day_column, told.paths
    instants = {name for name in (*told.units, *told.times) if known[name].type == "date"}
    if day in paths and _is_shared(paths, day):
        instants.add(day)
    rows = of_type(at, "rows", found.get("rows", ""), str)
    if "rows" in found and (not rows or "." in rows):
        raise SettingsError(
            f"{at} rows is {rows!r}; expected the name of one column of arrays. Correct it."
        )
    reading = Reading(
        paths=paths,
        units=told.units,
        instants=tuple(sorted(instants)),
        zone=_zone(at, found.get("time_zone", "")),
        dialect=_dialect(at, found.get("csv", {})),
        where=_where(at, found.get("where", {})),
        made=told.made,
        constants=told.constants,
        rows=rows,
        cleaning=cleaning,
    )
    for name, text in told.constants.items():
        _require_value(f"{at} columns.{name}", known[name], text, reading)
    return reading


def text_ids_in(found: Mapping[str, Any]) -> tuple[Entity, ...]:
    """Entities of which the source says that their ids are texts."""
    columns = found.get("columns", {}).items()
    told = [n for n, value in columns if isinstance(value, dict) and "id" in value]
    return tuple(dict.fromkeys(ENTITY_OF[name] for name in told))


def _columns_of(table: Table) -> dict[str, Column]:
    """Columns of the table; of impressions also those with one row per item."""
    columns = {column.name: column for column in table.columns}
    if table == IMPRESSIONS:
        columns |= {column.name: column for column in item_rows(table).columns}
    return columns


def _column(of: str, column: Column, value: Any, told: _Columns) -> None:
    name, source = column.name, value
    if isinstance(value, dict) and name == ITEMS_NAME and set(value) - {"from", "id"}:
        raise SettingsError(
            f"{of} has {', '.join(value)}; expected only where it stands, for {name} are arrays. "
            "Remove the others."
        )
    if isinstance(value, dict):
        require_known(of, value, _COLUMN_KEYS)
        if "value" in value:
            if len(value) > 1:
                raise SettingsError(
                    f"{of} has a value for all rows, and more; expected nothing else. Remove one."
                )
            told.constants[name] = _text(of, "value", value["value"])
            return
        _time(of, column, value, told)
        if "id" in value:
            one_of(of, "id", value["id"], ("text",))
            if name not in ENTITY_OF:
                raise SettingsError(
                    f"{of} is said to be an id, and is none of a customer or an item. Remove it."
                )
        if made := _made(of, column, value):
            told.made[name] = made
        source = value.get("from", name)
    if not isinstance(source, str) or "" in source.split("."):
        raise SettingsError(f"{of} is {source!r}; expected the name of a column. Correct it.")
    told.paths[name] = tuple(source.split("."))


def _time(of: str, column: Column, value: Mapping[str, Any], told: _Columns) -> None:
    if "unit" in value:
        told.units[column.name] = one_of(of, "unit", value["unit"], UNITS)
        if column.type not in _TIMES:
            raise SettingsError(
                f"{of} has a unit, and {column.name} is {column.type}; expected units only of "
                "times and days. Remove it."
            )
    if of_type(of, "time", value.get("time", False), bool):
        if column.type != "date":
            raise SettingsError(
                f"{of} is said to be a time, and {column.name} is {column.type}; expected that "
                "only of the day. Remove it."
            )
        told.times.add(column.name)


def _made(of: str, column: Column, value: Mapping[str, Any]) -> Made | None:
    split = of_type(of, "split", value.get("split", ""), str)
    part = of_type(of, "part", value.get("part", 0), int)
    if bool(split) != (part > 0):
        raise SettingsError(
            f"{of} has split {split!r} and part {part}; expected both, the part from 1 on. "
            "Correct them."
        )
    words = {
        str(key): _text(of, f"values.{key}", text)
        for key, text in of_type(of, "values", value.get("values", {}), dict).items()
    }
    for key, text in words.items():
        if column.allowed:
            one_of(of, f"values.{key}", text, column.allowed)
    return Made(split, part, words) if split or words else None


def _text(of: str, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise SettingsError(f"{of} {key} is {value!r}; expected text, a number or a day. Correct it.")


def _require_value(of: str, column: Column, text: str, reading: Reading) -> None:
    """Raise where a value that stands for all rows is none of the column."""
    found = parse_texts(pa.array([text]), reading.kind(column))
    fault = found.faults[0].as_py()
    if column.allowed:
        one_of(of, "value", text, column.allowed)
    if fault or found.values[0].as_py() is None:
        raise SettingsError(
            f"{of} value is {text!r}, and {fault or 'that is no value'}; expected {column.type}. "
            "Correct it."
        )


def _is_shared(paths: Mapping[str, tuple[str, ...]], day: str) -> bool:
    """Whether the day stands in the column of another one, which is a time then."""
    return any(path == paths[day] for name, path in paths.items() if name != day)


def _where(at: str, found: Any) -> dict[str, tuple[str, ...]]:
    kept = {}
    for name, values in of_type(at, "where", found, dict).items():
        words = values if isinstance(values, list) else [values]
        texts = pa.array([_text(at, f"where.{name}", word) for word in words], pa.string())
        kept[name] = tuple(as_named(texts).to_pylist())
    return kept


def _dialect(at: str, found: Any) -> Dialect:
    at = f"{at[:-1]}.csv]"
    found = of_type(at, "csv", found, dict)
    require_known(at, found, _CSV_KEYS)
    delimiter = of_type(at, "delimiter", found.get("delimiter", ","), str)
    if len(delimiter.encode()) != 1 or delimiter in '"\r\n':
        raise SettingsError(
            f"{at} delimiter is {delimiter!r}; expected one ASCII character. Correct it."
        )
    header = of_type(at, "header", found.get("header", True), bool)
    null = found.get("null", [])
    null = [null] if isinstance(null, str) else of_type(at, "null", null, list)
    return Dialect(delimiter, header, tuple(of_type(at, "null", word, str) for word in null))


def _zone(at: str, zone: Any) -> str:
    zone = of_type(at, "time_zone", zone, str)
    try:
        return zone and ZoneInfo(zone).key
    except (KeyError, ValueError, OSError):
        raise SettingsError(
            f"{at} time_zone is {zone!r}; expected a name like Europe/Berlin. Correct it."
        ) from None
