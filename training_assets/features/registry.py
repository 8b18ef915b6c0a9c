"""The feature tables as declared, a shop's own features among them.

A shop's features stand in a module of its own, named by ``TRAINING_ASSETS_FEATURES``, in tuples
``USER_FEATURES``, ``ITEM_FEATURES`` and ``PAIR_FEATURES``, of which any may be left out:

    from training_assets.features import Feature, count

    USER_FEATURES = (
        Feature("likes_7d", "long", "Likes of the last week.", count("like", window=7), empty=0),
    )
"""

import os
from importlib import import_module
from typing import Final

from training_assets.errors import SettingsError
from training_assets.features.declared_items import ITEMS
from training_assets.features.declared_pairs import PAIRS
from training_assets.features.declared_users import USERS
from training_assets.features.feature import Feature, FeatureTable

MODULE_VARIABLE: Final = "TRAINING_ASSETS_FEATURES"
BUILT_IN: Final = {table.name: table for table in (USERS, ITEMS, PAIRS)}
_TUPLES: Final = {
    USERS.name: "USER_FEATURES",
    ITEMS.name: "ITEM_FEATURES",
    PAIRS.name: "PAIR_FEATURES",
}


def declared_tables(module: str | None = None) -> dict[str, FeatureTable]:
    """All tables by name; ``module`` holds a shop's own features, None asks the environment.

    Raises ``SettingsError`` for a module that cannot be imported, declares none, or declares a
    feature that its table cannot have.
    """
    name = os.environ.get(MODULE_VARIABLE, "").strip() if module is None else module
    if not name:
        return dict(BUILT_IN)
    try:
        found = import_module(name)
    except ImportError as error:
        raise SettingsError(
            f"features: {name!r} cannot be imported ({error}); expected a Python module. "
            f"Correct {MODULE_VARIABLE}, or put the module's folder on PYTHONPATH."
        ) from error
    own = {table: tuple(getattr(found, names, ())) for table, names in _TUPLES.items()}
    if not any(own.values()):
        raise SettingsError(
            f"features: {name} declares no feature; expected one of the tuples "
            f"{', '.join(_TUPLES.values())}. Add one, or unset {MODULE_VARIABLE}."
        )
    for table, features in own.items():
        for feature in features:
            if not isinstance(feature, Feature):
                raise SettingsError(
                    f"features: {name}.{_TUPLES[table]} holds {feature!r}; expected a Feature. "
                    "Declare it with training_assets.features.Feature."
                )
    return {name: table.extended(own[name]) for name, table in BUILT_IN.items()}


def declared_table(name: str) -> FeatureTable:
    """One of the tables, with the features of the module that the environment names."""
    return declared_tables()[name]
