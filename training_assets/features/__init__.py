"""Features of users, items and pairs as of each day."""

from training_assets.features.items import build_item_features
from training_assets.features.pairs import build_pair_features
from training_assets.features.users import build_user_features

__all__ = ["build_item_features", "build_pair_features", "build_user_features"]
