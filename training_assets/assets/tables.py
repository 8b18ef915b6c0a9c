"""The tables as Dagster knows them: keys, descriptions, columns, dependencies, checks."""

import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import dagster as dg

from training_assets.assets.metadata import column_schema, place_value
from training_assets.assets.raw import declared_sources, owners, raw_key
from training_assets.lake import Lake
from training_assets.schemas import Table
from training_assets.settings import Settings
from training_assets.tables import SPECS, TableSpec

# A day is built at 03:00; a second one that does not come fails.
FRESHNESS: Final = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=50), warn_window=timedelta(hours=26)
)


def table_specs(settings: Settings) -> list[dg.AssetSpec]:
    """The tables, in their order of dependency."""
    lake, further = Lake.at(settings.lake), declared_sources(settings).further
    return [
        dg.AssetSpec(
            name,
            deps=_dependencies(spec, further),
            group_name=spec.group,
            description=f"{spec.describe(settings)} One row is {spec.table.grain}.",
            metadata={
                "dagster/column_schema": column_schema(spec.table),
                "path": place_value(lake.table_store(name).url),
            },
            kinds={"pyspark", "deltalake"},
            owners=owners(),
            tags={"group": spec.group, "rows": "by_day"},
            # By when a day was published; of the raw sources the newest event decides.
            freshness_policy=FRESHNESS,
            # A shop may not deliver it, on a day or at all.
            skippable=spec.built_from.days != "every",
        )
        for name, spec in SPECS.items()
    ]


def _dependencies(spec: TableSpec, further: Sequence[Table]) -> list[dg.AssetKey]:
    built = spec.built_from
    return [
        *(raw_key(source.name) for source in built.sources),
        *(raw_key(source.name) for source in further if built.takes_further),
        *(dg.AssetKey(upstream.name) for upstream in built.upstream),
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
            for spec in SPECS.values()
            for check in spec.checks
        ]
