"""What is declared of a lake's sources; ``declared.py`` finds it, ``declaring.py`` reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from training_assets.schemas import (
    ADD_TO_CART,
    CLICK,
    DELIVERED_TABLES,
    LIKE,
    ORDER,
    VIEW,
    Column,
    Table,
)
from training_assets.sources.reading import Reading
from training_assets.sources.text_ids import Entity

KINDS: Final = {
    "click": CLICK,
    "add_to_cart": ADD_TO_CART,
    "order": ORDER,
    "view": VIEW,
    "like": LIKE,
}


@dataclass(frozen=True)
class Declared:
    """What is declared of one source; ``path`` is empty where it lies as the contract says.

    ``snapshot`` of items and users is ``full`` or ``changes``; ``dedupe`` is ``exact``
    where equal rows of actions are one; ``engagement`` is ``view`` or ``click`` where it is said.
    Items and users that are not ``is_complete`` are a part of those there are, as a sample is.
    ``returns`` is ``subtract`` where a purchase below zero is one that was taken back.
    ``text_ids`` are entities whose ids are texts, whatever they look like.
    """

    name: str
    path: str = ""
    format: str = ""
    reading: Reading = field(default_factory=Reading)
    is_absent: bool = False
    kind: str = ""
    snapshot: str = "full"
    dedupe: str = ""
    engagement: str = ""
    is_complete: bool = True
    text_ids: tuple[Entity, ...] = ()
    returns: str = ""


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

    @property
    def text_ids(self) -> tuple[Entity, ...]:
        """Entities whose ids are declared to be texts in any source."""
        found = (entity for source in self.sources.values() for entity in source.text_ids)
        return tuple(dict.fromkeys(found))

    @property
    def engagement(self) -> str:
        """What counts as engagement in this shop; nothing where that is not said."""
        return next((s.engagement for s in self.sources.values() if s.engagement), "")


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
