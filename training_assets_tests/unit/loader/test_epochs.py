"""Epochs differ by themselves in every way to iterate, and a seed gives the same ones again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from training_assets.errors import SettingsError
from training_assets.loader import TrainingDays
from training_assets_tests.support.loader_lakes import random_days, write_lake

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

Epoch = list[Any]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake"), random_days(11, 2))


def training_days(lake: Path, seed: int = 5) -> TrainingDays:
    return TrainingDays(lake, batch_size=9, extras=["identity"], seed=seed)


def loader_of(days: TrainingDays, num_workers: int = 0, **options: Any) -> Any:
    return DataLoader(days.dataset(), batch_size=None, num_workers=num_workers, **options)


def again(loader: Any) -> Iterator[Any]:
    while True:
        yield loader


def plain(days: TrainingDays) -> Iterator[Any]:
    return again(days)


def tensors(days: TrainingDays) -> Iterator[Any]:
    return again(days.tensors())


def tensors_from_workers(days: TrainingDays) -> Iterator[Any]:
    return again(days.tensors(num_workers=2))


def own_loader(days: TrainingDays) -> Iterator[Any]:
    return again(loader_of(days))


def own_workers(days: TrainingDays) -> Iterator[Any]:
    return again(loader_of(days, 2))


def own_kept_workers(days: TrainingDays) -> Iterator[Any]:
    return again(loader_of(days, 2, persistent_workers=True))


def a_loader_each(days: TrainingDays) -> Iterator[Any]:
    """Another DataLoader every epoch, with other numbers of workers."""
    for num_workers in (1, 3, 2, 0, 1, 2):
        yield loader_of(days, num_workers)


def seeded_each(days: TrainingDays) -> Iterator[Any]:
    """The same base seed every epoch, as where torch.manual_seed is called before each."""
    while True:
        torch.manual_seed(1)
        yield loader_of(days, 2)


def mixed(days: TrainingDays) -> Iterator[Any]:
    yield from (days, loader_of(days, 2), days.tensors(), loader_of(days), days.tensors())


WAYS = [
    plain,
    tensors,
    tensors_from_workers,
    own_loader,
    own_workers,
    own_kept_workers,
    a_loader_each,
    seeded_each,
    mixed,
]


def rows(batch: Any) -> Any:
    return batch.dt, tuple(batch.identity.rows.tolist())


@pytest.fixture(scope="module")
def expected(lake: Path) -> list[Epoch]:
    days = training_days(lake)
    return [[rows(batch) for batch in days] for _ in range(4)]


@pytest.mark.parametrize("way", WAYS)
def test_epochs_follow_each_other(lake: Path, way: Callable[..., Any], expected: Any) -> None:
    """So they differ, each has every example once, and each way gives the same for a seed."""
    loaders = way(training_days(lake))
    found = [[rows(batch) for batch in next(loaders)] for _ in range(4)]
    assert found == expected
    assert len({epoch[0] for epoch in found}) == 4
    for epoch in found:
        seen = [(dt, row) for dt, numbers in epoch for row in numbers]
        assert len(seen) == len(set(seen)) == training_days(lake).num_examples


@pytest.mark.parametrize("way", WAYS)
def test_an_iteration_that_is_left_early_is_followed_by_the_next_epoch(
    lake: Path, way: Callable[..., Any], expected: Any
) -> None:
    loaders = way(training_days(lake))
    assert [rows(next(iter(next(loaders)))) for _ in range(3)] == [e[0] for e in expected[:3]]
    assert [rows(batch) for batch in next(loaders)] == expected[3]


def test_another_seed_gives_other_epochs(lake: Path, expected: Any) -> None:
    found = [rows(batch) for batch in loader_of(training_days(lake, seed=6), 2)]
    assert found not in expected


@pytest.mark.parametrize("persistent_workers", [True, False])
def test_set_epoch_reaches_workers_that_are_there(
    lake: Path, expected: Any, persistent_workers: bool
) -> None:
    days = training_days(lake)
    loader = loader_of(days, 2, persistent_workers=persistent_workers)
    assert [rows(batch) for batch in loader] == expected[0]
    days.set_epoch(0)
    assert [rows(batch) for batch in loader] == expected[0]
    assert [rows(batch) for batch in loader] == expected[1]
    days.set_epoch(3)
    assert [rows(batch) for batch in loader] == expected[3]
    assert days.epoch == 3


def test_workers_that_are_spawned_share_the_epochs(lake: Path, expected: Any) -> None:
    # One, since each takes seconds to import torch in every epoch.
    loader = loader_of(training_days(lake), 1, multiprocessing_context="spawn")
    assert [[rows(batch) for batch in loader] for _ in range(2)] == expected[:2]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_state_is_continued_by_a_dataloader(lake: Path, expected: Any, num_workers: int) -> None:
    first = training_days(lake)
    batches = iter(first)
    seen = [rows(next(batches)) for _ in range(4)]
    days = training_days(lake)
    days.load_state_dict(first.state_dict())
    loader = loader_of(days, num_workers)
    assert seen + [rows(batch) for batch in loader] == expected[0]
    assert [rows(batch) for batch in loader] == expected[1]


def test_a_position_that_workers_alone_know_is_not_made_up(lake: Path) -> None:
    days = training_days(lake)
    for _ in loader_of(days, 1):
        break
    with pytest.raises(SettingsError, match="iteration is by workers of a DataLoader, which do"):
        days.state_dict()
    days.set_epoch(1)
    assert days.state_dict()["epoch"] == 1


def test_a_rank_without_examples_has_epochs_too(lake: Path) -> None:
    days = TrainingDays(lake, batch_size=10_000, drop_last=True)
    assert [list(days), list(days)] == [[], []]
    assert days.epoch == 2
