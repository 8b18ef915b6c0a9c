"""torchdata's StatefulDataLoader and Lightning's checkpoints keep the position by themselves."""

import copy
import json
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from training_assets.errors import SettingsError
from training_assets.loader import TrainingDays
from training_assets_tests.support.loader_lakes import random_days, write_lake

torch = pytest.importorskip("torch")
STEP = 12


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake"), random_days(11, 3))


def training_days(lake: Path, world_size: int = 1, rank: int = 0, **options: Any) -> TrainingDays:
    return TrainingDays(
        lake,
        batch_size=STEP // world_size,
        world_size=world_size,
        rank=rank,
        extras=["identity"],
        seed=5,
        **options,
    )


def rows(batch: Any) -> Any:
    return batch.dt, tuple(batch.identity.rows.tolist())


def epochs(lake: Path, number: int) -> list[list[Any]]:
    days = training_days(lake)
    return [[rows(batch) for batch in days] for _ in range(number)]


# ---------------------------------------------------------------------------- StatefulDataLoader


def stateful(days: TrainingDays, num_workers: int, persistent_workers: bool = False) -> Any:
    found = pytest.importorskip("torchdata.stateful_dataloader")
    return found.StatefulDataLoader(
        days.dataset(),
        batch_size=None,
        num_workers=num_workers,
        persistent_workers=persistent_workers,
    )


def require_refused(loader: Any, words: str, *others: Any) -> None:
    """That the first batch is refused for this reason; its workers, and those of others, end.

    The error holds them until Python's collector comes, which closes their queues first; then
    nothing tells them to end, and each is waited for, five seconds.
    """
    with pytest.raises(SettingsError, match=words) as refused:
        next(iter(loader))
    batches = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(refused.tb)]
    for iterator in (*batches, *(other._iterator for other in others)):
        if hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()


WORKERS = [(0, False), (1, False), (2, False), (2, True), (3, False)]


# In the middle; with two workers, at the start, at each of their turns and before the last batch.
SEEN = [(workers, 5) for workers in WORKERS]
SEEN += [((0, False), 0), ((0, False), 12), ((2, True), 0), ((2, True), 12)]
SEEN += [((2, False), seen) for seen in (0, 1, 2, 12)]


@pytest.mark.parametrize(("workers", "num_seen"), SEEN)
def test_a_stateful_dataloader_goes_on_with_the_very_next_batch(
    lake: Path, workers: tuple[int, bool], num_seen: int
) -> None:
    num_workers, persistent_workers = workers
    _, second, third = epochs(lake, 3)
    assert len(second) == 13
    loader = stateful(training_days(lake), num_workers, persistent_workers)
    list(loader)
    batches = iter(loader)
    seen = [rows(next(batches)) for _ in range(num_seen)]
    state = copy.deepcopy(loader.state_dict())
    resumed = stateful(training_days(lake), num_workers, persistent_workers)
    resumed.load_state_dict(state)
    assert seen + [rows(batch) for batch in resumed] == second
    assert [rows(batch) for batch in resumed] == third


@pytest.mark.parametrize(("num_workers", "persistent_workers"), WORKERS)
def test_a_loader_and_one_with_its_state_of_a_whole_epoch_give_epoch_after_epoch(
    lake: Path, num_workers: int, persistent_workers: bool
) -> None:
    first, *others = epochs(lake, 3)
    loader = stateful(training_days(lake), num_workers, persistent_workers)
    assert [rows(batch) for batch in loader] == first
    state = copy.deepcopy(loader.state_dict())
    assert [[rows(batch) for batch in loader] for _ in range(2)] == others
    resumed = stateful(training_days(lake), num_workers, persistent_workers)
    resumed.load_state_dict(state)
    assert [[rows(batch) for batch in resumed] for _ in range(2)] == others


@pytest.mark.parametrize("num_workers", [0, 2])
def test_its_state_is_continued_by_another_number_of_ranks(lake: Path, num_workers: int) -> None:
    """1 -> 2 -> 4 -> 1 ranks, in the middle of an epoch: every example once."""
    whole = sorted((dt, row) for dt, numbers in epochs(lake, 1)[0] for row in numbers)
    state, seen = None, []
    for world_size, num_steps in ((1, 3), (2, 3), (4, 4), (1, 100)):
        ranks = [
            stateful(training_days(lake, world_size, rank), num_workers)
            for rank in range(world_size)
        ]
        for loader in ranks if state else ():
            loader.load_state_dict(copy.deepcopy(state))
        for _, *batches in zip(range(num_steps), *ranks, strict=False):
            seen += [(batch.dt, row) for batch in batches for row in batch.identity.rows.tolist()]
        state = ranks[0].state_dict()
    assert sorted(seen) == whole


def test_workers_of_a_rank_with_other_batches_do_not_go_on(lake: Path) -> None:
    """Steps of 8 leave one example on the second day, of which rank 1 gets none."""

    def loader(world_size: int, rank: int, num_workers: int) -> Any:
        days = TrainingDays(lake, batch_size=8 // world_size, world_size=world_size, rank=rank)
        return stateful(days, num_workers)

    whole = loader(1, 0, 2)
    next(iter(whole))
    other = loader(2, 1, 2)
    other.load_state_dict(whole.state_dict())
    require_refused(other, "last step of 2024-03-02 has 1 examples; expected one", whole)


# ------------------------------------------------------------------------------------- Lightning


def module(seen: list[Any]) -> Any:
    lightning = pytest.importorskip("lightning")

    class Counting(lightning.LightningModule):
        """Learns nothing and writes down what it was given."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            seen.append(rows(batch))
            return self.layer(batch.labels[:, None]).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Counting()


def trainer(root: Path, **options: Any) -> Any:
    lightning = pytest.importorskip("lightning")
    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=root,
        **options,
    )


LOADERS = {
    "tensors": lambda days: days.tensors(),
    "tensors from workers": lambda days: days.tensors(num_workers=2),
    "StatefulDataLoader": lambda days: stateful(days, 0),
    "StatefulDataLoader, workers": lambda days: stateful(days, 2),
    "StatefulDataLoader, kept workers": lambda days: stateful(days, 2, persistent_workers=True),
}


MOMENTS: dict[str, tuple[int, dict[str, int]]] = {
    "in the first epoch": (5, {"every_n_train_steps": 5}),
    "after the first epoch": (13, {"every_n_epochs": 1}),
    "in the second epoch": (18, {"every_n_train_steps": 18}),
    "at the last step of the first epoch": (13, {"every_n_train_steps": 13}),
}


# Lightning 2.6 restores no state of any StatefulDataLoader from there.
NOT_KEPT = ("after the first epoch", "at the last step of the first epoch")


@pytest.fixture(scope="module")
def uninterrupted(
    lake: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[Any]]:
    """The batches of three epochs in one go, by the kind of loader."""

    @cache
    def fit(kind: str) -> list[Any]:
        whole: list[Any] = []
        root = tmp_path_factory.mktemp("whole")
        trainer(root, max_epochs=3, enable_checkpointing=False).fit(
            module(whole), LOADERS[kind](training_days(lake))
        )
        assert len(whole) == 39
        assert len({tuple(whole[n : n + 13]) for n in (0, 13, 26)}) == 3
        return whole

    return fit


FEW = ("after the first epoch", "in the second epoch")
# Every moment and every loader, and all of both where the state comes from workers.
CASES = [
    (kind, moment)
    for kind in LOADERS
    for moment in MOMENTS
    if not ("Stateful" in kind and moment in NOT_KEPT)
    and (kind == "tensors from workers" or moment in FEW)
]


@pytest.mark.parametrize(("kind", "moment"), CASES)
def test_a_lightning_checkpoint_keeps_the_position(
    lake: Path, tmp_path: Path, uninterrupted: Callable[[str], list[Any]], kind: str, moment: str
) -> None:
    callbacks = pytest.importorskip("lightning.pytorch.callbacks")
    whole = uninterrupted(kind)
    num_steps, when = MOMENTS[moment]
    seen: list[Any] = []
    keep = callbacks.ModelCheckpoint(dirpath=tmp_path, filename="at", **when)
    trainer(tmp_path, max_steps=num_steps, callbacks=[keep]).fit(
        module(seen), LOADERS[kind](training_days(lake))
    )
    assert seen == whole[:num_steps]
    trainer(tmp_path, max_epochs=3, enable_checkpointing=False).fit(
        module(seen),
        LOADERS[kind](training_days(lake)),
        ckpt_path=tmp_path / "at.ckpt",
        weights_only=False,
    )
    assert seen == whole


def test_epochs_that_lightning_cuts_short_differ(lake: Path, tmp_path: Path) -> None:
    seen: list[Any] = []
    options: Any = {"max_epochs": 3, "limit_train_batches": 2, "enable_checkpointing": False}
    trainer(tmp_path, **options).fit(module(seen), training_days(lake).tensors())
    assert seen == [batch for epoch in epochs(lake, 3) for batch in epoch[:2]]


def test_another_trainer_goes_on_with_other_epochs(lake: Path, tmp_path: Path) -> None:
    seen: list[Any] = []
    days = training_days(lake)
    for _ in range(3):
        options: Any = {"max_epochs": 1, "enable_checkpointing": False}
        trainer(tmp_path, **options).fit(module(seen), days.tensors())
    assert seen == [batch for epoch in epochs(lake, 3) for batch in epoch]


def test_states_are_plain_values(lake: Path) -> None:
    days = training_days(lake)
    next(iter(days.tensors()))
    assert json.loads(json.dumps(days.tensors().state_dict())) == days.state_dict()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_days_published_meanwhile_do_not_disturb_and_those_published_anew_are_refused(
    tmp_path: Path, num_workers: int
) -> None:
    first, second, third = random_days(11, 3)
    write_lake(tmp_path, [first, second])
    days = {"days": [first.dt, second.dt]}
    expected = [rows(batch) for batch in training_days(tmp_path, **days)]
    loader = stateful(training_days(tmp_path, **days), num_workers)
    batches = iter(loader)
    seen = [rows(next(batches)) for _ in range(3)]
    state = copy.deepcopy(loader.state_dict())
    write_lake(tmp_path, [third])
    resumed = stateful(training_days(tmp_path, **days), num_workers)
    resumed.load_state_dict(state)
    assert seen + [rows(batch) for batch in resumed] == expected
    write_lake(tmp_path, [replace(second, rows=second.rows[::-1])])
    again = stateful(training_days(tmp_path, **days), num_workers)
    again.load_state_dict(state)
    require_refused(again, r"not those of the state, .*published anew", loader)
