"""The stated bytes of a day are those that it holds, and the bound lies above."""

from pathlib import Path
from typing import Any

import pytest

from training_assets import loader
from training_assets.loader import TrainingDays, day_bytes
from training_assets.loader.day import Day
from training_assets.loader.memory import day_bound_bytes
from training_assets.loader.opening import Reading, open_days
from training_assets.loader.published import Published
from training_assets.loader.stream import read_day
from training_assets_tests.support.loader_lakes import FIRST_DAY, random_days, write_lake


def held_bytes(day: Day) -> int:
    own = (day.pointer, day.impressions, day.labels)
    names = day.names
    named = (names.customer_ids, names.item_ids, names.ranking_codes) if names else ()
    order_bytes = 8 * day.num_examples
    return order_bytes + day.histories.nbytes + sum(array.nbytes for array in (*own, *named))


@pytest.mark.parametrize("is_dense", [True, False])
@pytest.mark.parametrize("is_wide", [True, False])
@pytest.mark.parametrize("source", ["customer_history", "training_input"])
def test_a_day_holds_the_stated_bytes(
    tmp_path: Path, is_dense: bool, is_wide: bool, source: Any
) -> None:
    lake = write_lake(tmp_path, random_days(40, num_days=1), num_files=2)
    reading = Reading(
        length=7,
        source=source,
        with_days_ago=is_wide and source == "customer_history",
        with_identity=is_wide,
        vocabulary=None,
        dense_limit_bytes=2**30 if is_dense else 0,
        threads=1,
    )
    (opened,) = open_days(Published.at(lake), [FIRST_DAY], reading)
    day = read_day(opened, reading)
    assert day.histories.is_dense == is_dense
    stated = day_bytes(
        num_examples=day.num_examples,
        num_histories=len(day.histories.lengths),
        num_actions=int(day.histories.lengths.sum()),
        length=7,
        is_dense=is_dense,
        with_days_ago=reading.with_days_ago,
        with_identity=is_wide,
    )
    assert held_bytes(day) == stated
    assert stated <= day_bound_bytes(opened, reading)


def test_the_bound_of_a_loader_counts_two_days_when_it_reads_ahead(tmp_path: Path) -> None:
    lake = write_lake(tmp_path, random_days(41))
    ahead, alone = (
        TrainingDays(lake, batch_size=4, prefetch=prefetch).memory_bound_bytes
        for prefetch in (True, False)
    )
    assert ahead > alone > 128 * 2**20


def test_public_surface() -> None:
    assert loader.__all__ == [
        "Batch",
        "Identity",
        "SampleBatch",
        "TrainingDays",
        "Vocabulary",
        "day_bytes",
        "published_days",
    ]
