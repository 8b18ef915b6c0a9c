"""items_shown: how often each item was shown on a day."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from pyspark.sql import functions as F

from training_assets import checks
from training_assets.kernels import write_rows
from training_assets.provenance import BuiltFrom
from training_assets.schemas import IMPRESSIONS, ITEMS_SHOWN
from training_assets.settings import Settings
from training_assets.tables.build import Batches, Build, NewFiles, write_days
from training_assets.tables.spec import TableSpec


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """Counts of the valid items in all rankings of the days."""
    shown = (
        build.raw(IMPRESSIONS, days)
        .read_valid(build.spark)
        .select("dt", F.explode("impressions").alias("shown"))
        .groupBy("dt", F.col("shown.item_id").alias("item_id"))
        .agg(F.count(F.lit(1)).alias("times"))
    )
    root, run = build.root(ITEMS_SHOWN.name), build.run

    def write(batches: Batches) -> Batches:
        return write_rows(batches, ITEMS_SHOWN, root, run)

    return write_days(build, shown.withColumn("part", F.lit(0)), ITEMS_SHOWN, days, 1, write)


def _describe(settings: Settings) -> str:
    return "How often each item stood in a ranking of the day: what click_through_rate divides by."


BUILT_FROM: Final = BuiltFrom(ITEMS_SHOWN, (IMPRESSIONS,))

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        ITEMS_SHOWN,
        schema=checks.check_schema,
        row_counts=checks.check_shown_counts,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.count_rows,
    group="features",
)
