"""The numbers under which features of text ids are kept: a hash of a user, a table of the items.

Shops with integer ids never come here: an id that is an integer stays what it is.
"""

import time
from collections.abc import Sequence
from typing import Final

from training_assets.lake import Lake
from training_assets.schemas import ITEM_IDS
from training_assets.sources.id_tables import id_files
from training_assets.sources.ids import hash_text, is_integer, known_items

_FRESH_SECONDS: Final = 60


class TextIds:
    """Of one lake. What was published is looked at again after a minute."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._files: tuple[str, ...] = ()
        self._looked_at = float("-inf")

    def numbers(self, kind: str, ids: Sequence[int | str]) -> list[int | str]:
        """Number of each id of ``users`` or ``items``; a text that has none stays as it is."""
        if all(isinstance(one, int) or is_integer(one) for one in ids):
            return list(ids)
        known = self._items() if kind == "items" else {}
        return [self._number(kind, one, known) for one in ids]

    def _number(self, kind: str, one: int | str, known: dict[str, int]) -> int | str:
        if isinstance(one, int) or is_integer(one):
            return one
        return hash_text(one) if kind == "users" else known.get(one, one)

    def _items(self) -> dict[str, int]:
        if time.monotonic() - self._looked_at > _FRESH_SECONDS:
            self._files = tuple(id_files(self._lake, ITEM_IDS))
            self._looked_at = time.monotonic()
        return known_items(self._files)
