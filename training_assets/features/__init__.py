"""Features of users, items and pairs as of each day, declared once and collected in few passes.

A row of ``dt`` knows the actions of ``dt - lookback_days <= day < dt`` and the catalogue of the
days before ``dt``, and nothing of ``dt`` itself. DataFrames in and out; the same values on Sail and
on Apache Spark; nothing is computed before somebody asks for rows.

May import schemas and errors. Begin with ``declared_users.py``, which says what the columns are,
then with ``users.py`` and ``collect.py``, which say how they come about.
"""

from training_assets.features.actions import read_actions
from training_assets.features.catalogue import catalogue_as_of
from training_assets.features.collect import count_pairs, fold_names, longest_list, merge_folds
from training_assets.features.feature import Feature, FeatureTable
from training_assets.features.items import build_item_features, item_features_from, item_folds
from training_assets.features.measures import (
    ENGAGEMENT,
    Across,
    Formula,
    Given,
    Ratio,
    count,
    days,
    first,
    last,
    mean,
    total,
)
from training_assets.features.pairs import build_pair_features
from training_assets.features.plan import Plan, plan_of_days
from training_assets.features.published import FEATURES_VERSION, declared_hash, published_table
from training_assets.features.registry import declared_table, declared_tables
from training_assets.features.users import (
    build_user_features,
    user_features_from,
    user_folds,
)

__all__ = [
    "ENGAGEMENT",
    "FEATURES_VERSION",
    "Across",
    "Feature",
    "FeatureTable",
    "Formula",
    "Given",
    "Plan",
    "Ratio",
    "build_item_features",
    "build_pair_features",
    "build_user_features",
    "catalogue_as_of",
    "count",
    "count_pairs",
    "days",
    "declared_hash",
    "declared_table",
    "declared_tables",
    "first",
    "fold_names",
    "item_features_from",
    "item_folds",
    "last",
    "longest_list",
    "mean",
    "merge_folds",
    "plan_of_days",
    "published_table",
    "read_actions",
    "total",
    "user_features_from",
    "user_folds",
]
