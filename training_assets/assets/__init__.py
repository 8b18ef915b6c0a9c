"""What exists in Dagster: the raw tables, the daily tables and their checks.

All tables are built by one step (``daily.py``), so that a run has one engine session whatever
the executor, and so that one bad day of a range neither stops the other days nor the next table.

May import pipeline and what is below it, and Dagster. Begin with ``daily.py``.
"""

from training_assets.assets.daily import daily_tables
from training_assets.assets.feature_state import feature_state_asset
from training_assets.assets.online import online_assets
from training_assets.assets.outdated import outdated_days_sensor
from training_assets.assets.raw import raw_specs
from training_assets.assets.retention import retention_asset
from training_assets.assets.vacuum import vacuum_asset

__all__ = [
    "daily_tables",
    "feature_state_asset",
    "online_assets",
    "outdated_days_sensor",
    "raw_specs",
    "retention_asset",
    "vacuum_asset",
]
