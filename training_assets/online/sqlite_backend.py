"""A folder of SQLite files: one for each version, never changed, and a pointer that is renamed.

    <folder>/users/state.json                            the pointer
    <folder>/users/2026-11-25-1f2e3d4c5b6a7988-ab12cd.sqlite

A file is written under another name, synced, and renamed; a reader that has it open keeps it also
when it is removed. Readers and loaders may be processes of one machine, or of several that share
the file system.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from training_assets.errors import StoreError
from training_assets.lake.base import store_error
from training_assets.lake.local import sync_file, sync_folder
from training_assets.online.backend import Backend, Id, Rows, VersionGoneError

_STATE: Final = "state.json"
_LOCK: Final = "state.lock"
_MAX_PARAMETERS: Final = 900
_MAPPED_BYTES: Final = 2**40


class SqliteBackend(Backend):
    """``folder`` is made when something is loaded."""

    is_local = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.url = f"sqlite:{self.folder}"
        self._seen: dict[str, tuple[tuple[int, ...], bytes]] = {}
        self._local = threading.local()

    def read_state(self, table: str) -> tuple[bytes | None, Any]:
        path = self.folder / table / _STATE
        with self._calling():
            try:
                found = path.stat()
                token = (found.st_ino, found.st_mtime_ns, found.st_size)
                if (seen := self._seen.get(table)) and seen[0] == token:
                    return seen[1], seen[1]
                data = path.read_bytes()
            except FileNotFoundError:
                return None, None
        self._seen[table] = (token, data)
        return data, data

    def swap_state(self, table: str, state: bytes, token: Any) -> bool:
        folder = self.folder / table
        with self._calling():
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                path = folder / _STATE
                if (path.read_bytes() if path.exists() else None) != token:
                    return False
                fresh = folder / f"{_STATE}.writing"
                with fresh.open("wb") as file:
                    file.write(state)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(fresh, path)
                sync_folder(folder)
        return True

    def write(self, table: str, version: str, rows: Rows) -> None:
        path = self._path(table, version)
        fresh = path.with_suffix(".writing")
        with self._calling():
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
                for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                    connection.execute(f"PRAGMA {pragma}")
                connection.execute("BEGIN")
                is_made = False
                for ids, values in rows:
                    if not is_made and len(ids):
                        _create(connection, ids[0])
                        is_made = True
                    pairs = zip(ids, values, strict=True)
                    connection.executemany("INSERT INTO features VALUES (?, ?)", pairs)
                if not is_made:
                    _create(connection, 0)
                connection.execute("COMMIT")
            sync_file(fresh)
            os.replace(fresh, path)
            sync_folder(path.parent)

    def read(self, table: str, version: str, ids: Sequence[Id]) -> dict[Id, str | bytes]:
        connection = self._connection(table, version)
        found: dict[Id, str | bytes] = {}
        with self._calling():
            for start in range(0, len(ids), _MAX_PARAMETERS):
                some = ids[start : start + _MAX_PARAMETERS]
                marks = ",".join("?" * len(some))
                query = f"SELECT id, value FROM features WHERE id IN ({marks})"
                found |= dict(connection.execute(query, some))
        return found

    def drop(self, table: str, version: str) -> None:
        with self._calling():
            for suffix in (".sqlite", ".writing"):
                self._path(table, version).with_suffix(suffix).unlink(missing_ok=True)

    def close(self) -> None:
        for connection in getattr(self._local, "connections", {}).values():
            connection[1].close()
        self._local = threading.local()

    def _path(self, table: str, version: str) -> Path:
        return self.folder / table / f"{version}.sqlite"

    def _connection(self, table: str, version: str) -> sqlite3.Connection:
        """This thread's, to the newest version that it read of the table."""
        key = (os.getpid(), table)
        connections: dict[Any, tuple[str, sqlite3.Connection]]
        connections = self._local.__dict__.setdefault("connections", {})
        if (known := connections.get(key)) and known[0] == version:
            return known[1]
        uri = f"file:{quote(str(self._path(table, version)))}?mode=ro&immutable=1"
        try:
            opened = sqlite3.connect(uri, uri=True, check_same_thread=False)
            opened.execute(f"PRAGMA mmap_size={_MAPPED_BYTES}")
            opened.execute("SELECT 1 FROM features LIMIT 1")
        except sqlite3.Error as error:
            if not self._path(table, version).exists():
                raise VersionGoneError from None
            raise _damaged(self.url, error) from error
        if known:
            known[1].close()
        connections[key] = (version, opened)
        return opened

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _damaged(self.url, error) from error
        except OSError as error:
            raise store_error(self.url, error) from error


def _damaged(url: str, error: Exception) -> StoreError:
    return StoreError(
        f"{url}: SQLite cannot do what it was asked ({error}); expected a file of this store with "
        "space beside it. Look at the disk, then load the day again."
    )


def _create(connection: sqlite3.Connection, example: Id) -> None:
    kind = "id TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
    if isinstance(example, int):
        kind = "id INTEGER PRIMARY KEY, value TEXT NOT NULL)"
    connection.execute(f"CREATE TABLE features ({kind}")
