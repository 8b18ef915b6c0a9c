"""feature_state: what features fold, so that a day does not read a year of actions."""

import warnings
from datetime import date

import dagster as dg

from training_assets.engine.resource import SparkResource
from training_assets.lake import Lake
from training_assets.pipeline import prepare_features
from training_assets.settings import Settings

FEATURE_STATE = "feature_state"


def feature_state_asset(
    settings: Settings, partitions: dg.PartitionsDefinition
) -> dg.AssetsDefinition:
    """Each materialization makes ready what the features of its days fold, and says what is kept.

    Builds of features make for themselves what is missing, so nothing has to wait for it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _asset(settings, partitions)


def _asset(settings: Settings, partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        name=FEATURE_STATE,
        group_name="features",
        deps=[dg.AssetKey("unified_actions"), dg.AssetKey("items"), dg.AssetKey("items_shown")],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"pyspark"},
        description="What user_features and item_features fold: counts, sums and minima per "
        "customer and per item by stretches of 1, 4, 16, 64 and 256 days, how often each customer "
        "met each item in what windows have in common, and what most of that comes to. Found only "
        "by the content of the days, and the categories, that it was made from: a late day makes "
        "its own stretches anew and no other. Features make "
        "what they lack, so this need not be materialized; it shows what is kept.",
    )
    def _state(context: dg.AssetExecutionContext, spark: SparkResource) -> dg.MaterializeResult:
        days = [date.fromisoformat(key) for key in context.partition_keys]
        kept = {}
        for day in days:
            lake = Lake.at(settings.lake)
            kept = prepare_features(spark.spark_session, lake, settings, day, context.log.info)
        return dg.MaterializeResult(
            metadata={
                "stretches": sum(found["stretches"] for found in kept.values()),
                "bytes": sum(found["bytes"] for found in kept.values()),
                "kinds": dg.MetadataValue.json(kept),
            }
        )

    return _state
