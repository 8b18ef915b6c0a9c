"""The three tables as Dagster knows them: keys, descriptions, columns, dependencies, checks."""

import warnings

import dagster as dg

from training_assets.assets.metadata import column_schema
from training_assets.assets.raw import raw_key
from training_assets.checks import CHECKS
from training_assets.schemas import (
    ACTION_SOURCES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    TABLES,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
)
from training_assets.settings import Settings

_DEPENDENCIES = {
    UNIFIED_ACTIONS.name: [raw_key(source.name) for source in ACTION_SOURCES],
    CUSTOMER_HISTORY.name: [raw_key(IMPRESSIONS.name), dg.AssetKey(UNIFIED_ACTIONS.name)],
    TRAINING_INPUT.name: [raw_key(IMPRESSIONS.name), dg.AssetKey(CUSTOMER_HISTORY.name)],
}


def _descriptions(settings: Settings) -> dict[str, str]:
    limit = settings.history_length
    window = "all days" if settings.lookback_days is None else f"the {settings.lookback_days} days"
    return {
        UNIFIED_ACTIONS.name: "What customers did on the day: clicks, add-to-carts and orders in "
        "one table with one row per action. Rows that cannot be used are in the quarantine, with "
        "the reason, and counted here.",
        CUSTOMER_HISTORY.name: "What each customer who saw something on the day had done before "
        f"it: the newest {limit} actions of {window} strictly before the day, newest first. "
        "Customers without any have empty arrays. A partition reads earlier partitions of "
        "unified_actions; `window_start` says from where.",
        TRAINING_INPUT.name: "What a model trains on: one row per item that was shown, with its "
        f"label and its customer's history, padded with zeros to {limit}.",
    }


def table_specs(settings: Settings) -> list[dg.AssetSpec]:
    """The three tables, in their order of dependency."""
    descriptions = _descriptions(settings)
    return [
        dg.AssetSpec(
            name,
            deps=_DEPENDENCIES[name],
            group_name="training",
            description=f"{descriptions[name]} One row is {table.grain}.",
            metadata={
                "dagster/column_schema": column_schema(table),
                "path": dg.MetadataValue.path(f"{settings.lake}/{name}"),
            },
            kinds={"pyspark", "parquet"},
        )
        for name, table in TABLES.items()
    ]


def check_specs(partitions: dg.PartitionsDefinition) -> list[dg.AssetCheckSpec]:
    """Every check of every table, evaluated by day; errors block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                check.name,
                asset=check.table,
                description=check.description,
                blocking=check.severity == "error",
                partitions_def=partitions,
            )
            for checks in CHECKS.values()
            for check in checks
        ]
