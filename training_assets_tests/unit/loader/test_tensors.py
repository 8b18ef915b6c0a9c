"""Tensors equal the NumPy batches: on the host, from workers, gathered on a device."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training_assets.errors import SettingsError
from training_assets.loader import Batch, TrainingDays
from training_assets_tests.support.loader_lakes import random_days, write_lake

torch = pytest.importorskip("torch")

LAYOUTS = ["expanded", "deduplicated", "jagged"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake"), random_days(30))


def loader(lake: Path, layout: Any = "expanded", **options: Any) -> TrainingDays:
    extras: Any = {"days_ago", "lengths", "identity"}
    extras |= {"mask"} if layout != "jagged" else set()
    return TrainingDays(lake, batch_size=16, layout=layout, extras=extras, length=8, **options)


def assert_same(tensors: Batch[Any], arrays: Batch[Any]) -> None:
    for found, expected in ((tensors, arrays), (tensors.identity, arrays.identity)):
        for name, values in vars(expected).items():
            if not isinstance(values, np.ndarray):
                continue
            other = vars(found)[name]
            assert name == "ranking_ids" or isinstance(other, torch.Tensor), name
            np.testing.assert_array_equal(np.asarray(other), values, err_msg=name)
            assert np.asarray(other).dtype == values.dtype, name


@pytest.mark.parametrize(
    ("layout", "num_workers"),
    [*((layout, 0) for layout in LAYOUTS), ("expanded", 1), ("deduplicated", 2)],
)
def test_tensors_are_the_numpy_batches(lake: Path, layout: Any, num_workers: int) -> None:
    arrays = list(loader(lake, layout))
    tensors = list(loader(lake, layout).tensors(num_workers=num_workers))
    assert len(tensors) == len(arrays)
    for one, other in zip(tensors, arrays, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dense_limit_bytes", [0, 2**30])
@pytest.mark.parametrize("fits", [True, False])
def test_device_mode_gathers_the_same_batches(
    lake: Path,
    layout: Any,
    dense_limit_bytes: int,
    fits: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    arrays = list(loader(lake, layout))
    days = loader(lake, layout, dense_limit_bytes=dense_limit_bytes)
    tensors = days.tensors(device_limit_bytes=2**30 if fits else 10)
    # There is no GPU here, so the CPU plays the other device.
    monkeypatch.setattr(tensors, "_is_host", False)
    with caplog.at_level(logging.WARNING):
        found = list(tensors)
    for one, other in zip(found, arrays, strict=True):
        assert_same(one, other)
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == (0 if fits else 3)
    if not fits:
        assert "2024-03-01: the day holds" in warned[0]
        assert "gathered in pinned host memory" in warned[0]


def test_tensors_go_into_an_embedding_as_they_are(lake: Path) -> None:
    embedding = torch.nn.Embedding(400, 2)
    batch = next(iter(loader(lake).tensors()))
    assert batch.days_ago is not None
    for values in (batch.impressions, batch.actions, batch.action_types, batch.days_ago):
        assert embedding(values).shape == (*values.shape, 2)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resume_with_workers_equals_uninterrupted(lake: Path, num_workers: int) -> None:
    def impressions(batches: Any) -> list[Any]:
        return [batch.impressions.tolist() for batch in batches]

    whole = impressions(loader(lake).tensors())
    first = loader(lake)
    stream = iter(first.tensors(num_workers=num_workers))
    seen = impressions(next(stream) for _ in range(4))
    state = json.loads(json.dumps(first.state_dict()))
    del stream
    second = loader(lake)
    second.load_state_dict(state)
    assert seen + impressions(second.tensors(num_workers=num_workers)) == whole
    assert second.epoch == 1


def test_a_dataloader_of_ones_own(lake: Path) -> None:
    days = loader(lake)
    expected = [batch.impressions.tolist() for batch in days]
    days.set_epoch(0)
    own = torch.utils.data.DataLoader(days.dataset(), batch_size=None, num_workers=2)
    assert [batch.impressions.tolist() for batch in own] == expected
    assert len(own) == len(expected)


def test_a_kept_tensor_is_not_overwritten(lake: Path) -> None:
    kept = [(b.actions, b.actions.clone()) for b in loader(lake).tensors()]
    for tensor, copy in kept:
        assert torch.equal(tensor, copy)


def test_a_tensor_that_nobody_holds_gives_its_memory_to_the_next(lake: Path) -> None:
    days = loader(lake, drop_last=True)
    assert len(days) > 3
    assert len(set(map(place_of, days.tensors()))) == 1


def place_of(batch: Batch[Any]) -> int:
    return int(batch.actions.data_ptr())


def test_workers_and_device_mode_exclude_each_other(lake: Path) -> None:
    with pytest.raises(SettingsError, match="num_workers is 2 with device meta; expected 0"):
        loader(lake).tensors("meta", num_workers=2)


def test_numpy_batches_need_neither_torch_nor_an_engine(lake: Path) -> None:
    code = (
        "import sys; from training_assets.loader import TrainingDays; "
        f"next(iter(TrainingDays({str(lake)!r}, batch_size=4))); "
        "print([m for m in ('torch', 'pyspark', 'dagster', 'pandas') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
