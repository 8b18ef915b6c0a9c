"""unified_actions: what customers did on a day, one row per valid action."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets import checks
from training_assets.kernels import EXTRA_DDL, write_actions
from training_assets.lake.frames import read_days
from training_assets.provenance import BuiltFrom, Provenance, Upstream
from training_assets.schemas import (
    ACTION_SOURCES,
    INTERACTION_TYPES,
    INTERACTIONS,
    ORDER,
    RETURN,
    UNIFIED_ACTIONS,
)
from training_assets.settings import Settings
from training_assets.tables import interactions
from training_assets.tables.build import (
    Batches,
    Build,
    NewFiles,
    by_day,
    count_by_day,
    files_by_day,
    of_faulty_days,
    write_large_days,
    write_rejected,
)
from training_assets.tables.spec import TableSpec
from training_assets.transforms.unified_actions import unite_actions

_ACTIONS_PER_FILE: Final = 4_000_000


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """All valid actions of the days; the others go to the quarantine."""
    tables = build.provenance.sources_of(BUILT_FROM)
    sources = [build.raw(table, days) for table in tables]
    once = [of.table for of in sources if of.equal_rows_once and of.tasks]
    actions = unite_actions([(of.table, of.read_valid(build.spark)) for of in sources], once)
    counted = count_by_day(sources, days)
    files, rows = files_by_day(counted, _ACTIONS_PER_FILE), sum(counted.values())
    stream = streamed_actions(build.spark, build.provenance, days)
    if stream is None:
        # The kernel knows the others, which say nothing here.
        extra = EXTRA_DDL if once else ()
        actions = actions.select(*UNIFIED_ACTIONS.column_names[:6], *extra)
    else:
        if once:
            stream = stream.withColumns({n: F.lit(None).cast(k) for n, k in EXTRA_DDL.items()})
        actions = actions.unionByName(stream)
        published = build.lake.snapshot(INTERACTIONS.name).files
        for day in days:
            of_stream = sum(file.rows for file in published.get(day, ()))
            files[day] = max(1, round(files[day] + of_stream / _ACTIONS_PER_FILE - 0.5))
            rows += of_stream
    root, run = build.root(UNIFIED_ACTIONS.name), build.run

    def write(batches: Batches) -> Batches:
        return write_actions(batches, root, run, once)

    part = F.pmod(F.xxhash64("customer_id"), by_day(files)).cast("int")
    parted = actions.withColumn("part", part)
    written = write_large_days(build, parted, UNIFIED_ACTIONS, days, files, write, rows)
    # Nobody knows how many of the rows are the stream's.
    known = stream is None
    faulty = of_faulty_days(build, UNIFIED_ACTIONS, sources, counted, written) if known else sources
    write_rejected(build, UNIFIED_ACTIONS, faulty)
    return written


def streamed_actions(
    spark: SparkSession, provenance: Provenance, days: Sequence[date]
) -> DataFrame | None:
    """Rows of ``unified_actions`` from the published interactions; None where there are none.

    The event stream counts for the kinds that no source of their own tells of.
    """
    kinds = {day: provenance.kinds_from_interactions(day) for day in days}
    if not any(kinds.values()):
        return None
    condition = F.lit(False)
    for taken in {k for k in kinds.values() if k}:
        codes = (*taken, RETURN) if ORDER in taken else taken
        of_days = [F.lit(day) for day, found in kinds.items() if found == taken]
        condition = condition | (F.col("dt").isin(*of_days) & F.col("action_type").isin(*codes))
    rows = read_days(spark, provenance.lake.snapshot(INTERACTIONS.name), INTERACTIONS, days)
    code = F.lit(None)
    for name, number in INTERACTION_TYPES.items():
        code = F.when(F.col("interaction_type") == name, F.lit(number)).otherwise(code)
    typed = rows.withColumn("action_type", code.cast("tinyint")).withColumn("has_time", F.lit(True))
    return typed.select(*UNIFIED_ACTIONS.column_names).where(condition)


def _describe(settings: Settings) -> str:
    return (
        "What customers did on the day: clicks, add-to-carts, orders and what else is declared or "
        "streamed, in one table with one row per action. Rows that cannot be used are in the "
        "quarantine, with the reason, and counted here."
    )


BUILT_FROM: Final = BuiltFrom(
    UNIFIED_ACTIONS,
    ACTION_SOURCES,
    (Upstream(interactions.BUILT_FROM, "same day", is_optional=True),),
    ("interaction_kinds",),
    takes_further=True,
)

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        UNIFIED_ACTIONS,
        schema=checks.check_schema,
        row_counts=checks.check_action_counts,
        valid_share=checks.check_valid_share,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.action_metrics,
    rejects=True,
    kept="raw",
)
