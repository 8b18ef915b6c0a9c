"""Locks that say whether the process of a run still lives."""

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training_assets.cli import process_locks
from training_assets.cli.process_locks import Locks
from training_assets.errors import SettingsError

HOLDER = """
import sys
from pathlib import Path
from training_assets.cli.process_locks import Locks
with Locks.of_processes(Path(sys.argv[1])).try_hold(int(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["open file", "process"])
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, root: Path) -> Locks:
    """Both kinds of kernel locks; the second is for systems that lack the first."""
    if request.param == "process":
        monkeypatch.setattr(process_locks, "_SET_LOCK", None)
    return Locks.of_processes(root)


@contextlib.contextmanager
def other_process(root: Path, number: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), str(number)],
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


def is_free(locks: Locks, number: int) -> bool:
    held = locks.try_hold(number)
    if held is None:
        return False
    with held:
        return True


def test_a_number_is_held_by_one_process_and_given_back_when_that_is_killed(
    locks: Locks, root: Path
) -> None:
    with other_process(root, 7) as holder:
        assert not is_free(locks, 7)
        assert is_free(locks, 6)
        assert is_free(locks, 8)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert is_free(locks, 7)


def test_a_number_is_held_once_in_a_process_too(locks: Locks) -> None:
    held = locks.try_hold(7)
    assert held is not None
    with held:
        # The refused ones do not take the lock of the other along.
        assert not is_free(locks, 7)
        assert not is_free(locks, 7)
        assert is_free(locks, 8)
        assert not is_free(locks, 7)
    assert is_free(locks, 7)


def test_a_file_system_without_locks_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with pytest.raises(SettingsError, match=r"No locks available.*POSIX locks.*Set DAGSTER_HOME"):
        Locks.of_processes(root).try_hold(1)


OPENER = """
import sys
import dagster
from training_assets.cli.instance import open_instance
print("ready", flush=True)
sys.stdin.readline()
with open_instance() as (instance, _):
    print(instance.get_runs_count(), flush=True)
"""


def test_a_new_instance_can_be_opened_by_several_processes_at_once(root: Path) -> None:
    home = {"DAGSTER_HOME": str(root / "home"), "TRAINING_ASSETS_LAKE": str(root / "lake")}
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER],
            env={**os.environ, **home},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("\n")
        opener.stdin.flush()
    said = [opener.communicate(timeout=60) for opener in openers]
    assert [out for out, _ in said] == ["0\n"] * 2, [err[-500:] for _, err in said]
