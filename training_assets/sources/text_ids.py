"""Text ids beside the four tables and further sources, whose ids are integers else.

Rows are judged with their texts; only those that are valid get the integers that stand for them.
``ids.py`` has what an id is. Runs on the workers; needs pyarrow only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.schemas import CUSTOMER_IDS, ITEM_IDS, Column, Table
from training_assets.sources.columns import ITEMS, lists_of
from training_assets.sources.ids import cleaned, hash_texts, items_of, texts_only

Entity = Literal["customer", "item"]
ID_TABLES: Final[Mapping[Entity, Table]] = {"customer": CUSTOMER_IDS, "item": ITEM_IDS}
ENTITY_OF: Final[Mapping[str, Entity]] = {
    "customer_id": "customer",
    "user_id": "customer",
    "item_id": "item",
    "config_id": "item",
    "impressions": "item",
}
NEW_IDS: Final = pa.schema([("entity", pa.string()), ("text", pa.string()), ("dt", pa.date32())])
NEW_IDS_DDL: Final = "entity string, text string, dt date"
MAX_LENGTH: Final = 255


class TextIds(NamedTuple):
    """Entities whose ids are texts in a lake, and the files that number its items.

    ``takes_digits`` are those of which it is declared, so that a text of digits is a text too.
    """

    entities: tuple[Entity, ...] = ()
    takes_digits: tuple[Entity, ...] = ()
    item_files: tuple[str, ...] = ()


NO_TEXT_IDS: Final = TextIds()


def as_texts(table: Table, texts: TextIds) -> Table:
    """The table with texts in columns of these entities; arrays of items are marked alike."""

    def column(of: Column) -> Column:
        if ENTITY_OF.get(of.name) not in texts.entities:
            return of
        if of.type == ITEMS:
            return replace(of, is_id=True)
        return replace(of, type="string", is_id=True, max_length=MAX_LENGTH)

    if not texts.entities:
        return table
    return replace(table, columns=tuple(column(of) for of in table.columns))


def with_integers(
    columns: Mapping[str, pa.Array], texts: TextIds, where: str
) -> dict[str, pa.Array]:
    """Columns with the ids that stand for texts; null for an item without one.

    Raises ``RawDataError`` for a text that is an integer, which would be another entity.
    """
    found = dict(columns)
    for name, entity in ENTITY_OF.items():
        if name in columns and entity in texts.entities:
            found[name] = _integers(columns[name], entity, texts, where)
    return found


def _integers(values: pa.Array, entity: Entity, texts: TextIds, where: str) -> pa.Array:
    if pa.types.is_list(values.type):
        lengths = np.asarray(pc.fill_null(pc.list_value_length(values), 0))
        items = values.flatten()
        ids = _integers(item_texts(items), entity, texts, where)
        others = [(f.name, pc.struct_field(items, f.name)) for f in items.type][1:]
        whole = pa.StructArray.from_arrays(
            [ids, *(of for _, of in others)],
            names=["item_id", *(name for name, _ in others)],
            mask=items.is_null(),
        )
        return lists_of(lengths, whole)
    if entity not in texts.takes_digits:
        texts_only(values, where)
    if entity == "customer":
        return hash_texts(values)
    return items_of(values, texts.item_files).cast(pa.int64())


def item_texts(items: pa.Array) -> pa.Array:
    """Ids of the items of rankings, cleaned as those of other tables are."""
    return cleaned(pc.struct_field(items, "item_id"))


def texts_of(
    columns: Mapping[str, pa.Array], days: pa.Array, texts: TextIds
) -> Iterator[pa.RecordBatch]:
    """Distinct texts of rows, with the first day of each; rows of ``NEW_IDS``."""
    for name, entity in ENTITY_OF.items():
        if name not in columns or entity not in texts.entities:
            continue
        values, of_days = columns[name], days
        if pa.types.is_list(values.type):
            of_days = days.take(pc.list_parent_indices(values))
            values = item_texts(values.flatten())
        rows = pa.table({"text": values, "dt": of_days}).filter(pc.is_valid(values))
        first = rows.group_by("text", use_threads=False).aggregate([("dt", "min")])
        yield from (
            first.rename_columns(["text", "dt"])
            .add_column(0, "entity", pa.repeat(pa.scalar(entity), len(first)))
            .select(NEW_IDS.names)
            .cast(NEW_IDS)
            .to_batches()
        )


def too_long(table: Table, columns: Mapping[str, pa.Array]) -> Iterator[tuple[pa.Array, str]]:
    """Of text ids which are longer than an id may be, and what to say of them."""
    for column in table.columns:
        if column.is_id and column.max_length and column.name in columns:
            broken = pc.greater(pc.utf8_length(columns[column.name]), column.max_length)
            yield broken, f"{column.name} is longer than {column.max_length} characters"
