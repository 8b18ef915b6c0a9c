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
from training_assets.pipeline.failed_days import (
    FAILED_DAYS,
    LISTED_BY,
    FailedDay,
    OneFault,
    by_fault,
    each_day,
    in_short,
)
from training_assets.pipeline.features import prepare_features
from training_assets.pipeline.maintenance import vacuum_lake
from training_assets.pipeline.rebuild import Rebuilt, rebuild_outdated
from training_assets.pipeline.watching import Watcher, watched_by

__all__ = [
    "FAILED_DAYS",
    "LISTED_BY",
    "DayReport",
    "FailedDay",
    "OneFault",
    "Plan",
    "Rebuilt",
    "Watcher",
    "absent_sources",
    "build_days",
    "by_fault",
    "changed_customers",
    "check_days",
    "each_day",
    "in_short",
    "last_partition",
    "left_out_days",
    "plan_run",
    "prepare_features",
    "rebuild_outdated",
    "requested_days",
    "span",
    "vacuum_lake",
    "watched_by",
]
