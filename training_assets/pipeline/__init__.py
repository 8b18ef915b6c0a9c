"""One range of days: write it, check it, publish each good day whole; and what goes with that.

May import tables, checks, provenance and what is below them; knows no Dagster, and names no table
but where a person asks about one. Begin with ``build.py``.
"""

from training_assets.pipeline.affected_customers import changed_customers
from training_assets.pipeline.build import DayReport, build_days, check_days
from training_assets.pipeline.day_selection import (
    Plan,
    absent_sources,
    last_partition,
    left_out_days,
    plan_run,
    requested_days,
    span,
)
from training_assets.pipeline.maintenance import vacuum_lake
from training_assets.pipeline.rebuild import Rebuilt, rebuild_outdated

__all__ = [
    "DayReport",
    "Plan",
    "Rebuilt",
    "absent_sources",
    "build_days",
    "changed_customers",
    "check_days",
    "last_partition",
    "left_out_days",
    "plan_run",
    "rebuild_outdated",
    "requested_days",
    "span",
    "vacuum_lake",
]
