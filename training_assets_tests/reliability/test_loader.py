"""A loader while days are published anew: the old version, the new one, or a clear error."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training_assets.errors import DayNotPublishedError
from training_assets.lake import publishing
from training_assets.loader import TrainingDays, published
from training_assets_tests.support.loader_lakes import FIRST_DAY, PlainDay, random_days, write_lake

TABLES = ("customer_history", "training_input")


def version(root: Path, seed: int) -> tuple[Path, PlainDay]:
    """A lake with one day; both tables say which version of the histories they are of."""
    (day,) = random_days(seed, num_days=1)
    lake = write_lake(root / f"version-{seed}", [day], num_files=2)
    content = f"{seed:08d}" * 4
    change(lake, "customer_history", content=content)
    upstream = {"customer_history": {str(FIRST_DAY): content[:8]}}
    change(lake, "training_input", built_from={"upstream": upstream})
    return lake, day


def folder(lake: Path, table: str) -> Path:
    return lake / table / f"dt={FIRST_DAY}"


def change(lake: Path, table: str, **entries: Any) -> None:
    path = folder(lake, table) / "_day.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def exchange(lake: Path, other: Path, *tables: str) -> None:
    for table in tables:
        assert publishing._exchange(folder(lake, table), folder(other, table))


def labels(lake: Path) -> list[float]:
    return sorted(np.concatenate([b.labels for b in TrainingDays(lake, batch_size=64)]).tolist())


@pytest.fixture
def lakes(root: Path) -> tuple[Path, Path, PlainDay, PlainDay]:
    """The published lake, and another version of its day."""
    (old, old_day), (new, new_day) = version(root, 1), version(root, 2)
    return old, new, old_day, new_day


def on_call(
    monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None], *, times: int = 1
) -> None:
    """Let ``act`` happen right after the first calls of a function that opens a day."""
    whole = getattr(published, name)
    calls = 0

    def wrapped(*args: Any, **knobs: Any) -> Any:
        nonlocal calls
        result = whole(*args, **knobs)
        calls += 1
        if calls <= times:
            act()
        return result

    monkeypatch.setattr(published, name, wrapped)


def test_a_day_exchanged_between_manifest_and_files_is_opened_again(
    lakes: tuple[Path, Path, PlainDay, PlainDay], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, other, _, new = lakes
    on_call(monkeypatch, "_read_manifest", lambda: exchange(lake, other, *TABLES))
    days = TrainingDays(lake, batch_size=64)
    assert days.num_examples == len(new.rows)
    assert sum(len(batch.labels) for batch in days) == len(new.rows)


def test_a_day_that_is_never_still_is_an_error(
    lakes: tuple[Path, Path, PlainDay, PlainDay], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, other, _, _ = lakes
    on_call(monkeypatch, "_read_manifest", lambda: exchange(lake, other, *TABLES), times=99)
    with pytest.raises(DayNotPublishedError, match="published anew 5 times while it was opened"):
        TrainingDays(lake, batch_size=64)


def test_a_day_exchanged_after_it_was_opened_is_an_error_at_its_first_read(
    lakes: tuple[Path, Path, PlainDay, PlainDay],
) -> None:
    lake, other, _, _ = lakes
    days = TrainingDays(lake, batch_size=64)
    exchange(lake, other, *TABLES)
    with pytest.raises(DayNotPublishedError, match=r"Was the day published anew\? Open it again"):
        list(days)
    assert len(labels(lake)) == TrainingDays(lake, batch_size=64).num_examples


def test_another_file_of_the_same_size_is_told_from_the_one_that_was_opened(
    lakes: tuple[Path, Path, PlainDay, PlainDay],
) -> None:
    lake, _, _, _ = lakes
    days = TrainingDays(lake, batch_size=64)
    for file in folder(lake, "training_input").glob("*.parquet"):
        shutil.copyfile(file, file.with_suffix(".copy"))
        os.rename(file.with_suffix(".copy"), file)
    with pytest.raises(DayNotPublishedError, match=r"part-.* is of \d+ bytes and \d+ ns"):
        list(days)


def test_a_file_that_is_gone_is_an_error_that_says_so(
    lakes: tuple[Path, Path, PlainDay, PlainDay],
) -> None:
    lake, _, _, _ = lakes
    days = TrainingDays(lake, batch_size=64)
    shutil.rmtree(folder(lake, "customer_history"))
    with pytest.raises(DayNotPublishedError, match="is absent; expected of"):
        list(days)


def test_rows_and_histories_of_different_versions_are_not_mixed(
    lakes: tuple[Path, Path, PlainDay, PlainDay],
) -> None:
    lake, other, old, _ = lakes
    exchange(lake, other, "customer_history")
    with pytest.raises(DayNotPublishedError) as caught:
        TrainingDays(lake, batch_size=64)
    message = str(caught.value)
    assert "training_input of 2024-03-01: built from histories 00000001…" in message
    assert "customer_history of the day is 00000002…" in message
    whole = TrainingDays(lake, batch_size=64, source="training_input")
    assert whole.num_examples == len(old.rows)
    exchange(lake, other, "training_input")
    assert TrainingDays(lake, batch_size=64).num_examples > 0


def test_reading_again_and_again_while_days_are_exchanged(
    lakes: tuple[Path, Path, PlainDay, PlainDay],
) -> None:
    lake, other, _, _ = lakes
    whole = [labels(lake), labels(other)]
    versions = [shutil.copytree(of, of.parent / f"kept-{of.name}") for of in (other, lake)]
    ended = threading.Event()

    def write() -> None:
        for number in range(150):
            # Files of their own each time, as every run writes them.
            fresh = lake.parent / f"fresh-{number}"
            shutil.copytree(versions[number % 2], fresh, copy_function=shutil.copy)
            exchange(lake, fresh, *TABLES)
            ended.wait(0.005)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[Any] = []
    while not ended.is_set():
        try:
            seen.append(labels(lake))
        except DayNotPublishedError:
            seen.append("published anew")
    writer.join()
    assert all(found == "published anew" or found in whole for found in seen)
    assert labels(lake) in whole
