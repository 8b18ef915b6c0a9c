"""How a raw file is read: where its columns stand, in which dialect, and in which units.

A declaration (``declared.py``) says some of it of a whole source; ``header.py`` adds what a look at
each file shows; the workers get both as JSON in the file's tasks. Needs nothing but schemas.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from training_assets.schemas import Column, Table
from training_assets.sources.text_ids import MAX_LENGTH
from training_assets.sources.values import Kind

ITEMS_NAME: Final = "impressions"
SUBTRACTS_RETURNS: Final = "returns = subtract"


def as_named(texts: pa.Array) -> pa.Array:
    """Texts as ``where`` names them: no blanks around, and of 1.0, as a writer has 1, the 1."""
    return pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), r"^([+-]?\d+)\.0+$", r"\1")


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
class Made:
    """How a value is made of the text in a column: a part of it, then another word for it.

    Of a text with ``split`` in it the part ``part`` counts, from 1 on; a text without such a part
    gives no value. ``words`` has the words that stand for others; all else stays as it is.
    """

    split: str = ""
    part: int = 0
    words: Mapping[str, str] = field(default_factory=dict)

    def of(self, texts: pa.Array) -> pa.Array:
        if self.split:
            parts = pc.split_pattern(texts, self.split)
            has_part = pc.fill_null(pc.greater_equal(pc.list_value_length(parts), self.part), False)
            none = pa.scalar([""] * self.part, parts.type)
            found = pc.list_element(pc.if_else(has_part, parts, none), self.part - 1)
            texts = pc.if_else(has_part, found, pa.scalar(None, pa.string()))
        if self.words:
            known = pa.array(self.words, pa.string())
            places = pc.index_in(pc.utf8_trim_whitespace(texts), known)
            texts = pc.coalesce(pa.array(self.words.values(), pa.string()).take(places), texts)
        return texts


@dataclass(frozen=True)
class Reading:
    """Of a source what is declared, of a file also what it has.

    ``paths`` say where a column of the table stands: a name, or names of nested fields. ``units``
    are those of times given as numbers, ``instants`` the day columns that are times, ``zone`` that
    of times that name none. ``where`` keeps only rows with one of these texts in a column.
    ``made`` are columns whose values are made of what stands there, ``constants`` those that have
    one value in all rows. ``rows`` is a column of arrays, of which each element is a row.
    ``cleaning`` is what the source says of rows that come again, of returns, and of what its days
    are.

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
    made: Mapping[str, Made] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    rows: str = ""
    cleaning: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    has_rows_per_item: bool = False
    layout: str = "lines"
    body: int = 0
    packing: str = ""

    def path(self, name: str) -> tuple[str, ...]:
        return self.paths.get(name, (name,))

    @property
    def takes_returns(self) -> bool:
        """Whether a purchase below zero is one that was taken back."""
        return SUBTRACTS_RETURNS in self.cleaning

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

    def made_of(self, name: str, texts: pa.Array) -> pa.Array:
        """The texts of a column as it is declared that they are to be understood."""
        return self.made[name].of(texts) if name in self.made else texts

    def json(self) -> str:
        """As it travels to the workers; nothing of a plain one."""
        plain = asdict(Reading())
        return json.dumps({k: v for k, v in asdict(self).items() if v != plain[k]})

    def plain(self) -> "Reading":
        """Of what is declared only what holds however a file is written."""
        return Reading(zone=self.zone, cleaning=self.cleaning)

    @classmethod
    def of(cls, text: str) -> "Reading":
        found: dict[str, Any] = json.loads(text or "{}")
        for name in ("paths", "where"):
            found[name] = {key: tuple(value) for key, value in found.get(name, {}).items()}
        if "dialect" in found:
            dialect = found["dialect"]
            found["dialect"] = Dialect(**{**dialect, "null": tuple(dialect["null"])})
        found["made"] = {name: Made(**value) for name, value in found.get("made", {}).items()}
        for name in ("instants", "cleaning", "header"):
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
    (shown,) = (c for c in impressions.columns if c.name == ITEMS_NAME)
    is_text = shown.is_id
    item = Column("item_id", "string" if is_text else "int", "Item shown.", is_id=is_text)
    item = replace(item, max_length=MAX_LENGTH) if is_text else item
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
            item,
            Column("is_order", "boolean", "Whether it was ordered.", is_required=True),
            _POSITION,
        ),
    )


def taken(names: Sequence[str], paths: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Names of columns that stand under other ones in the file."""
    found = {name: ".".join(paths.get(name, (name,))) for name in names}
    return {name: other for name, other in found.items() if other != name}
