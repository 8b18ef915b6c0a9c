"""online_users and online_items: the features of a day where requests are answered from."""

import warnings
from datetime import date
from typing import Literal

import dagster as dg

from training_assets.lake import Lake
from training_assets.online import TABLES, OnlineSettings, compare_day, load_day, open_store
from training_assets.settings import Settings

EQUALS_OFFLINE = "online_equals_offline"
ONLINE_ASSETS = {"users": "online_users", "items": "online_items"}


def online_assets(
    settings: Settings, partitions: dg.PartitionsDefinition
) -> list[dg.AssetsDefinition]:
    """Both, by day; of a range the newest day is loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [_asset("users", settings, partitions), _asset("items", settings, partitions)]


def _asset(
    table: Literal["users", "items"], settings: Settings, partitions: dg.PartitionsDefinition
) -> dg.AssetsDefinition:
    name, offline = ONLINE_ASSETS[table], TABLES[table]

    @dg.asset(
        name=name,
        group_name="features",
        deps=[dg.AssetKey(offline)],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=f"The rows of {offline} by id, as requests get them: one whole version, put "
        "in the place of the one before at once. An older day never replaces a newer one; "
        "`training-assets online rollback` does so on purpose.",
        check_specs=[
            dg.AssetCheckSpec(
                EQUALS_OFFLINE,
                asset=name,
                description="Every value online is that of the published row: all rows up to "
                "20,000, blocks of them above. A failure means that requests are answered with "
                "other values than models were trained on. Load the day again with "
                "`training-assets online load --force`.",
            )
        ],
    )
    def _load(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        day = date.fromisoformat(max(context.partition_keys))
        lake = Lake.at(settings.lake)
        known = OnlineSettings.from_env(lake=settings.lake)
        with open_store(known.url, expires_after=date.max - date.min) as store:
            loaded = load_day(store, lake, table, day)
            served = loaded.version
            passed, metadata = True, dict[str, int | str](rows=0)
            if served.dt == day and not loaded.kept:
                found = compare_day(store, lake, table, day, version=served.name)
                passed = not found.different
                metadata = {"rows": found.rows, "different": found.different}
                if found.examples:
                    metadata["examples"] = ", ".join(map(str, found.examples))
        return dg.MaterializeResult(
            metadata={
                "version": served.name,
                "day": str(served.dt),
                "rows": served.rows,
                "changed": loaded.is_new,
                **({"kept": loaded.kept} if loaded.kept else {}),
            },
            check_results=[
                dg.AssetCheckResult(passed=passed, check_name=EQUALS_OFFLINE, metadata=metadata)
            ],
        )

    return _load
