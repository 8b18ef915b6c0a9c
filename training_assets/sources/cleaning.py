"""What is done to texts before anything is judged: blanks, Unicode, letters of keys.

The first step of cleaning, on the workers, for interactions, items and users. A text of nothing but
blanks is none. Needs pyarrow only.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from training_assets.schemas import (
    PURCHASE_WORD,
    RETURN_WORD,
    SHOP_TABLES,
    WORTH_COLUMNS,
    Table,
)
from training_assets.sources.ids import cleaned
from training_assets.sources.plain_texts import plain_texts
from training_assets.sources.rules import NO_TERMS, Terms, first_reasons
from training_assets.sources.text_ids import ENTITY_OF

_WHOLE: Final = r"^(-?(?:0|[1-9]\d*))\.0*$"
_FREE_TEXT: Final = ("description",)
# A day is judged by the end of the next one, and so alike whenever it is built.
_DAY: Final = timedelta(days=1)


def is_cleaned(table: Table) -> bool:
    """Whether it is one of a shop's three tables as they are delivered."""
    return SHOP_TABLES.get(table.name) == table


def clean_texts(table: Table, columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Trimmed, in NFC, blanks as one; enums and keys in lower case; no text where none is left."""
    found = dict(columns)
    for column in table.columns:
        if column.type != "string" or column.name not in columns or column.is_json:
            continue
        texts = columns[column.name]
        if texts.null_count == len(texts):
            continue
        plain = plain_texts(texts)
        if plain is not None and plain.shortest and (plain.is_lower or not column.is_key):
            continue
        # Free text keeps its lines.
        texts = cleaned(texts, keeps_lines=column.name in _FREE_TEXT)
        if column.is_key:
            texts = pc.utf8_lower(texts)
        is_empty = pc.equal(pc.binary_length(texts), 0)
        found[column.name] = pc.if_else(is_empty, pa.scalar(None, texts.type), texts)
    return found


def as_read(
    table: Table, columns: Mapping[str, pa.Array], terms: Terms = NO_TERMS
) -> dict[str, pa.Array]:
    """The columns of one of a shop's three tables as its rows are judged: texts are cleaned.

    An id written as 7.0, as a column with nulls may be, is 7 unless such ids are said to be texts;
    purchases below zero are named returns where these are taken.
    """
    found = clean_texts(table, columns)
    for name, entity in ENTITY_OF.items():
        if name not in found or entity in terms.takes_digits:
            continue
        if pc.any(pc.match_substring(found[name], "."), min_count=0).as_py():
            found[name] = pc.replace_substring_regex(found[name], _WHOLE, r"\1")
    return with_returns(found) if terms.takes_returns else found


def with_returns(columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Purchases of nothing, or for less than nothing, named as what they are: returns."""
    if "interaction_type" not in columns:
        return dict(columns)
    types = columns["interaction_type"]
    is_below = pa.repeat(pa.scalar(False), len(types))
    for name in WORTH_COLUMNS:
        if name in columns:
            below = pc.less_equal if name == "quantity" else pc.less
            zero = pa.scalar(0, columns[name].type)
            is_below = pc.or_(is_below, pc.fill_null(below(columns[name], zero), False))
    is_return = pc.and_(is_below, pc.fill_null(pc.equal(types, PURCHASE_WORD), False))
    named = pc.if_else(is_return, pa.scalar(RETURN_WORD, types.type), types)
    return {**columns, "interaction_type": named}


def judge_rows_of(
    table: Table, columns: Mapping[str, pa.Array], day: date | None, terms: Terms = NO_TERMS
) -> pa.Array:
    """Of each row the reason why it cannot be used; ``day`` is the one it is filed under."""
    rows = pa.table(
        {c.name: columns[c.name].cast(c.arrow) for c in table.columns if c.name in columns}
    )
    return first_reasons(table.name, rows, now=latest_time(day), terms=terms)


def latest_time(day: date | None) -> datetime:
    """Beyond which is the future for rows that are filed under a day; without one, now."""
    if day is None:
        return datetime.now(UTC)
    return datetime.combine(day, time(), UTC) + 2 * _DAY
