"""Whether a lake's ids are integers or texts, of customers and of items each.

What is declared counts first, then what is published already, and in a new lake what the first
file of a source has: texts, where none of its ids is an integer.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from training_assets.errors import TrainingAssetsError
from training_assets.lake import Lake
from training_assets.schemas import SHOP_TABLES, Table
from training_assets.sources.columns import READ_ERRORS
from training_assets.sources.declared import declarations
from training_assets.sources.header import first_part
from training_assets.sources.id_tables import has_ids, id_files
from training_assets.sources.listing import RawFile, whole_file
from training_assets.sources.reading import Reading, table_of
from training_assets.sources.rows import ids_of_first_rows
from training_assets.sources.text_ids import ENTITY_OF, ID_TABLES, NO_TEXT_IDS, Entity, TextIds

_SHOWS: Final[dict[Entity, tuple[str, ...]]] = {
    "customer": ("unified_actions", "interactions", "users"),
    "item": ("unified_actions", "interactions", "items"),
}
# As it may stand in CSV: 7.0 is an integer, too.
_INTEGER: Final = re.compile(r"[+-]?\d+(\.0*)?")


def text_ids_of(lake: Lake, table: Table, files: Sequence[RawFile]) -> TextIds:
    """Which ids of a table of actions or impressions are texts.

    Those of a shop's other tables are all read as texts; of them it is told which may be digits.
    """
    if table.name in SHOP_TABLES:
        return NO_TEXT_IDS._replace(takes_digits=takes_digits(lake))
    found = tuple(
        entity
        for entity in entities_of(table)
        if (known := known_kind(lake, entity)) == "texts"
        or (known is None and first_kind(files, table, entity) == "texts")
    )
    return TextIds(found, takes_digits(lake)) if found else NO_TEXT_IDS


def entities_of(table: Table) -> list[Entity]:
    return list(dict.fromkeys(ENTITY_OF[n] for n in table.column_names if n in ENTITY_OF))


def known_kind(lake: Lake, entity: Entity) -> str | None:
    """integers or texts; None where nothing is declared or published yet."""
    table = ID_TABLES[entity]
    if entity in takes_digits(lake) or has_ids(lake, table):
        return "texts"
    if any(_has_rows(lake, name) for name in _SHOWS[entity]):
        return "integers"
    # Another day of this run may have added the first ones.
    lake.refresh(table.name)
    return "texts" if has_ids(lake, table) else None


def takes_digits(lake: Lake) -> tuple[Entity, ...]:
    """Entities whose ids are declared to be texts, whatever they look like."""
    return declarations(lake).text_ids


def first_kind(files: Iterable[RawFile], table: Table, entity: Entity) -> str | None:
    """What the first of the files has; None where it has no id, or cannot be read."""
    for file in files:
        return _kind_in(file, table, entity)
    return None


def with_item_files(lake: Lake, texts: TextIds) -> TextIds:
    """With the numbers of items as they are published now."""
    if "item" not in texts.entities:
        return texts
    return texts._replace(item_files=tuple(id_files(lake, ID_TABLES["item"])))


@lru_cache(256)
def _kind_in(file: RawFile, table: Table, entity: Entity) -> str | None:
    try:
        part = first_part(whole_file(file), table)
        found = ids_of_first_rows(part, table_of(table, Reading.of(part.reading)), entity)
    except (TrainingAssetsError, *READ_ERRORS):
        # Whoever reads the file says what is wrong with it.
        return None
    if not found:
        return None
    return "integers" if any(map(_INTEGER.fullmatch, found)) else "texts"


def _has_rows(lake: Lake, table: str) -> bool:
    return any(file.rows for files in lake.snapshot(table).files.values() for file in files)
