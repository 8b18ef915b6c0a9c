"""Publishing a day: old or new, whole, whatever happens at whichever step."""

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from training_assets.errors import PublishError
from training_assets.lake import Lake, publishing, stage_days
from training_assets_tests.reliability.days import (
    DAY,
    TABLE,
    content,
    leftovers,
    publish,
    put_staged,
)


@pytest.mark.parametrize("case", ["exchange", "fallback", "first"])
def test_a_kill_at_any_step_leaves_the_old_day_or_the_new_one(root: Path, case: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.kill_at_every_step", str(root), case],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["steps"] > 40
    before = "absent" if case == "first" else "old"
    assert set(found["repaired"]) == {before, "new"}
    # Without an exchange there is one moment at which the day is away; the next run ends it.
    assert found["seen"].pop("absent", 0) == (
        {"fallback": 1, "exchange": 0}.get(case, found["repaired"].get("absent"))
    )
    assert set(found["seen"]) <= {"old", "new"}


def test_the_same_bytes_are_not_published_again(root: Path) -> None:
    assert publish(root, 3)
    before = content(root)
    stamps = [path.stat().st_ino for path in sorted(root.glob("unified_actions/dt=*/**/*"))]
    assert not publish(root, 3)
    assert content(root) == before
    after = [path.stat().st_ino for path in sorted(root.glob("unified_actions/dt=*/**/*"))]
    assert after == stamps


def test_another_quarantine_is_another_day(root: Path) -> None:
    publish(root, 3)
    with stage_days(Lake(root), [DAY], wait_seconds=0, progress=print) as staging:
        put_staged(staging, 3)
        (fault,) = staging.day_path(TABLE, DAY).rglob("*.pq")
        pq.write_table(pq.ParquetFile(fault).read().slice(1), fault)
        assert staging.publish(TABLE, DAY, {"version": 3})
    (fault,) = Lake(root).day_path(TABLE, DAY).rglob("*.pq")
    assert pq.ParquetFile(fault).metadata.num_rows == 2
    assert leftovers(root) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux to name open files")
def test_all_is_on_the_disk_before_it_is_visible_and_its_name_after(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(root, 1)
    done: list[str] = []
    sync, exchange = os.fsync, publishing._exchange

    def note_sync(handle: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        sync(handle)

    def note_exchange(one: Path, other: Path) -> bool:
        done.append("exchange")
        return exchange(one, other)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(publishing, "_exchange", note_exchange)
    publish(root, 2)
    before, after = done[: done.index("exchange")], done[done.index("exchange") + 1 :]
    assert set(before) == {
        "part-00000.parquet",
        "part-00001.parquet",
        "part-00000.pq",
        "_day.json",
        "source=clicks",
        "_quarantine",
        f"dt={DAY}",
    }
    assert after == [TABLE]


@pytest.mark.parametrize("step", ["_sync_tree", "_exchange", "same_files"])
def test_an_error_at_a_step_leaves_the_day_and_removes_what_was_staged(
    root: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    publish(root, 1)
    before = content(root)

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(publishing, step, fail)
    with pytest.raises(PublishError) as caught:
        publish(root, 2)
    assert "unified_actions: day 2024-05-10 could not be published" in str(caught.value)
    assert "Input/output error" in str(caught.value)
    assert "it stands as it was" in str(caught.value)
    assert content(root) == before
    assert leftovers(root) == []


def test_a_failed_second_rename_puts_the_old_day_back(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(root, 1)
    before = content(root)
    rename = os.rename

    def fail_second(source: Any, target: Any) -> None:
        if "_staging" in str(source):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, target)

    monkeypatch.setattr(publishing, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "rename", fail_second)
    with pytest.raises(PublishError, match="No space left on device"):
        publish(root, 2)
    assert content(root) == before
    assert leftovers(root) == []


@contextmanager
def mounted(path: Path, options: str) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a file system to fill it")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_leaves_the_day_as_it_was(root: Path) -> None:
    lake = root / "small"
    with mounted(lake, "size=300k"):
        publish(lake, 1)
        before = content(lake)
        filler = lake / "filler"
        free = os.statvfs(lake).f_bavail * os.statvfs(lake).f_frsize
        errors = []
        # From no space at all to just enough: it runs out at each step.
        for room in range(0, 64 * 1024, 4096):
            filler.write_bytes(b"")
            filler.write_bytes(b"\0" * (free - room))
            try:
                publish(lake, 2)
            except (PublishError, OSError) as error:
                errors.append(str(error))
                assert content(lake) == before
            else:
                break
            assert leftovers(lake) == []
        assert len(errors) > 3
        assert all("No space left on device" in error for error in errors)
        assert content(lake) != before
        assert leftovers(lake) == []


def test_a_lake_that_cannot_be_written_is_named(root: Path) -> None:
    lake = root / "fixed"
    with mounted(lake, "size=1m"):
        publish(lake, 1)
        before = content(lake)
        subprocess.run(["mount", "-o", "remount,ro", str(lake)], check=True)
        with pytest.raises(PublishError) as caught:
            publish(lake, 2)
        assert str(lake) in str(caught.value)
        assert "Read-only file system" in str(caught.value)
        assert content(lake) == before


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_reader_sees_old_or_new_while_a_day_is_published_again_and_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(publishing, "_exchange", lambda one, other: False)
    publish(root, 1)
    whole = {1: content(root)}
    publish(root, 2)
    whole[2] = content(root)
    ended = threading.Event()

    def write() -> None:
        for n in range(60):
            publish(root, 1 + n % 2)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[Any] = []
    while not ended.is_set():
        try:
            handle = os.open(Lake(root).day_path(TABLE, DAY), os.O_RDONLY)
        except FileNotFoundError:
            seen.append("absent")
            continue
        # Through one open folder: a reader that has it keeps the version that it has.
        names = [name for name in os.listdir(handle) if name.endswith(".parquet")]
        rows = set()
        try:
            for name in names:
                with open(os.open(name, os.O_RDONLY, dir_fd=handle), "rb") as file:
                    rows.add(file.read())
            data = {n: {files[name] for name in names} for n, files in whole.items()}
            seen.append([n for n in whole if rows == data[n]] if names else "gone")
        except FileNotFoundError:
            # The old version was removed meanwhile: an error, never a mixture.
            seen.append("gone")
        finally:
            os.close(handle)
    writer.join()
    assert [] not in seen
    assert [1] in seen or [2] in seen
    if can_exchange:
        assert "absent" not in seen


def test_a_folder_that_appears_at_the_last_moment_is_exchanged(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has locked what is published as a by-product, such as compacted actions."""
    publish(root, 1)
    with monkeypatch.context() as blind:
        blind.setattr(Path, "exists", lambda path: False)
        staged = root / "staged"
        staged.mkdir()
        (staged / "new").touch()
        assert not publishing._appear(staged, Lake(root).day_path(TABLE, DAY))
    assert publishing.publish_folder(staged, root, TABLE, f"dt={DAY}")
    assert list(content(root)) == ["new"]
