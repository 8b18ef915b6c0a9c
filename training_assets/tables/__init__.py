"""The tables that the platform makes: one file each, and the registry that all others go over.

May import checks, provenance, kernels, transforms and what is below them. Begin with ``spec.py``,
then with one table.
"""

from collections.abc import Collection
from typing import Final

from training_assets.tables import (
    customer_history,
    interactions,
    item_features,
    items,
    items_shown,
    pair_features,
    training_input,
    training_samples,
    unified_actions,
    user_features,
    users,
)
from training_assets.tables.build import Build, NewFiles
from training_assets.tables.spec import TableSpec
from training_assets.tables.watched import watched

# In the order of dependency. A new table is its schema, a file here, and a line in this list.
SPECS: Final[dict[str, TableSpec]] = {
    spec.name: watched(spec)
    for spec in (
        items.SPEC,
        users.SPEC,
        interactions.SPEC,
        unified_actions.SPEC,
        customer_history.SPEC,
        training_input.SPEC,
        items_shown.SPEC,
        user_features.SPEC,
        item_features.SPEC,
        pair_features.SPEC,
        training_samples.SPEC,
    )
}

# What a day needs to be trained on; the others are built where they are asked for.
DAILY_GROUPS: Final = ("training", "shop")
GROUPS: Final = tuple(dict.fromkeys(spec.group for spec in SPECS.values()))


def specs_of(groups: Collection[str]) -> tuple[TableSpec, ...]:
    """The tables of the groups, in the order of dependency."""
    return tuple(spec for spec in SPECS.values() if spec.group in groups)


# The same as declarations, for what asks only what a table is built from.
BUILT_FROM: Final = tuple(spec.built_from for spec in SPECS.values())

__all__ = [
    "BUILT_FROM",
    "DAILY_GROUPS",
    "GROUPS",
    "SPECS",
    "Build",
    "NewFiles",
    "TableSpec",
    "specs_of",
]
