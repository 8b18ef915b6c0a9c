"""Assets of your own, in a code location beside the platform's."""

import dagster as dg
from deltalake import DeltaTable

from training_assets.definitions import first_partition
from training_assets.lake import Lake
from training_assets.settings import Settings

# The partitions of the platform, so that a day here depends on the same day there.
DAYS = dg.DailyPartitionsDefinition(start_date=str(first_partition(Settings.from_env())))


@dg.asset(
    deps=["training_input"],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="own",
    kinds={"python"},
)
def order_share(context: dg.AssetExecutionContext) -> None:
    """The share of shown items that were ordered, by day."""
    table = DeltaTable(Lake.at(Settings.from_env().lake).table_store("training_input").url)
    for day in context.partition_keys:
        rows = table.to_pyarrow_table(columns=["is_order"], filters=[("dt", "=", day)])
        orders = rows["is_order"].to_numpy()
        share = float(orders.mean()) if len(orders) else 0.0
        context.log.info(f"order_share: {share:.4f} on {day}")
        context.add_asset_metadata({"share": share, "rows": len(orders)}, partition_key=day)


defs = dg.Definitions(assets=[order_share], executor=dg.in_process_executor)
