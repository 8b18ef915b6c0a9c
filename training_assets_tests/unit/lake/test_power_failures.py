"""A local disk may lose what was not synced: a commit or a checkpoint comes back cut short."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from training_assets.errors import StoreError
from training_assets.lake import PUBLISHED, LocalStore
from training_assets.lake.log import CHECKPOINT_EVERY, LOG
from training_assets.lake.repair import remove_cut_files
from training_assets_tests.support.published_days import (
    DAYS,
    look,
    numbers_of,
    publish_days,
    rows_by_delta,
)

A, B, C = DAYS[:3]

_CUTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "all but its last byte": lambda data: data[:-1],
    "zeros": lambda data: bytes(len(data)),
    "zeros at the end": lambda data: data[:50] + bytes(len(data) - 50),
}


def _newest(store: LocalStore, pattern: str) -> Path:
    return sorted((store.root / LOG).glob(pattern))[-1]


def _cut(path: Path, how: str) -> None:
    path.write_bytes(_CUTS[how](path.read_bytes().rstrip(b"\n")))


@pytest.mark.parametrize("how", _CUTS)
def test_a_commit_that_was_cut_short_did_not_happen(local: LocalStore, how: str) -> None:
    publish_days(local, [A, B])
    before = look(local)
    publish_days(local, [A], number=2)
    _cut(_newest(local, "*.json"), how)
    assert look(local).files == before.files
    assert publish_days(local, [A, C], number=3) == {A: PUBLISHED, C: PUBLISHED}
    assert numbers_of(look(local), A) == [3] * 6
    assert rows_by_delta(local) == {A: 6, B: 6, C: 6}


@pytest.mark.parametrize("how", _CUTS)
def test_a_first_commit_that_was_cut_short_made_no_table(local: LocalStore, how: str) -> None:
    publish_days(local, [A])
    _newest(local, "*1.json").unlink()
    _cut(_newest(local, "*.json"), how)
    assert look(local).version == -1
    assert publish_days(local, [A]) == {A: PUBLISHED}


@pytest.mark.parametrize("how", _CUTS)
@pytest.mark.parametrize("name", ["*.checkpoint.parquet", "_last_checkpoint"])
def test_a_checkpoint_that_was_cut_short_is_done_without(
    local: LocalStore, how: str, name: str
) -> None:
    for n in range(CHECKPOINT_EVERY + 2):
        publish_days(local, [DAYS[n % 14]], number=n)
    before = look(local)
    _cut(_newest(local, name), how)
    assert look(local) == before
    assert publish_days(local, [A], number=99) == {A: PUBLISHED}
    assert rows_by_delta(local) == dict.fromkeys(DAYS, 6)


def test_a_whole_log_is_left_alone(local: LocalStore) -> None:
    for n in range(CHECKPOINT_EVERY):
        publish_days(local, [A], number=n)
    before = local.list(LOG)
    assert not remove_cut_files(local.root / LOG)
    assert local.list(LOG) == before
    assert not remove_cut_files(local.root / "none")


def test_a_commit_within_the_log_is_never_removed(local: LocalStore) -> None:
    publish_days(local, [A])
    publish_days(local, [B])
    path = local.root / LOG / f"{1:020d}.json"
    _cut(path, "half")
    with pytest.raises(StoreError, match=r"the log under .* cannot be read"):
        look(local)
    assert path.exists()


def test_of_many_that_find_a_cut_commit_none_removes_what_is_committed_in_its_place(
    local: LocalStore,
) -> None:
    publish_days(local, [A])
    publish_days(local, [B])
    path = _newest(local, "*.json")
    whole = path.read_bytes()
    for _ in range(50):
        path.write_bytes(whole[:100])
        fresh = path.with_name("fresh")
        fresh.write_bytes(whole)
        barrier = threading.Barrier(5)
        threads = [
            threading.Thread(target=lambda b=barrier: (b.wait(), remove_cut_files(path.parent)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        barrier.wait()
        _link_when_free(fresh, path)
        for thread in threads:
            thread.join()
        assert path.read_bytes() == whole
        fresh.unlink()


def _link_when_free(fresh: Path, path: Path) -> None:
    while True:
        try:
            return os.link(fresh, path)
        except FileExistsError:
            continue
