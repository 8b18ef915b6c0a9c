"""The raw tables as external assets: nothing here makes them, but the lineage begins with them."""

import os
import re
from typing import Final

import dagster as dg

from training_assets.assets.metadata import column_schema, place_value
from training_assets.errors import SettingsError, StoreError
from training_assets.lake import Lake
from training_assets.schemas import DELIVERED_TABLES
from training_assets.settings import Settings
from training_assets.sources import Declarations, declarations, printable

_OWNERS: Final = "TRAINING_ASSETS_OWNERS"
_OWNER: Final = re.compile(r"team:[A-Za-z0-9_.-]+|[^@\s]+@[^@\s]+\.[^@\s]+")


def raw_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["raw", table])


def owners() -> list[str]:
    """Who answers for the data: e-mail addresses or ``team:name``, from the environment.

    Raises ``SettingsError``.
    """
    found = [name for part in os.environ.get(_OWNERS, "").split(",") if (name := part.strip())]
    for name in found:
        if not _OWNER.fullmatch(name):
            raise SettingsError(
                f"settings: {_OWNERS} names {printable(name)}; expected an e-mail address or "
                "team:name. Correct it."
            )
    return found


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
            kinds={"parquet", "json", "csv"},
            owners=owners(),
            tags={"group": "raw", "rows": "by_day"},
        )
        for table in tables
    ]
