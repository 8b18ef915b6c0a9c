"""A store in a folder of this machine, or of a file system that machines share.

A put writes under a name of its own beside the target, syncs, and then renames or links; so it is
seen whole or not at all, and outlives a power failure with all the folders that lead to it.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from training_assets.lake.base import THREADS, Entry, Store, store_error

# Ours, and those of the library that writes Delta's log.
_UNFINISHED: Final = re.compile(r"\.writing-[0-9a-f]{16}|.*#\d+")


class LocalStore(Store):
    """Links to folders are not followed."""

    is_local = True

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))
        self.url = str(self.root)

    def child(self, *parts: str) -> "LocalStore":
        return LocalStore(self.root.joinpath(*parts))

    def list(self, prefix: str = "") -> Sequence[Entry]:
        return [entry for entry in self._all(prefix) if not _is_unfinished(entry)]

    def unfinished(self) -> Sequence[Entry]:
        return [entry for entry in self._all("") if _is_unfinished(entry)]

    def links(self) -> Sequence[str]:
        with self._calling():
            folders = (
                Path(folder, name) for folder, names, _ in os.walk(self.root) for name in names
            )
            found = [path for path in folders if path.is_symlink()]
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def read(self, path: str) -> bytes:
        with self._calling():
            return (self.root / path).read_bytes()

    def put(self, path: str, data: bytes) -> None:
        with self._calling(), self._written(path, data) as fresh:
            os.replace(fresh, self.root / path)

    def put_new(self, path: str, data: bytes) -> bool:
        with self._calling(), self._written(path, data) as fresh:
            try:
                os.link(fresh, self.root / path)
            except FileExistsError:
                return self.read(path) == data
            return True

    def copy(self, source: str, target: str) -> None:
        folder = (self.root / target).parent
        with self._calling():
            _make_folder(folder)
            with suppress(FileExistsError):
                os.link(self.root / source, self.root / target)
            sync_folder(folder)

    def delete(self, paths: Iterable[str]) -> None:
        with self._calling():
            for path in paths:
                with suppress(NotADirectoryError):
                    (self.root / path).unlink(missing_ok=True)

    def clear(self) -> None:
        with suppress(FileNotFoundError), self._calling():
            shutil.rmtree(self.root)

    def stat(self, path: str) -> Entry | None:
        try:
            with self._calling():
                found = (self.root / path).stat()
                is_folder = (self.root / path).is_dir()
        except FileNotFoundError:
            return None
        return None if is_folder else Entry(path, found.st_size, found.st_mtime_ns)

    def sync(self, paths: Iterable[str]) -> None:
        files = [self.root / path for path in paths]
        folders = {folder for file in files for folder in self._folders_of(file)}
        with self._calling(), ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(sync_file, files))
            list(pool.map(sync_folder, folders))

    def require_conditions(self) -> None:
        """A hard link to a name that is taken is always refused."""

    def _folders_of(self, file: Path) -> Iterator[Path]:
        """The folders whose entries lead from the root's parent to the file."""
        for folder in file.parents:
            yield folder
            if folder == self.root.parent:
                return

    def _all(self, prefix: str) -> Sequence[Entry]:
        with self._calling():
            found = list(_walk(self.root / prefix, prefix.strip("/")))
        return sorted(found, key=lambda entry: entry.path)

    @contextmanager
    def _written(self, path: str, data: bytes) -> Iterator[Path]:
        """The bytes under a name of their own beside ``path``, synced; gone at the end."""
        folder = (self.root / path).parent
        _make_folder(folder)
        fresh = folder / f".writing-{secrets.token_hex(8)}"
        try:
            with fresh.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield fresh
            sync_folder(folder)
        finally:
            fresh.unlink(missing_ok=True)

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(*error.args) from None
        except OSError as error:
            raise store_error(self.url, error) from error


def _is_unfinished(entry: Entry) -> bool:
    return bool(_UNFINISHED.fullmatch(entry.path.rpartition("/")[2]))


def _walk(folder: Path, name: str) -> Iterator[Entry]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        path = f"{name}/{entry.name}" if name else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, path)
        else:
            with suppress(FileNotFoundError):
                found = entry.stat()
                yield Entry(path, found.st_size, found.st_mtime_ns)


def _make_folder(folder: Path) -> None:
    """Make it and what leads to it, and have their names outlive a power failure."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Have what was written outlive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Have the names in it outlive one."""
    # Some network file systems sync files but refuse to sync folders.
    with suppress(OSError):
        sync_file(path)
