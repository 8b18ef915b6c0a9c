"""The raw tables as external assets: nothing here makes them, but the lineage begins with them."""

import dagster as dg

from training_assets.assets.metadata import column_schema
from training_assets.schemas import RAW_TABLES
from training_assets.settings import Settings

_DESCRIPTIONS = {
    "impressions": "Rankings as they were shown: which items, to whom, and which were ordered.",
    "clicks": "Clicks on items.",
    "add_to_carts": "Items that were put into a cart.",
    "previous_orders": "Order lines, from the warehouse.",
}


def raw_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["raw", table])


def raw_specs(settings: Settings) -> list[dg.AssetSpec]:
    """One external asset per raw table."""
    return [
        dg.AssetSpec(
            raw_key(name),
            group_name="raw",
            description=f"{_DESCRIPTIONS[name]} One row is {table.grain}. Delivered from outside, "
            "as Parquet, JSON lines or CSV, in one folder a day.",
            metadata={
                "dagster/column_schema": column_schema(table),
                "path": dg.MetadataValue.path(f"{settings.lake}/raw/{name}"),
            },
            kinds={"parquet"},
        )
        for name, table in RAW_TABLES.items()
    ]
