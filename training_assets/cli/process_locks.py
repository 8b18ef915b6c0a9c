"""Locks of processes, kept by the kernel, so that a killed process holds none.

    <home>/processes    byte n is the process of the Dagster run that is tagged with n
                        byte 2**48 is whoever opens the instance

The file has no content: locks are on ranges of bytes, which need not exist.
"""

import errno
import fcntl
import os
import struct
import threading
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from training_assets.errors import SettingsError

_FILE: Final = "processes"
_BUSY: Final = (errno.EACCES, errno.EAGAIN)
# Locks of an open file, not of a process: only they exclude builds within one process and survive
# the closing of another handle of the same file. Where they are missing, see ``_ProcessLocks``.
_SET_LOCK: int | None = getattr(fcntl, "F_OFD_SETLK", None)


@dataclass(frozen=True)
class Locks:
    """A file whose bytes are locks."""

    path: Path

    @classmethod
    def of_processes(cls, home: Path) -> "Locks":
        return cls(home / _FILE)

    def try_hold(self, start: int, length: int = 1) -> AbstractContextManager[object] | None:
        """The bytes' locks, until the context is left or the process ends; None if one is held.

        Raises ``SettingsError`` where the file system cannot lock, or the file not be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if _SET_LOCK is None:
                return _ProcessLocks.of(self.path).try_hold(start, length)
            return _try_hold_open_file(self.path, _SET_LOCK, start, length)
        except OSError as error:
            raise SettingsError(
                f"{self.path}: the lock could not be taken ({error}); expected a folder that can "
                "be written, on a file system with POSIX locks. Nothing was changed. Set "
                "DAGSTER_HOME to such a folder, then run again."
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
