"""interactions: the event stream of a day, cleaned; each event once, bots marked."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from pyspark.sql import functions as F

from training_assets import checks
from training_assets.kernels import BotLimits, clean_interactions
from training_assets.provenance import BuiltFrom
from training_assets.schemas import INTERACTIONS, RAW_INTERACTIONS
from training_assets.settings import Settings
from training_assets.sources import declarations
from training_assets.sources.copies import without_copies
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
from training_assets.tables.shop_ids import with_ids
from training_assets.tables.spec import TableSpec

_ROWS_PER_FILE: Final = 2_000_000


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """All valid interactions of the days; the others go to the quarantine."""
    raw, copies = without_copies(build.raw(RAW_INTERACTIONS, days))
    for copy in copies:
        build.progress(f"interactions: {copy.name} has the content of another file; left out")
    rows = with_ids(build, raw.read_valid(build.spark), RAW_INTERACTIONS, ("customer", "item"))
    renamed = rows.withColumnRenamed("timestamp", "occurred_at")
    named = renamed.select(*(c.name for c in INTERACTIONS.columns if c.name != "is_bot"))
    counted = count_by_day([raw], days)
    files = files_by_day(counted, _ROWS_PER_FILE)
    root, run = build.root(INTERACTIONS.name), build.run
    limits = BotLimits(*build.settings.bot_limits)

    is_once = declarations(build.lake).of(RAW_INTERACTIONS).dedupe == "exact"

    def write(batches: Batches) -> Batches:
        return clean_interactions(batches, root, run, limits, equal_rows_once=is_once)

    part = F.pmod(F.xxhash64("customer_id"), by_day(files)).cast("int")
    parted = named.withColumn("part", part)
    rows_in = sum(counted.values())
    written = write_large_days(build, parted, INTERACTIONS, days, files, write, rows_in)
    write_rejected(
        build, INTERACTIONS, of_faulty_days(build, INTERACTIONS, [raw], counted, written)
    )
    return written


def _describe(settings: Settings) -> str:
    return (
        "What customers did on the day as one stream of events: texts cleaned, each event once, "
        "customers who acted like a machine marked. Rows that cannot be used, and those that were "
        "delivered again, are in the quarantine."
    )


BUILT_FROM: Final = BuiltFrom(
    INTERACTIONS, (RAW_INTERACTIONS,), settings=("bot_limits",), days="from first"
)

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        INTERACTIONS,
        schema=checks.check_schema,
        row_counts=checks.check_interaction_counts,
        valid_share=checks.check_valid_share,
        validation=checks.check_validation,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.interaction_metrics,
    rejects=True,
    group="shop",
)
