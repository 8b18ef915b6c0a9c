"""What features fold, made before a day of features asks for it."""

from collections.abc import Callable
from datetime import date
from typing import Any

from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.provenance import Provenance
from training_assets.settings import Settings
from training_assets.tables import item_features, user_features
from training_assets.tables.build import Build
from training_assets.tables.feature_state import is_kept, kept_stretches


def prepare_features(
    spark: SparkSession,
    lake: Lake,
    settings: Settings,
    day: date,
    progress: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Keep what the features of a day fold, where that is not kept; what the lake keeps then.

    A day whose look-back is short keeps nothing: it looks at all actions.
    """
    build = Build(spark, settings, Provenance(lake, settings), progress)
    if is_kept(build, [day]):
        for table in (user_features, item_features):
            table.from_state(build, [day])
    return kept_stretches(lake)
