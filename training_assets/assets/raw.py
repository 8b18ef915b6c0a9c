"""The raw tables as external assets: nothing here makes them, but the lineage begins with them."""

import dagster as dg

from training_assets.assets.metadata import column_schema, place_value
from training_assets.lake import Lake
from training_assets.schemas import DELIVERED_TABLES
from training_assets.settings import Settings


def raw_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["raw", table])


def raw_specs(settings: Settings) -> list[dg.AssetSpec]:
    """One external asset per raw table."""
    raw = Lake.at(settings.lake).raw
    return [
        dg.AssetSpec(
            raw_key(name),
            group_name="raw",
            description=f"{table.description} One row is {table.grain}. Delivered from outside, "
            "as Parquet, JSON lines or CSV, in one folder a day.",
            metadata={
                "dagster/column_schema": column_schema(table),
                "path": place_value(raw.uri(name)),
            },
            kinds={"parquet"},
        )
        for name, table in DELIVERED_TABLES.items()
    ]
