"""What every store can do, and how its errors are told."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from training_assets.errors import StoreError

THREADS: Final = 16

_MAX_ERROR_CHARACTERS: Final = 300
_QUERY: Final = re.compile(r"(\w+://[^\s?]*)\?[^\s)]*")
_LOGIN: Final = re.compile(r"(\w+://)[^\s/@]*@")


class Entry(NamedTuple):
    """One object or file; ``modified_ns`` since 1970, ``etag`` only where the store has one."""

    path: str
    size: int
    modified_ns: int
    etag: str | None = None


class Store(ABC):
    """A place that holds named bytes; ``url`` says where, without any secret.

    What it cannot do raises ``StoreError``. Folders are only the beginnings of names: nothing is
    there to be read at one, and none has to be made.
    """

    url: str
    is_local: bool

    def __repr__(self) -> str:
        return f"open_store({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    @abstractmethod
    def child(self, *parts: str) -> "Store":
        """The store of what lies under that path."""

    def uri(self, path: str = "") -> str:
        """What a worker opens with pyarrow: an absolute local path, or a URL."""
        return f"{self.url}/{path}" if path else self.url

    @abstractmethod
    def list(self, prefix: str = "") -> Sequence[Entry]:
        """All that lies under a folder, however deep, by path; nothing where there is no such."""

    def unfinished(self) -> Sequence[Entry]:
        """What killed processes left under names of their own, for a vacuum to remove."""
        return []

    def links(self) -> Sequence[str]:
        """Folders that are links to others, by path; a bucket has none."""
        return []

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Raises ``FileNotFoundError`` where there is nothing."""

    @abstractmethod
    def put(self, path: str, data: bytes) -> None:
        """Have these bytes there, whatever was there before."""

    def put_all(self, objects: Mapping[str, bytes]) -> None:
        """Put many at once, which takes little longer than one."""
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self.put, objects.keys(), objects.values()))

    def read_all(self, paths: Sequence[str]) -> Sequence[bytes]:
        """Read many at once; raises ``FileNotFoundError`` where one of them is not there."""
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(self.read, paths))

    @abstractmethod
    def put_new(self, path: str, data: bytes) -> bool:
        """Have these bytes there unless others are; whether they are there now.

        True also where they were there before: a store may have lost the answer to an own try.
        """

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Have the bytes of one path at another, where they are or nothing is; the store does it.

        Raises ``FileNotFoundError`` where there is no source.
        """

    @abstractmethod
    def delete(self, paths: Iterable[str]) -> None:
        """Have nothing there; a path where nothing is, is left alone."""

    def clear(self) -> None:
        """Have nothing there at all."""
        self.delete([entry.path for entry in self.list()])

    @abstractmethod
    def stat(self, path: str) -> Entry | None:
        """What is there, or None."""

    @abstractmethod
    def sync(self, paths: Iterable[str]) -> None:
        """Have what others wrote there outlive a power failure, with the names of it."""

    @abstractmethod
    def require_conditions(self) -> None:
        """Raise ``StoreError`` unless the store refuses a second conditional put of one name."""


def store_error(url: str, error: Exception) -> StoreError:
    return StoreError(
        f"{url}: the store did not do what it was asked ({first_line(error)}); nothing that is "
        "published was changed. Check endpoint, bucket, credentials and permissions, then run "
        "again."
    )


def first_line(error: Exception) -> str:
    """What an error says, without pages of a server's answer and without secrets in URLs."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _LOGIN.sub(r"\1", _QUERY.sub(r"\1", line))[:_MAX_ERROR_CHARACTERS]
