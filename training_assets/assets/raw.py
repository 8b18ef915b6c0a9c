"""The raw tables as external assets: nothing here makes them, but the lineage begins with them."""

import dagster as dg

from training_assets.assets.metadata import column_schema, place_value
from training_assets.errors import StoreError
from training_assets.lake import Lake
from training_assets.schemas import DELIVERED_TABLES
from training_assets.settings import Settings
from training_assets.sources import Declarations, declarations


def raw_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["raw", table])


def declared_sources(settings: Settings) -> Declarations:
    """What ``sources.toml`` says; nothing where the lake cannot be asked when definitions load."""
    try:
        return declarations(Lake.at(settings.lake))
    except StoreError:
        return Declarations()


def raw_specs(settings: Settings) -> list[dg.AssetSpec]:
    """One external asset per raw table, the declared ones too; raises ``SettingsError``."""
    raw, declared = Lake.at(settings.lake).raw, declared_sources(settings)
    tables = (*DELIVERED_TABLES.values(), *declared.further)
    return [
        dg.AssetSpec(
            raw_key(table.name),
            group_name="raw",
            description=f"{table.description} One row is {table.grain}. Delivered from outside, "
            "as Parquet, JSON lines or CSV, in one folder a day.",
            metadata={
                "dagster/column_schema": column_schema(table),
                "path": place_value(declared.of(table).path or raw.uri(table.name)),
            },
            kinds={"parquet"},
        )
        for table in tables
    ]
