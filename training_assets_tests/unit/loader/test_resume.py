"""Exactly once over ranks and workers, and resuming continues with the very next batch."""

import json
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training_assets.errors import SettingsError
from training_assets.loader import Batch, TrainingDays, stream
from training_assets_tests.support.loader_lakes import random_days, write_lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake"), random_days(11))


def rows_of(batch: Batch[Any]) -> tuple[Any, ...]:
    assert batch.identity is not None
    return (batch.dt, tuple(batch.identity.rows.tolist()), batch.actions.sum().item())


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("shuffle", ["examples", "histories"])
def test_every_example_once_per_epoch_over_ranks(lake: Path, world_size: int, shuffle: Any) -> None:
    seen: Counter[Any] = Counter()
    for rank in range(world_size):
        days = TrainingDays(
            lake,
            batch_size=7,
            rank=rank,
            world_size=world_size,
            shuffle=shuffle,
            extras=["identity"],
        )
        for batch in days:
            assert batch.identity is not None
            seen.update((batch.dt, row) for row in batch.identity.rows.tolist())
    assert set(seen.values()) == {1}
    assert len(seen) == days.num_examples


def test_epochs_differ_and_days_stay_in_sequence(lake: Path) -> None:
    days = TrainingDays(lake, batch_size=7, extras=["identity"])
    first, second = [rows_of(b) for b in days], [rows_of(b) for b in days]
    assert days.epoch == 2
    assert first != second
    assert [dt for dt, *_ in first] == sorted(dt for dt, *_ in first)
    days.set_epoch(0)
    assert [rows_of(b) for b in days] == first


@pytest.mark.parametrize("prefetch", [True, False])
def test_resume_at_every_batch_equals_uninterrupted(lake: Path, prefetch: bool) -> None:
    def loader() -> TrainingDays:
        return TrainingDays(
            lake, batch_size=9, seed=4, extras=["identity"], prefetch=prefetch, world_size=2
        )

    whole = [rows_of(batch) for batch in loader()]
    assert len({dt for dt, *_ in whole}) == 3
    for num_seen in range(len(whole) + 1):
        first = loader()
        batches = iter(first)
        seen = [rows_of(next(batches)) for _ in range(num_seen)]
        state = json.loads(json.dumps(first.state_dict()))
        second = loader()
        second.load_state_dict(state)
        if num_seen == len(whole):
            assert second.epoch == 1
            continue
        assert seen + [rows_of(batch) for batch in second] == whole
        assert second.epoch == 1


def test_after_a_resumed_epoch_the_next_one_is_whole(lake: Path) -> None:
    days = TrainingDays(lake, batch_size=9, extras=["identity"])
    uninterrupted = [rows_of(b) for b in days] + [rows_of(b) for b in days]
    other = TrainingDays(lake, batch_size=9, extras=["identity"])
    next(iter(other))
    again = TrainingDays(lake, batch_size=9, extras=["identity"])
    again.load_state_dict(other.state_dict())
    assert [rows_of(b) for b in again] + [rows_of(b) for b in again] == uninterrupted[1:]


def test_leaving_an_epoch_early_and_iterating_again_begins_it_anew(lake: Path) -> None:
    days = TrainingDays(lake, batch_size=9, extras=["identity"])
    peeked = rows_of(next(iter(days)))
    again = [rows_of(b) for b in days]
    assert again[0] == peeked
    assert len(again) == len(days)


def test_a_state_of_other_settings_is_refused(lake: Path) -> None:
    state = TrainingDays(lake, batch_size=9).state_dict()
    with pytest.raises(SettingsError, match="batch_size is 8; expected 9"):
        TrainingDays(lake, batch_size=8).load_state_dict(state)
    with pytest.raises(SettingsError, match="world_size is 2; expected 1"):
        TrainingDays(lake, batch_size=9, world_size=2).load_state_dict(state)
    with pytest.raises(SettingsError, match=r"days is \['2024-03-01'\]; expected \["):
        TrainingDays(lake, batch_size=9, days=["2024-03-01"]).load_state_dict(state)
    with pytest.raises(SettingsError, match="state is of version None"):
        TrainingDays(lake, batch_size=9).load_state_dict({})


def test_the_next_day_is_read_meanwhile_and_two_are_in_memory_at_most(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Any]] = []
    read_day = stream.read_day

    def watched(*args: Any) -> Any:
        day = read_day(*args)
        alive.append(weakref.ref(day))
        return day

    monkeypatch.setattr(stream, "read_day", watched)
    seen = set()
    for batch in TrainingDays(lake, batch_size=3):
        seen.add(batch.dt)
        deadline = time.monotonic() + 10
        while len(alive) < min(len(seen) + 1, 3) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(alive) == min(len(seen) + 1, 3)
        assert sum(day() is not None for day in alive) == (1 if len(seen) == 3 else 2)


def test_num_batches_is_known_beforehand(lake: Path) -> None:
    for drop_last in (False, True):
        days = TrainingDays(lake, batch_size=7, drop_last=drop_last, world_size=3, rank=1)
        batches = list(days)
        assert len(batches) == len(days)
        if drop_last:
            assert {len(batch) for batch in batches} == {7}
    assert np.all([batch.labels.dtype == np.float32 for batch in batches])
