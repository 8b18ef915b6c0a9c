"""Locks on days and on staging areas, kept by the kernel, so that a killed process holds none.

    <root>/_locks/days      byte n is the day whose ordinal is n
    <root>/_locks/areas     byte n is the staging area of number n
    <root>/_locks/runs      byte n is the process of the Dagster run that is tagged with n

The files have no content: locks are on ranges of bytes, which need not exist. They exclude other
processes, other hosts on a shared file system that supports POSIX locks, and other builds in the
same process. Days are taken in ascending order, so that no two runs can wait for each other.
"""

import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar, Final

from training_assets.errors import DayLockedError, PublishError

_FOLDER: Final = "_locks"
_BUSY: Final = (errno.EACCES, errno.EAGAIN)
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0
_REPEAT_SECONDS: Final = 60.0
# Locks of an open file, not of a process: only they exclude builds within one process and survive
# the closing of another handle of the same file. Where they are missing, see ``_ProcessLocks``.
_SET_LOCK: int | None = getattr(fcntl, "F_OFD_SETLK", None)


@dataclass(frozen=True)
class Locks:
    """A file whose bytes are locks."""

    path: Path

    @classmethod
    def of_days(cls, root: Path) -> "Locks":
        return cls(root / _FOLDER / "days")

    @classmethod
    def of_areas(cls, root: Path) -> "Locks":
        return cls(root / _FOLDER / "areas")

    @classmethod
    def of_runs(cls, root: Path) -> "Locks":
        return cls(root / _FOLDER / "runs")

    def try_hold(self, start: int, length: int = 1) -> AbstractContextManager[object] | None:
        """The bytes' locks, until the context is left or the process ends; None if one is held.

        Raises ``PublishError`` where the file system cannot lock, or the file not be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if _SET_LOCK is None:
                return _ProcessLocks.of(self.path).try_hold(start, length)
            return _try_hold_open_file(self.path, _SET_LOCK, start, length)
        except OSError as error:
            raise PublishError(
                f"{self.path}: the lock could not be taken ({error}); expected a folder that can "
                "be written, on a file system with POSIX locks (NFS: mounted without nolock). "
                "Nothing was changed. Correct permissions or the mount, then run again."
            ) from error


def _try_hold_open_file(path: Path, command: int, start: int, length: int) -> ExitStack | None:
    with ExitStack() as stack:
        handle = _open(path)
        stack.callback(os.close, handle)
        request = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
        try:
            fcntl.fcntl(handle, command, request)
        except OSError as error:
            if error.errno in _BUSY:
                return None
            raise
        return stack.pop_all()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


class _ProcessLocks:
    """Locks of one file for systems where the kernel keeps them by process.

    Closing any handle of the file would drop all of the process's locks on it, so there is one
    handle, never closed, and what this process itself holds is kept here.
    """

    _by_path: ClassVar[dict[Path, "_ProcessLocks"]] = {}
    _mutex = threading.Lock()

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._held: list[range] = []

    @classmethod
    def of(cls, path: Path) -> "_ProcessLocks":
        with cls._mutex:
            if path not in cls._by_path:
                cls._by_path[path] = cls(_open(path))
            return cls._by_path[path]

    def try_hold(self, start: int, length: int) -> ExitStack | None:
        wanted = range(start, start + length)
        with self._mutex:
            if any(wanted.start < held.stop and held.start < wanted.stop for held in self._held):
                return None
            try:
                fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
            except OSError as error:
                if error.errno in _BUSY:
                    return None
                raise
            self._held.append(wanted)
        stack = ExitStack()
        stack.callback(self._release, wanted)
        return stack

    def _release(self, held: range) -> None:
        with self._mutex:
            self._held.remove(held)
            fcntl.lockf(self._handle, fcntl.LOCK_UN, len(held), held.start)


@contextmanager
def hold_days(
    root: Path,
    days: Sequence[date],
    *,
    wait_seconds: float,
    name_holders: Callable[[Sequence[date]], str],
    progress: Callable[[str], None],
) -> Iterator[None]:
    """Hold the locks of ``days``, waiting for other runs to give them up.

    ``name_holders`` says who holds any of some days. Raises ``DayLockedError`` after
    ``wait_seconds``, and ``PublishError`` where there can be no locks.
    """
    locks = Locks.of_days(root)
    end = time.monotonic() + wait_seconds
    with ExitStack() as stack:
        for run in _runs(days):
            said_at, pause = -_REPEAT_SECONDS, _FIRST_PAUSE_SECONDS
            while not (held := locks.try_hold(run[0].toordinal(), len(run))):
                now = time.monotonic()
                if now >= end:
                    raise DayLockedError(
                        f"{root}: {_span(run)} is being built by {name_holders(run)}, and was not "
                        f"free within {wait_seconds:g} s; nothing was built. Run again when that "
                        "run has ended, or raise TRAINING_ASSETS_LOCK_WAIT."
                    )
                if now - said_at >= _REPEAT_SECONDS:
                    progress(f"waiting for {_span(run)}, being built by {name_holders(run)}")
                    said_at = now
                time.sleep(min(pause, max(0.0, end - now)))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            stack.enter_context(held)
        yield


def _runs(days: Sequence[date]) -> Iterator[list[date]]:
    """The days in ascending order, those in a row together."""
    run: list[date] = []
    for day in sorted(set(days)):
        if run and (day - run[-1]).days > 1:
            yield run
            run = []
        run.append(day)
    if run:
        yield run


def _span(days: Sequence[date]) -> str:
    return f"day {days[0]}" if len(days) == 1 else f"one of the days {days[0]} to {days[-1]}"
