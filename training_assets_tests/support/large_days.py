"""Days that go by way of the disk, however few their rows; a run over them that is killed."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from pyspark.sql import SparkSession

from training_assets.engine import spark_session
from training_assets.kernels import day_files, runs
from training_assets.lake import Lake, day_range
from training_assets.pipeline import DayReport, build_days
from training_assets.settings import Settings
from training_assets.tables import build, unified_actions
from training_assets_tests.support.frames import DAY, before
from training_assets_tests.support.processes import kill_oneself

DAYS = day_range(before(1), DAY)
CUSTOMERS = 40
# Where a run writes the pieces of its rows, and where the files of its days.
WRITERS = {"runs": runs, "parts": day_files}


def put_clicks(lake: Lake, item: int) -> None:
    """A click of each customer on each day, in two files."""
    for day in DAYS:
        for half in (0, 1):
            rows = (
                json.dumps({"customer_id": customer, "item_id": item})
                for customer in range(half, CUSTOMERS, 2)
            )
            lake.raw.put(f"clicks/dt={day}/{half}.jsonl", "\n".join(rows).encode())


def build_by_way_of_the_disk(spark: SparkSession, lake: Lake) -> Sequence[DayReport]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_MANY_ROWS", 0)
        patch.setattr(unified_actions, "_ACTIONS_PER_FILE", 16)
        settings = Settings(lake=lake.store.url)
        return list(build_days(spark, lake, settings, [unified_actions.SPEC], DAYS))


def build_and_die(url: str, fatal: str) -> None:
    """Killed when it has written a second file of that kind."""
    writer: Any = WRITERS[fatal]
    write_file, written = writer.write_file, []

    def write_and_die(place: str, *parts: Any) -> None:
        write_file(place, *parts)
        written.append(place)
        if len(written) == 2:
            kill_oneself()

    writer.write_file = write_and_die
    with spark_session("sail") as spark:
        build_by_way_of_the_disk(spark, Lake.at(url))
