"""training_input: what a model trains on, one row per item that was shown."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from training_assets import checks
from training_assets.kernels import (
    RANKINGS_DDL,
    assign_parts,
    customer_bounds,
    write_training_rows,
)
from training_assets.provenance import BuiltFrom, Upstream
from training_assets.schemas import IMPRESSIONS, TRAINING_INPUT
from training_assets.settings import Settings
from training_assets.tables import customer_history
from training_assets.tables.build import (
    Batches,
    Build,
    NewFiles,
    number_of,
    write_days,
    write_rejected,
)
from training_assets.tables.spec import TableSpec


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """The training rows of the days, from their published histories."""
    impressions = build.raw(IMPRESSIONS, days)
    published = build.lake.snapshot(customer_history.SPEC.name)
    histories, boundaries = {}, {}
    for day in days:
        paths = published.uris(day)
        starts = sorted(min(low for low, *_ in b) for p in paths if (b := customer_bounds(p)))
        histories[number_of(day)] = paths
        boundaries[number_of(day)] = starts[1:]
    root, run, form = build.root(TRAINING_INPUT.name), build.run, build.settings.list_format
    length = build.settings.history_length

    def assign(batches: Batches) -> Batches:
        return assign_parts(batches, boundaries)

    def write(batches: Batches) -> Batches:
        return write_training_rows(batches, root, run, histories, length, form)

    rankings = impressions.read_valid(build.spark).mapInArrow(assign, RANKINGS_DDL)
    num_files = max(len(cuts) + 1 for cuts in boundaries.values())
    written = write_days(build, rankings, TRAINING_INPUT, days, num_files, write)
    write_rejected(build, TRAINING_INPUT, [impressions])
    return written


def _describe(settings: Settings) -> str:
    return (
        "What a model trains on: one row per item that was shown, with its label and its "
        f"customer's history, padded with zeros to {settings.history_length}."
    )


BUILT_FROM: Final = BuiltFrom(
    TRAINING_INPUT,
    (IMPRESSIONS,),
    (Upstream(customer_history.BUILT_FROM, "same day"),),
    ("history_length", "lookback_days"),
)

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        TRAINING_INPUT,
        schema=checks.check_schema,
        sequence_length=checks.check_rows_length,
        padding=checks.check_rows_padding,
        leakage=checks.check_rows_leakage,
        order_and_ties=checks.check_rows_order,
        row_counts=checks.check_impression_counts,
        valid_share=checks.check_valid_share,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.row_metrics,
    rejects=True,
    watched_elsewhere=("action_items", "action_types"),
    kept="training",
)
