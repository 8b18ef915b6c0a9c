"""One door to where data lies: a local folder or an object store, behind the same few calls.

    open_store("data/lake"), open_store("s3://shop/lake")

Paths are relative to the store, with ``/`` between names. A put is seen whole or not at all, and
outlives a power failure once it returns. Credentials come from the environment or the machine's
role, never from a URL, so that none can reach a log, an error or a ``repr``.
"""

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from training_assets.errors import SettingsError, StoreError

Location = str | os.PathLike[str]

_SCHEMES: Final = ("s3", "s3a", "gs", "az", "abfs", "abfss")
_WRITING: Final = ".writing-"
_PROBE: Final = "_probe"
_THREADS: Final = 16


class Entry(NamedTuple):
    """One object or file; ``modified_ns`` since 1970, ``etag`` only where the store has one."""

    path: str
    size: int
    modified_ns: int
    etag: str | None = None


class Store(ABC):
    """A place that holds named bytes; ``url`` says where, without any secret."""

    url: str
    is_local: bool

    def __repr__(self) -> str:
        return f"open_store({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def child(self, *parts: str) -> "Store":
        """The store of what lies under that path."""
        return open_store("/".join((self.url, *parts)))

    def uri(self, path: str = "") -> str:
        """What a worker opens with pyarrow: an absolute local path, or a URL."""
        return f"{self.url}/{path}" if path else self.url

    @abstractmethod
    def list(self, prefix: str = "") -> Sequence[Entry]:
        """All that lies under a folder, however deep, by path; nothing where there is no such."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Raises ``FileNotFoundError`` where there is nothing."""

    @abstractmethod
    def put(self, path: str, data: bytes) -> None:
        """Have these bytes there, whatever was there before."""

    def put_all(self, objects: Mapping[str, bytes]) -> None:
        """Put many at once, which takes little longer than one."""
        if len(objects) < 2:
            for path, data in objects.items():
                self.put(path, data)
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(self.put, *zip(*objects.items(), strict=True)))

    def read_all(self, paths: Sequence[str]) -> Sequence[bytes]:
        """Read many at once; raises ``FileNotFoundError`` where one of them is not there."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self.read, paths))

    @abstractmethod
    def put_new(self, path: str, data: bytes) -> bool:
        """Have these bytes there unless others are; whether they are there now.

        True also where they were there before: a store may have lost the answer to an own try.
        """

    @abstractmethod
    def delete(self, paths: Iterable[str]) -> None:
        """Have nothing there; a path where nothing is, is left alone."""

    @abstractmethod
    def stat(self, path: str) -> Entry | None:
        """What is there, or None."""

    @abstractmethod
    def sync(self, paths: Iterable[str]) -> None:
        """Have what others wrote there outlive a power failure, with the names of it."""

    @abstractmethod
    def require_conditions(self) -> None:
        """Raise ``StoreError`` unless the store refuses a second conditional put of one name."""


def open_store(location: Location) -> Store:
    """The store at a local path (``~`` is expanded) or at a URL ``s3://``, ``gs://``, ``az://``.

    Raises ``SettingsError`` for another scheme, and for a URL that carries a secret.
    """
    if isinstance(location, Store):
        return location
    text = os.fspath(location)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return LocalStore(Path(text).expanduser())
    if scheme == "file":
        return LocalStore(Path(urlsplit(text).path))
    if scheme not in _SCHEMES:
        raise SettingsError(
            f"store: the scheme {scheme}:// is unknown; expected a local path or one of "
            f"{', '.join(f'{name}://' for name in _SCHEMES)}. Correct TRAINING_ASSETS_LAKE."
        )
    if ("@" in rest.partition("/")[0] and not scheme.startswith("abfs")) or "?" in rest:
        raise SettingsError(
            f"store: the {scheme}:// URL carries credentials or options; expected only bucket and "
            "path. Put credentials into the environment, as the store's own tools read them."
        )
    if not rest.partition("/")[0]:
        raise SettingsError(
            f"store: {text} names no bucket; expected {scheme}://bucket/path. Name the bucket."
        )
    return _remote(text.rstrip("/"))


class LocalStore(Store):
    """A folder of this machine, or of a file system that it shares."""

    is_local = True

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))
        self.url = str(self.root)

    def list(self, prefix: str = "") -> Sequence[Entry]:
        found = self._walk(self.root / prefix, prefix.strip("/"))
        return sorted(found, key=lambda entry: entry.path)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def put(self, path: str, data: bytes) -> None:
        with self._written(path, data) as fresh:
            os.replace(fresh, self.root / path)

    def put_new(self, path: str, data: bytes) -> bool:
        try:
            with self._written(path, data) as fresh:
                os.link(fresh, self.root / path)
        except FileExistsError:
            return self.read(path) == data
        return True

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            (self.root / path).unlink(missing_ok=True)

    def stat(self, path: str) -> Entry | None:
        try:
            found = (self.root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Entry(path, found.st_size, found.st_mtime_ns)

    def sync(self, paths: Iterable[str]) -> None:
        files = [self.root / path for path in paths]
        folders = {parent for file in files for parent in (file.parent, file.parent.parent)}
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(_sync, files))
            list(pool.map(_sync, folders))

    def require_conditions(self) -> None:
        """A hard link to a name that is taken is always refused."""

    def _walk(self, folder: Path, name: str) -> Iterator[Entry]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            path = f"{name}/{entry.name}" if name else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(folder / entry.name, path)
            elif not entry.name.startswith(_WRITING):
                with suppress(FileNotFoundError):
                    found = entry.stat()
                    yield Entry(path, found.st_size, found.st_mtime_ns)

    @contextmanager
    def _written(self, path: str, data: bytes) -> Iterator[Path]:
        """The bytes under a name of their own beside ``path``, synced; gone at the end."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f"{_WRITING}{secrets.token_hex(8)}")
        try:
            with fresh.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield fresh
            _sync(target.parent)
        finally:
            fresh.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        # Some network file systems sync files but refuse to sync folders.
        with suppress(OSError) if path.is_dir() else _nothing():
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


class RemoteStore(Store):
    """A bucket, or a part of one."""

    is_local = False

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _store(self) -> Any:
        from obstore.store import from_url

        try:
            return from_url(self.url)
        except Exception as error:
            raise _failed(self.url, error) from None

    def list(self, prefix: str = "") -> Sequence[Entry]:
        import obstore

        with self._calling():
            pages = obstore.list(self._store, prefix.strip("/") or None)
            found = [_entry(meta) for page in pages for meta in page]
        return sorted(found, key=lambda entry: entry.path)

    def read(self, path: str) -> bytes:
        import obstore

        with self._calling():
            return bytes(obstore.get(self._store, path).bytes())

    def put(self, path: str, data: bytes) -> None:
        import obstore

        with self._calling():
            obstore.put(self._store, path, data)

    def put_new(self, path: str, data: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._calling():
            try:
                obstore.put(self._store, path, data, mode="create")
            except AlreadyExistsError:
                return self.read(path) == data
        return True

    def delete(self, paths: Iterable[str]) -> None:
        import obstore

        names = list(paths)
        with self._calling(), suppress(FileNotFoundError):
            if names:
                obstore.delete(self._store, names)

    def stat(self, path: str) -> Entry | None:
        import obstore

        with self._calling():
            try:
                return _entry(obstore.head(self._store, path))
            except FileNotFoundError:
                return None

    def sync(self, paths: Iterable[str]) -> None:
        """An object store has done so when it answers."""

    def require_conditions(self) -> None:
        path = f"{_PROBE}/{secrets.token_hex(8)}"
        try:
            held = self.put_new(path, b"one") and not self.put_new(path, b"two")
            is_kept = held and self.read(path) == b"one"
        finally:
            self.delete([path])
        if not is_kept:
            raise StoreError(
                f"{self.url}: the store overwrites an object although the put is on condition that "
                "there is none; expected it to refuse, since two runs could destroy each other's "
                "days. Use a store with conditional puts (If-None-Match)."
            )

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, StoreError):
            raise
        except Exception as error:
            raise _failed(self.url, error) from None


@cache
def _remote(url: str) -> RemoteStore:
    return RemoteStore(url)


def _entry(meta: Any) -> Entry:
    modified_ns = int(meta["last_modified"].timestamp() * 1_000_000_000)
    return Entry(meta["path"], int(meta["size"]), modified_ns, meta.get("e_tag"))


def _failed(url: str, error: Exception) -> StoreError:
    # The first line names the request; what follows may be pages of a server's answer.
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return StoreError(
        f"{url}: the store did not do what it was asked ({line}); nothing that is published was "
        "changed. Check endpoint, bucket and credentials, then run again."
    )
