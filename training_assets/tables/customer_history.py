"""customer_history: what each customer who saw something on a day had done before it."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets import checks
from training_assets.kernels import (
    CUTS_DDL,
    HISTORIES_DDL,
    REQUESTS_DDL,
    assign_tasks,
    build_histories,
    cut_days,
    write_histories,
)
from training_assets.provenance import BuiltFrom, Upstream, window_days
from training_assets.schemas import CUSTOMER_HISTORY, IMPRESSIONS
from training_assets.settings import Settings
from training_assets.tables import unified_actions
from training_assets.tables.action_blocks import (
    action_files,
    range_boundaries,
    wanted_actions,
)
from training_assets.tables.build import (
    Batches,
    Build,
    NewFiles,
    count_by_day,
    files_by_day,
    number_of,
    spread_days,
    write_days,
)
from training_assets.tables.spec import TableSpec

_RANKINGS_PER_FILE: Final = 50_000
_ACTIONS_PER_TASK: Final = 2_000_000
# Each of them opens all files for itself.
_MAX_HISTORY_TASKS: Final = 128


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """The histories of all customers with impressions on the days."""
    settings = build.settings
    published = build.lake.days(unified_actions.SPEC.name)
    window = {d for day in days for d in window_days(settings, published, day)}
    common = (settings.window_start(max(days)) or date.min, min(days))
    files = action_files(build, days=sorted(window), common=common)
    impressions = build.raw(IMPRESSIONS, days)
    requests = impressions.read_valid(build.spark).select("dt", "customer_id")
    num_files = files_by_day(count_by_day([impressions], days), _RANKINGS_PER_FILE)
    cuts = _cuts(build, requests, num_files)
    boundaries = np.array(range_boundaries(files, _ACTIONS_PER_TASK), np.int64)
    num_tasks = len(boundaries) + 1
    root, run, form = build.root(CUSTOMER_HISTORY.name), build.run, settings.list_format
    length, lookback = settings.history_length, settings.lookback_days
    wanted = wanted_actions(settings)

    def assign(batches: Batches) -> Batches:
        return assign_tasks(batches, boundaries)

    def make(batches: Batches) -> Batches:
        return build_histories(
            batches,
            files,
            cuts=cuts,
            history_length=length,
            lookback_days=lookback,
            wanted=wanted,
        )

    def write(batches: Batches) -> Batches:
        return write_histories(batches, root, run, form)

    assigned = requests.mapInArrow(assign, REQUESTS_DDL)
    spread = build.partitioning.spread(
        assigned, F.col("task"), of=num_tasks, at_most=_MAX_HISTORY_TASKS
    )
    histories = spread.mapInArrow(make, HISTORIES_DDL)
    return write_days(build, histories, CUSTOMER_HISTORY, days, max(num_files.values()), write)


def _cuts(
    build: Build, requests: DataFrame, num_files: Mapping[date, int]
) -> dict[int, Sequence[int]]:
    """The first customer of each file of a day but its first, so that files are equally long."""
    counts = {number_of(day): count for day, count in num_files.items() if count > 1}
    if not counts:
        return {}

    def cut(batches: Batches) -> Batches:
        return cut_days(batches, counts)

    spread = spread_days(build, requests, list(num_files), 1, F.lit(0))
    rows = spread.mapInArrow(cut, CUTS_DDL).collect()
    return {int(row["day"]): row["customers"] for row in rows}


def _describe(settings: Settings) -> str:
    window = "all days" if settings.lookback_days is None else f"the {settings.lookback_days} days"
    return (
        "What each customer who saw something on the day had done before it: the newest "
        f"{settings.history_length} actions of {window} strictly before the day, newest first. "
        "Customers without any have empty arrays. A partition reads earlier partitions of "
        "unified_actions; `window_start` says from where."
    )


BUILT_FROM: Final = BuiltFrom(
    CUSTOMER_HISTORY,
    (IMPRESSIONS,),
    (Upstream(unified_actions.BUILT_FROM, "look-back"),),
    ("history_length", "lookback_days", "action_types", "bots"),
)

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        CUSTOMER_HISTORY,
        schema=checks.check_schema,
        sequence_length=checks.check_history_length,
        padding=checks.check_history_padding,
        leakage=checks.check_history_leakage,
        order_and_ties=checks.check_history_order,
        row_counts=checks.check_customer_counts,
        history_window=checks.check_history_window,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.history_metrics,
)
