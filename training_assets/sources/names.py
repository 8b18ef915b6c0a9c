"""Which column of a file is which of the table: by its name, or by one that differs little."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import pyarrow as pa

from training_assets.errors import SchemaError
from training_assets.schemas import Column, Table
from training_assets.sources.columns import printable
from training_assets.sources.parquet import type_at
from training_assets.sources.reading import Reading

_SKIPPED: Final = re.compile(r"[\s_-]+")
_MAX_SHOWN: Final = 5


class Found(NamedTuple):
    """Where columns of a table stand; ``other`` are those found under a name that differs."""

    paths: Mapping[str, tuple[str, ...]]
    other: Mapping[str, str]


def plain_name(name: str) -> str:
    """Without case, blanks, hyphens and underscores: ``customerId`` is ``customer_id``."""
    return _SKIPPED.sub("", name).lower()


def find_columns(
    table: Table, names: Sequence[str], reading: Reading, schema: pa.Schema | None, where: str
) -> Found:
    """Raises ``SchemaError`` where several columns may be meant.

    A declared column stands where it is declared to be; else its own name counts first, then its
    aliases, then a name that differs only by case, blanks, hyphens and underscores.
    """
    known = set(names)
    paths: dict[str, tuple[str, ...]] = {}
    other: dict[str, str] = {}
    owned = {c.name for c in table.columns} | {path[0] for path in reading.paths.values()}
    for column in table.columns:
        if column.name in reading.constants:
            continue
        declared = reading.paths.get(column.name)
        if declared is not None:
            if path := _declared(declared, known, schema):
                _require_once(table, column, path[0], names, where)
                paths[column.name] = path
            continue
        name = next((n for n in (column.name, *column.aliases) if n in known), None)
        if name is None:
            name = _similar(table, column, [n for n in names if n not in owned], where)
        if name is not None:
            _require_once(table, column, name, names, where)
            paths[column.name] = (name,)
            if name != column.name:
                other[column.name] = name
    return Found(paths, other)


def _declared(
    path: tuple[str, ...], known: set[str], schema: pa.Schema | None
) -> tuple[str, ...] | None:
    literal = ".".join(path)
    if path[0] in known and (len(path) == 1 or literal in known):
        return path
    if schema is not None and type_at(schema, path) is not None:
        return path
    return (literal,) if literal in known and len(path) > 1 and path[0] not in known else None


def _similar(table: Table, column: Column, names: Iterable[str], where: str) -> str | None:
    wanted = {plain_name(name) for name in (column.name, *column.aliases)}
    found = list(dict.fromkeys(name for name in names if plain_name(name) in wanted))
    if len(found) > 1:
        shown = ", ".join(printable(name) for name in found[:_MAX_SHOWN])
        raise SchemaError(
            f"{table.name}.{column.name}: several columns of {where} may be meant: {shown}; "
            "expected one. Write into sources.toml which one it is: "
            f'[{table.name}] columns = {{ {column.name} = "{printable(found[0])}" }}.'
        )
    return found[0] if found else None


def _require_once(
    table: Table, column: Column, name: str, names: Sequence[str], where: str
) -> None:
    if names.count(name) > 1:
        raise SchemaError(
            f"{table.name}.{column.name}: the column stands {names.count(name)} times in {where}; "
            "expected it once. Remove or rename the others."
        )
