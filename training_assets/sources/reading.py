"""How a raw file is read: where its columns stand, in which dialect, and in which units.

A declaration (``declared.py``) says some of it of a whole source; ``header.py`` adds what a look at
each file shows; the workers get both as JSON in the file's tasks. Needs nothing but schemas.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from training_assets.schemas import Column, Table
from training_assets.sources.values import Kind

ITEMS_NAME: Final = "impressions"


@dataclass(frozen=True)
class Dialect:
    """How CSV is written: a delimiter of one character, and the words that stand for no value.

    Cells may be quoted by ``"``, doubled within. Without a header the columns are named by their
    place, from 1 on.
    """

    delimiter: str = ","
    header: bool = True
    null: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """Of a source what is declared, of a file also what it has.

    ``paths`` say where a column of the table stands: a name, or names of nested fields. ``units``
    are those of times given as numbers, ``instants`` the day columns that are times, ``zone`` that
    of times that name none. ``where`` keeps only rows with one of these texts in a column.

    Of a file: ``header``, the names of all columns of CSV; ``has_rows_per_item``, impressions with
    one row per item; ``layout`` of JSON, ``lines`` or ``document``; ``body``, where the rows of
    text begin; ``packing``, how it is compressed.
    """

    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    instants: tuple[str, ...] = ()
    zone: str = ""
    dialect: Dialect = Dialect()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    has_rows_per_item: bool = False
    layout: str = "lines"
    body: int = 0
    packing: str = ""

    def path(self, name: str) -> tuple[str, ...]:
        return self.paths.get(name, (name,))

    def kind(self, column: Column) -> Kind:
        name = column.name
        is_instant = name in self.instants
        return Kind(
            name,
            column.type,
            self.units.get(name, ""),
            self.zone,
            is_instant,
            column.is_id,
            column.is_json,
        )

    def json(self) -> str:
        """As it travels to the workers; nothing of a plain one."""
        plain = asdict(Reading())
        return json.dumps({k: v for k, v in asdict(self).items() if v != plain[k]})

    @classmethod
    def of(cls, text: str) -> "Reading":
        found: dict[str, Any] = json.loads(text or "{}")
        for name in ("paths", "where"):
            found[name] = {key: tuple(value) for key, value in found.get(name, {}).items()}
        if "dialect" in found:
            dialect = found["dialect"]
            found["dialect"] = Dialect(**{**dialect, "null": tuple(dialect["null"])})
        for name in ("instants", "header"):
            found[name] = tuple(found.get(name, ()))
        return cls(**found)

    def with_file(self, **known: Any) -> "Reading":
        return replace(self, **known)


_POSITION: Final = Column("position", "long", "Place in the ranking.", is_optional=True)


def table_of(table: Table, reading: Reading) -> Table:
    """The table as its rows are delivered: of impressions perhaps one row per item."""
    return item_rows(table) if reading.has_rows_per_item else table


def item_rows(impressions: Table) -> Table:
    """Impressions with a row per item."""
    kept = tuple(
        replace(c, is_required=c.name == "ranking_id")
        for c in impressions.columns
        if c.name != ITEMS_NAME
    )
    return replace(
        impressions,
        grain="one item of a ranking",
        columns=(
            *kept,
            Column("item_id", "int", "Item shown."),
            Column("is_order", "boolean", "Whether it was ordered.", is_required=True),
            _POSITION,
        ),
    )


def taken(names: Sequence[str], paths: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Names of columns that stand under other ones in the file."""
    found = {name: ".".join(paths.get(name, (name,))) for name in names}
    return {name: other for name, other in found.items() if other != name}
