"""Day locks: who is excluded, for how long, and what the one that waits is told."""

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from training_assets.errors import DayLockedError, PublishError, SettingsError
from training_assets.lake import Lake, Staging, locks, stage_days
from training_assets.settings import Settings
from training_assets_tests.reliability.days import DAY, leftovers

HOLDER = """
import sys
from datetime import date
from pathlib import Path
from training_assets.lake.lake import Lake
from training_assets.lake.staging import stage_days
days = [date.fromisoformat(text) for text in sys.argv[2:]]
with stage_days(Lake(Path(sys.argv[1])), days, wait_seconds=0, progress=print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["open file", "process"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of kernel locks; the second is for systems that lack the first."""
    if request.param == "process":
        monkeypatch.setattr(locks, "_SET_LOCK", None)
    return str(request.param)


def hold(
    root: Path, *days: date, wait_seconds: float = 0, said: list[str] | None = None
) -> contextlib.AbstractContextManager[Staging]:
    progress = said.append if said is not None else print
    return stage_days(Lake(root), days, wait_seconds=wait_seconds, progress=progress)


@contextlib.contextmanager
def other_process(root: Path, *days: date) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), *map(str, days)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def after(days: int) -> date:
    return DAY + timedelta(days=days)


def test_another_process_is_excluded_and_told_by_whom(kind: str, root: Path) -> None:
    with other_process(root, DAY, after(1)) as holder:
        with pytest.raises(DayLockedError) as caught, hold(root, after(-1), DAY):
            pass
        message = str(caught.value)
        assert "one of the days 2024-05-09 to 2024-05-10 is being built" in message
        assert f"process {holder.pid} on {socket.gethostname()} since 20" in message
        assert "not free within 0 s" in message
        assert "Run again when that run has ended, or raise TRAINING_ASSETS_LOCK_WAIT" in message
        with hold(root, after(-1)), hold(root, after(2)):
            pass


def test_a_killed_process_holds_nothing_and_leaves_nothing(kind: str, root: Path) -> None:
    with other_process(root, DAY) as holder:
        assert [name for name in leftovers(root) if name.endswith("_run.json")]
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with hold(root, DAY):
            assert len(list((root / "_staging").iterdir())) == 1
    assert leftovers(root) == []


def test_a_second_build_in_the_same_process_is_excluded(kind: str, root: Path) -> None:
    with hold(root, DAY):
        with pytest.raises(DayLockedError, match="day 2024-05-10 is being built"):
            hold(root, DAY).__enter__()
        # The refused one has not taken the lock of the other along.
        with pytest.raises(DayLockedError):
            hold(root, DAY).__enter__()
        with hold(root, after(1)):
            assert len(list((root / "_staging").iterdir())) == 2
    with hold(root, DAY):
        pass
    assert leftovers(root) == []


def test_waiting_is_announced_once_and_ends_with_the_lock(kind: str, root: Path) -> None:
    said: list[str] = []
    holder = hold(root, DAY)
    holder.__enter__()
    threading.Timer(0.4, holder.__exit__, (None, None, None)).start()
    started = time.monotonic()
    with hold(root, DAY, wait_seconds=30, said=said):
        waited = time.monotonic() - started
    assert 0.2 < waited < 10
    (line,) = said
    assert line.startswith(f"waiting for day 2024-05-10, being built by process {os.getpid()} on")


def test_waiting_has_an_end(kind: str, root: Path) -> None:
    with hold(root, DAY):
        started = time.monotonic()
        with pytest.raises(DayLockedError, match=r"not free within 0\.3 s"):
            hold(root, DAY, wait_seconds=0.3).__enter__()
        assert 0.3 <= time.monotonic() - started < 5


def test_runs_over_overlapping_days_in_any_order_do_not_wait_for_each_other(root: Path) -> None:
    orders = [[after(n) for n in (0, 2, 4)], [after(n) for n in (4, 2, 0)], [after(2), after(4)]]
    done: list[int] = []

    def run(days: list[date]) -> None:
        for _ in range(5):
            with hold(root, *days, wait_seconds=60):
                done.append(len(days))

    threads = [threading.Thread(target=run, args=(days,)) for days in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 15


def test_left_overs_of_the_living_are_left_alone(root: Path) -> None:
    with other_process(root, DAY), hold(root, after(5)) as mine:
        others = [path for path in (root / "_staging").iterdir() if path != mine.path]
        with hold(root, after(7)):
            assert all((path / "_run.json").exists() for path in others)
        assert len(others) == 1


def test_a_file_system_without_locks_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with pytest.raises(PublishError, match=r"No locks available.*NFS: mounted without nolock"):
        hold(root, DAY).__enter__()


def test_wait_is_a_setting() -> None:
    assert Settings.from_env({}).lock_wait_seconds == 3600
    assert Settings.from_env({"TRAINING_ASSETS_LOCK_WAIT": "0"}).lock_wait_seconds == 0
    with pytest.raises(SettingsError, match="lock_wait_seconds is -1; expected at least 0"):
        Settings.from_env({"TRAINING_ASSETS_LOCK_WAIT": "-1"})
