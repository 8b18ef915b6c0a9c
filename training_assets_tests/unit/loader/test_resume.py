"""Exactly once over ranks and workers, and resuming continues with the very next batch."""

import json
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from itertools import islice
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


def test_an_epoch_that_was_left_early_is_not_begun_again(lake: Path) -> None:
    days = TrainingDays(lake, batch_size=9, extras=["identity"])
    whole = [rows_of(b) for b in days], [rows_of(b) for b in days]
    days.set_epoch(0)
    assert rows_of(next(iter(days))) == whole[0][0]
    assert days.state_dict()["batch"] == 1
    assert [rows_of(b) for b in days] == whole[1]


def test_an_iterator_that_was_never_asked_for_a_batch_begins_nothing(lake: Path) -> None:
    days = TrainingDays(lake, batch_size=9, extras=["identity"])
    iter(days)
    whole = [rows_of(b) for b in days]
    days.set_epoch(0)
    assert [rows_of(b) for b in days] == whole


def test_a_state_of_other_settings_is_refused(lake: Path) -> None:
    state = TrainingDays(lake, batch_size=9).state_dict()
    with pytest.raises(SettingsError, match=r"batch_size \* world_size is 8; expected 9"):
        TrainingDays(lake, batch_size=8).load_state_dict(state)
    with pytest.raises(SettingsError, match=r"batch_size \* world_size is 18; expected 9"):
        TrainingDays(lake, batch_size=9, world_size=2).load_state_dict(state)
    with pytest.raises(SettingsError, match="seed is 1; expected 0"):
        TrainingDays(lake, batch_size=9, seed=1).load_state_dict(state)
    with pytest.raises(SettingsError, match=r"days is \['2024-03-01'\]; expected \["):
        TrainingDays(lake, batch_size=9, days=["2024-03-01"]).load_state_dict(state)
    with pytest.raises(SettingsError, match="state is of version None"):
        TrainingDays(lake, batch_size=9).load_state_dict({})


def ranks(
    lake: Path, world_size: int, state: Any = None, *, step: int = 8, **options: Any
) -> list[TrainingDays]:
    """Loaders that share steps of ``step`` examples, all of which go on from ``state``."""
    loaders = [
        TrainingDays(
            lake,
            batch_size=step // world_size,
            world_size=world_size,
            rank=rank,
            extras=["identity"],
            seed=3,
            **options,
        )
        for rank in range(world_size)
    ]
    for loader in loaders if state else ():
        loader.load_state_dict(json.loads(json.dumps(state)))
    return loaders


def examples(batches: Any) -> list[Any]:
    found = []
    for batch in batches:
        assert batch.identity is not None
        found += [(batch.dt, row) for row in batch.identity.rows.tolist()]
    return sorted(found)


def in_step(loaders: list[TrainingDays]) -> Iterator[list[Any]]:
    """Examples of the steps of loaders that each give a batch in turn."""
    for batches in zip(*loaders, strict=True):
        yield examples(batches)


@pytest.mark.parametrize(("step", "drop_last"), [(8, True), (24, False)])
@pytest.mark.parametrize("shuffle", ["examples", "histories"])
def test_ranks_may_change_within_an_epoch(
    lake: Path, step: int, drop_last: bool, shuffle: Any
) -> None:
    """1 -> 2 -> 4 -> 1 ranks: each step has the examples it would have had."""
    options: Any = {"drop_last": drop_last, "shuffle": shuffle, "step": step}
    expected = [step for _ in range(2) for step in in_step(ranks(lake, 1, **options))]
    found: list[Any] = []
    state = None
    for world_size, num_steps in ((1, 1), (2, 2), (4, 2), (1, len(expected) // 2 - 5)):
        loaders = ranks(lake, world_size, state, **options)
        found += islice(in_step(loaders), num_steps)
        states = [loader.state_dict() for loader in loaders]
        assert all(other == states[0] for other in states)
        state = states[0]
    seen = [example for examples_of_step in found for example in examples_of_step]
    assert len(seen) == len(set(seen))
    assert found == expected[: len(expected) // 2]
    assert state is not None
    assert state["epoch"] == 1


@pytest.mark.parametrize("num_steps", range(0, 14))
@pytest.mark.parametrize("world_size", [2, 4, 8])
def test_any_number_of_ranks_goes_on_with_the_very_next_examples(
    lake: Path, num_steps: int, world_size: int
) -> None:
    (alone,) = ranks(lake, 1)
    batches = iter(alone)
    done = examples(next(batches) for _ in range(num_steps))
    rest = [examples(loader) for loader in ranks(lake, world_size, alone.state_dict())]
    assert sorted(sum(rest, done)) == examples(ranks(lake, 1)[0])


def test_ranks_that_are_no_longer_at_one_place_cannot_change(lake: Path) -> None:
    """The second day's last step has one example, so ranks 1 to 3 were in the third already."""
    loader, *_ = ranks(lake, 4)
    batches = iter(loader)
    for _ in range(12):
        assert next(batches).dt < loader.days[2]
    state = loader.state_dict()
    with pytest.raises(SettingsError, match="step of 2024-03-02 had 1 examples for 4 ranks"):
        ranks(lake, 2, state)


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
