"""``sources.toml`` as it is read: each table of it is a source, each mistake is told by name."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from training_assets.errors import SettingsError
from training_assets.locations import SCHEMES
from training_assets.schemas import (
    DELIVERED_TABLES,
    IMPRESSIONS,
    RAW_INTERACTIONS,
    RAW_ITEMS,
    RAW_USERS,
    Table,
)
from training_assets.sources.declaration import KINDS, Declarations, Declared, action_table
from training_assets.sources.declared_columns import reading_of, text_ids_in
from training_assets.sources.declared_words import nearest, of_type, one_of, require_known

FORMATS: Final = {"parquet": "parquet", "jsonl": "json", "json": "json", "csv": "csv"}
PLACE_HOLDERS: Final = ("dt", "yyyymmdd", "year", "month", "day", "hour")
SNAPSHOTS: Final = ("full", "changes")
ENGAGEMENTS: Final = ("view", "click")
_READING: Final = ("columns", "where", "rows", "time_zone", "csv")
_CLEANING: Final = ("snapshot", "dedupe", "returns", "engagement", "complete")
_KEYS: Final = ("path", "format", *_READING, "absent", "kind", *_CLEANING)
_HOLDER: Final = re.compile(r"\{([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Together they name a day.
_DAYS: Final = ({"dt"}, {"yyyymmdd"}, {"year", "month", "day"})


def parse(content: bytes, where: str) -> Declarations:
    """Declarations from the text of the file; raises ``SettingsError``."""
    try:
        found = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{where}: not TOML ({error}); expected [source] tables.") from None
    declared = Declarations(
        where, {name: _source(name, value, where) for name, value in found.items()}
    )
    told = {source.engagement: name for name, source in declared.sources.items()}
    told.pop("", None)
    if len(told) > 1:
        raise SettingsError(
            f"{where}: engagement is view in [{told['view']}] and click in [{told['click']}]; "
            "expected one for the shop. Remove one of them."
        )
    return declared


def _source(name: str, found: Any, where: str) -> Declared:
    at = f"{where}: [{name}]"
    if not isinstance(found, dict):
        raise SettingsError(f"{where}: {name} is {found!r}; expected a table [{name}].")
    require_known(at, found, _KEYS)
    kind = _kind(at, name, found)
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{at}: the name is not letters, digits and underscores. Rename it.")
    table = DELIVERED_TABLES.get(name) or action_table(name, KINDS[kind])
    absent = of_type(at, "absent", found.get("absent", False), bool)
    if absent and set(found) - {"absent", "kind"}:
        raise SettingsError(f"{at} absent is true, but more is declared; expected nothing else.")
    path = _path(at, found.get("path", ""), table)
    format_ = found.get("format", "")
    format_ = FORMATS[one_of(at, "format", format_, FORMATS)] if format_ else ""
    said = _cleaning(at, found, table)
    engagement = said.pop("engagement", "")
    reading = reading_of(at, found, table, tuple(f"{k} = {v}" for k, v in sorted(said.items())))
    return Declared(
        name,
        path,
        format_,
        reading,
        absent,
        kind,
        said.get("snapshot", "full"),
        said.get("dedupe", ""),
        engagement,
        said.get("complete", "") != "false",
        text_ids_in(found),
        said.get("returns", ""),
    )


def _kind(at: str, name: str, found: Mapping[str, Any]) -> str:
    known = DELIVERED_TABLES
    kind = one_of(at, "kind", found["kind"], KINDS) if "kind" in found else ""
    if name not in known and not kind:
        raise SettingsError(
            f"{at} is no source that is known{nearest(name, known)}; expected one of "
            f"{', '.join(known)}, or of a further source of actions its kind "
            f"({', '.join(KINDS)}). Correct the name, or add a kind."
        )
    if name in known and kind:
        raise SettingsError(
            f"{at} kind is {kind!r}; expected none, since the contract says what {name} are. "
            "Remove it, or give the source a name of its own."
        )
    return kind


def _cleaning(at: str, found: Mapping[str, Any], table: Table) -> dict[str, str]:
    """What is said of whole deliveries, where it differs from the default."""
    said: dict[str, str] = {}
    if "complete" in found:
        is_complete = of_type(at, "complete", found["complete"], bool)
        if table not in (RAW_ITEMS, RAW_USERS):
            raise SettingsError(f"{at} complete: expected that only of items, users. Remove it.")
        said |= {} if is_complete else {"complete": "false"}
    for key, words, tables in (
        ("snapshot", SNAPSHOTS, (RAW_ITEMS, RAW_USERS)),
        ("dedupe", ("exact",), None),
        ("returns", ("subtract",), (RAW_INTERACTIONS,)),
        ("engagement", ENGAGEMENTS, None),
    ):
        if key not in found:
            continue
        word = one_of(at, key, found[key], words)
        if table in (IMPRESSIONS, RAW_ITEMS, RAW_USERS) if tables is None else table not in tables:
            names = "sources of actions" if tables is None else ", ".join(t.name for t in tables)
            raise SettingsError(
                f"{at} {key} is {word!r}; expected that only of {names}. Remove it."
            )
        if word != "full":
            said[key] = word
    return said


def _path(at: str, path: Any, table: Table) -> str:
    path = of_type(at, "path", path, str)
    if not path:
        return ""
    holders = _HOLDER.findall(path)
    require_known(f"{at} path", dict.fromkeys(holders), PLACE_HOLDERS, "place-holder")
    scheme = path.partition("://")[0]
    if "://" in path and scheme not in (*SCHEMES, "s3a", "file"):
        raise SettingsError(
            f"{at} path: the scheme {scheme} is not known{nearest(scheme, SCHEMES)}; expected one "
            f"of {', '.join(SCHEMES)}, or a path. Correct it."
        )
    if holders and not any(wanted <= set(holders) for wanted in _DAYS):
        raise SettingsError(
            f"{at} path is {path!r}; expected a day in it: {{dt}}, {{yyyymmdd}}, or {{year}}, "
            "{month} and {day}. Add what is missing, or leave all out of flat files whose rows "
            f"tell their day in {table.day_column}."
        )
    return path.rstrip("/")
