"""``sources.toml``: what a shop's sources have of their own, declared and not coded.

    [clicks]
    path = "s3://shop-events/clicks/year={year}/month={month}/day={day}"
    format = "jsonl"
    columns = { customer_id = "user.id", click_time = { from = "ts", unit = "ms" } }
    time_zone = "Europe/Berlin"

    [clicks.csv]
    delimiter = ";"
    null = ["", "NULL"]

    [add_to_carts]
    absent = true

    [likes]                    # a further source of actions, of any name
    kind = "like"
    columns = { customer_id = "uid", item_id = "product", occurred_at = "at" }

It lies at ``<lake>/sources.toml``, or where ``TRAINING_ASSETS_SOURCES`` says. What it does not
declare is as the contract has it: ``raw/<source>/dt=YYYY-MM-DD/``.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo

from training_assets.errors import SettingsError, StoreError
from training_assets.lake import Lake, open_store
from training_assets.locations import SCHEMES
from training_assets.schemas import (
    ACTION_SOURCES,
    ADD_TO_CART,
    CLICK,
    DELIVERED_TABLES,
    LIKE,
    ORDER,
    VIEW,
    Column,
    Table,
)
from training_assets.sources.reading import Dialect, Reading

VARIABLE: Final = "TRAINING_ASSETS_SOURCES"
FILE: Final = "sources.toml"

KINDS: Final = {
    "click": CLICK,
    "add_to_cart": ADD_TO_CART,
    "order": ORDER,
    "view": VIEW,
    "like": LIKE,
}
UNITS: Final = ("s", "ms", "us", "ns")
FORMATS: Final = {"parquet": "parquet", "jsonl": "json", "json": "json", "csv": "csv"}
PLACE_HOLDERS: Final = ("dt", "yyyymmdd", "year", "month", "day", "hour")
_KEYS: Final = ("path", "format", "columns", "time_zone", "csv", "absent", "kind", "where")
_CSV_KEYS: Final = ("delimiter", "header", "null")
_COLUMN_KEYS: Final = ("from", "unit")
_HOLDER: Final = re.compile(r"\{([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Together they name a day.
_DAYS: Final = ({"dt"}, {"yyyymmdd"}, {"year", "month", "day"})


@dataclass(frozen=True)
class Declared:
    """What is declared of one source; ``path`` is empty where it lies as the contract says."""

    name: str
    path: str = ""
    format: str = ""
    reading: Reading = field(default_factory=Reading)
    is_absent: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Declarations:
    """All of a lake, by the name of the source. ``where`` is the file, as messages name it."""

    where: str = ""
    sources: Mapping[str, Declared] = field(default_factory=dict)

    def of(self, table: Table) -> Declared:
        return self.sources.get(table.name, Declared(table.name))

    @property
    def further(self) -> tuple[Table, ...]:
        """Sources of actions that the contract does not name."""
        return tuple(
            action_table(source.name, KINDS[source.kind])
            for source in self.sources.values()
            if source.kind and source.name not in DELIVERED_TABLES and not source.is_absent
        )


def action_table(name: str, action_type: int) -> Table:
    """A further source of actions of one kind."""
    return Table(
        name=name,
        description="A further source of actions, as sources.toml declares it.",
        grain="one action",
        columns=(
            Column("dt", "date", "Day under which it was filed; it decides, not occurred_at."),
            Column("customer_id", "long", "Who acted."),
            Column("item_id", "int", "Item acted on."),
            Column("occurred_at", "timestamp", "When, UTC, microseconds.", is_optional=True),
        ),
        action_type=action_type,
    )


def further_sources(lake: Lake) -> tuple[Table, ...]:
    """Sources of actions that the lake's ``sources.toml`` adds to those of the contract."""
    return declarations(lake).further


def action_sources(lake: Lake) -> tuple[Table, ...]:
    """All sources of actions of one kind, the contract's own first."""
    return (*ACTION_SOURCES, *further_sources(lake))


# --- reading it -----------------------------------------------------------------------------------


_read_before: dict[tuple[str, bytes], Declarations] = {}


def declarations(lake: Lake) -> Declarations:
    """What the lake's ``sources.toml`` says; nothing where there is none.

    Raises ``SettingsError`` that names file, table and key, and the nearest key that is known.
    """
    where, content = _content(lake)
    if content is None:
        return Declarations()
    if (where, content) not in _read_before:
        _read_before[where, content] = parse(content, where)
    return _read_before[where, content]


def _content(lake: Lake) -> tuple[str, bytes | None]:
    named = os.environ.get(VARIABLE, "").strip()
    if not named:
        try:
            return lake.store.uri(FILE), lake.store.read(FILE)
        except FileNotFoundError:
            return "", None
    folder, _, name = os.path.expanduser(named).rpartition("/")
    try:
        return named, open_store(folder or ".").read(name)
    except (OSError, StoreError) as error:
        raise SettingsError(
            f"{VARIABLE}: {named} cannot be read ({error}); expected a file like {FILE}. "
            "Correct the variable, or unset it."
        ) from None


def parse(content: bytes, where: str) -> Declarations:
    """Declarations from the text of the file; raises ``SettingsError``."""
    try:
        found = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{where}: not TOML ({error}); expected [source] tables.") from None
    sources = {name: _source(name, value, where) for name, value in found.items()}
    return Declarations(where, sources)


def _source(name: str, found: Any, where: str) -> Declared:
    at = f"{where}: [{name}]"
    if not isinstance(found, dict):
        raise SettingsError(f"{where}: {name} is {found!r}; expected a table [{name}].")
    _require_known(at, found, _KEYS)
    known = DELIVERED_TABLES
    kind = _one_of(at, "kind", found.get("kind", ""), KINDS) if "kind" in found else ""
    if name not in known and not kind:
        raise SettingsError(
            f"{at} is no source that is known{_nearest(name, known)}; expected one of "
            f"{', '.join(known)}, or of a further source of actions its kind "
            f"({', '.join(KINDS)}). Correct the name, or add a kind."
        )
    if name in known and kind:
        raise SettingsError(
            f"{at} kind is {kind!r}; expected none, since the contract says what {name} are. "
            "Remove it, or give the source a name of its own."
        )
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{at}: the name is not letters, digits and underscores. Rename it.")
    table = known.get(name) or action_table(name, KINDS[kind])
    absent = _of_type(at, "absent", found.get("absent", False), bool)
    if absent and set(found) - {"absent", "kind"}:
        raise SettingsError(f"{at} absent is true, but more is declared; expected nothing else.")
    path = _path(at, found.get("path", ""), table)
    format_ = found.get("format", "")
    format_ = FORMATS[_one_of(at, "format", format_, FORMATS)] if format_ else ""
    return Declared(name, path, format_, _reading(at, found, table), absent, kind)


def _reading(at: str, found: Mapping[str, Any], table: Table) -> Reading:
    paths: dict[str, tuple[str, ...]] = {}
    units: dict[str, str] = {}
    columns = _of_type(at, "columns", found.get("columns", {}), dict)
    _require_known(f"{at} columns", columns, table.column_names)
    types = {column.name: column.type for column in table.columns}
    for name, value in columns.items():
        of, source = f"{at} columns.{name}", value
        if isinstance(value, dict):
            _require_known(of, value, _COLUMN_KEYS)
            if "unit" in value:
                units[name] = _one_of(of, "unit", value["unit"], UNITS)
                if types[name] not in ("timestamp", "date"):
                    raise SettingsError(
                        f"{of} has a unit, and {name} is {types[name]}; expected units only of "
                        "times and days. Remove it."
                    )
            source = value.get("from", name)
        if not isinstance(source, str) or "" in source.split("."):
            raise SettingsError(f"{of} is {source!r}; expected the name of a column. Correct it.")
        paths[name] = tuple(source.split("."))
    day = table.day_column
    instants = (day,) if day in paths and (day in units or _is_shared(paths, day)) else ()
    kept = {
        name: tuple(map(str, values if isinstance(values, list) else [values]))
        for name, values in _of_type(at, "where", found.get("where", {}), dict).items()
    }
    zone = _zone(at, found.get("time_zone", ""))
    return Reading(paths, units, instants, zone, _dialect(at, found.get("csv", {})), kept)


def _is_shared(paths: Mapping[str, tuple[str, ...]], day: str) -> bool:
    """Whether the day stands in the column of another one, which is a time then."""
    return any(path == paths[day] for name, path in paths.items() if name != day)


def _dialect(at: str, found: Any) -> Dialect:
    at = f"{at[:-1]}.csv]"
    found = _of_type(at, "csv", found, dict)
    _require_known(at, found, _CSV_KEYS)
    delimiter = _of_type(at, "delimiter", found.get("delimiter", ","), str)
    if len(delimiter.encode()) != 1 or delimiter in '"\r\n':
        raise SettingsError(
            f"{at} delimiter is {delimiter!r}; expected one ASCII character. Correct it."
        )
    header = _of_type(at, "header", found.get("header", True), bool)
    null = found.get("null", [])
    null = [null] if isinstance(null, str) else _of_type(at, "null", null, list)
    return Dialect(delimiter, header, tuple(_of_type(at, "null", word, str) for word in null))


def _path(at: str, path: Any, table: Table) -> str:
    path = _of_type(at, "path", path, str)
    if not path:
        return ""
    holders = _HOLDER.findall(path)
    _require_known(f"{at} path", dict.fromkeys(holders), PLACE_HOLDERS, "place-holder")
    scheme = path.partition("://")[0]
    if "://" in path and scheme not in (*SCHEMES, "s3a", "file"):
        raise SettingsError(
            f"{at} path: the scheme {scheme} is not known{_nearest(scheme, SCHEMES)}; expected one "
            f"of {', '.join(SCHEMES)}, or a path. Correct it."
        )
    if holders and not any(wanted <= set(holders) for wanted in _DAYS):
        raise SettingsError(
            f"{at} path is {path!r}; expected a day in it: {{dt}}, {{yyyymmdd}}, or {{year}}, "
            "{month} and {day}. Add what is missing, or leave all out of flat files whose rows "
            f"tell their day in {table.day_column}."
        )
    return path.rstrip("/")


def _zone(at: str, zone: Any) -> str:
    zone = _of_type(at, "time_zone", zone, str)
    try:
        return zone and ZoneInfo(zone).key
    except (KeyError, ValueError, OSError):
        raise SettingsError(
            f"{at} time_zone is {zone!r}; expected a name like Europe/Berlin. Correct it."
        ) from None


# --- messages -------------------------------------------------------------------------------------


def _require_known(
    at: str, found: Mapping[str, Any], known: Collection[str], what: str = "key"
) -> None:
    for key in found:
        if key not in known:
            raise SettingsError(
                f"{at}: the {what} {key!r} is not known{_nearest(key, known)}; expected one of "
                f"{', '.join(known)}. Correct it."
            )


def _one_of(at: str, key: str, value: Any, known: Collection[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise SettingsError(
            f"{at} {key} is {value!r}{_nearest(str(value), known)}; expected one of "
            f"{', '.join(known)}. Correct it."
        )
    return value


def _of_type(at: str, key: str, value: Any, type_: type) -> Any:
    if not isinstance(value, type_):
        names = {str: "text", bool: "true or false", dict: "a table", list: "a list of texts"}
        raise SettingsError(f"{at} {key} is {value!r}; expected {names[type_]}. Correct it.")
    return value


def _nearest(name: str, known: Collection[str]) -> str:
    found = difflib.get_close_matches(name, known, 1, 0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""
