"""A store in a bucket of an object store, or in a part of one, through obstore.

Credentials and options come from the environment or the machine's role, as obstore, pyarrow and
Delta's library all read them; none is held here, so none can be printed or sent to a worker.
"""

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import from_url

from training_assets.errors import StoreError
from training_assets.lake.base import Entry, Store, store_error

_PROBE: Final = "_probe"


class RemoteStore(Store):
    """Connects at the first call; holds and sends nothing but its URL."""

    is_local = False

    def __init__(self, url: str) -> None:
        self.url = url

    def child(self, *parts: str) -> "RemoteStore":
        return RemoteStore("/".join((self.url, *parts)))

    def list(self, prefix: str = "") -> Sequence[Entry]:
        with self._calling() as store:
            pages = obstore.list(store, prefix.strip("/") or None)
            found = [_entry(meta) for page in pages for meta in page]
        return sorted(found, key=lambda entry: entry.path)

    def unfinished(self) -> Sequence[Entry]:
        return self.list(_PROBE)

    def read(self, path: str) -> bytes:
        with self._calling(may_be_missing=True) as store:
            return bytes(obstore.get(store, path).bytes())

    def put(self, path: str, data: bytes) -> None:
        with self._calling() as store:
            obstore.put(store, path, data)

    def put_new(self, path: str, data: bytes) -> bool:
        with self._calling() as store:
            try:
                obstore.put(store, path, data, mode="create")
            except AlreadyExistsError:
                return self.read(path) == data
        return True

    def copy(self, source: str, target: str) -> None:
        with self._calling(may_be_missing=True) as store:
            obstore.copy(store, source, target)

    def delete(self, paths: Iterable[str]) -> None:
        names = list(paths)
        if not names:
            return
        try:
            with self._calling(may_be_missing=True) as store:
                obstore.delete(store, names)
        except FileNotFoundError:
            # Some stores stop at the first name that is not there.
            if len(names) > 1:
                for name in names:
                    self.delete([name])

    def stat(self, path: str) -> Entry | None:
        try:
            with self._calling(may_be_missing=True) as store:
                return _entry(obstore.head(store, path))
        except FileNotFoundError:
            return None

    def sync(self, paths: Iterable[str]) -> None:
        """An object store has done so when it answers."""

    def require_conditions(self) -> None:
        path = f"{_PROBE}/{secrets.token_hex(8)}"
        try:
            is_refused = self.put_new(path, b"one") and not self.put_new(path, b"two")
            is_kept = is_refused and self.read(path) == b"one"
        finally:
            with suppress(StoreError):
                self.delete([path])
        if not is_kept:
            raise StoreError(
                f"{self.url}: the store overwrites an object although the put is on condition that "
                "there is none; expected it to refuse, since two runs could destroy each other's "
                "days. Use a store with conditional puts (If-None-Match)."
            )

    @contextmanager
    def _calling(self, *, may_be_missing: bool = False) -> Iterator[Any]:
        try:
            yield _connected(self.url, os.getpid())
        except StoreError:
            raise
        except FileNotFoundError as error:
            if may_be_missing:
                raise FileNotFoundError(f"{self.url}: there is no such object") from None
            raise store_error(self.url, error) from None
        except Exception as error:
            raise store_error(self.url, error) from None


@cache
def _connecting_process() -> int:
    """The first one to connect; forked children inherit the answer."""
    return os.getpid()


@cache
def _connected(url: str, process: int) -> Any:
    if _connecting_process() != process:
        # The threads of the connection are not there, and every call would wait for ever.
        raise StoreError(
            f"{url}: the store was used before this process was forked; expected to use it in one "
            "of them only. Read it before, open its files with pyarrow.fs, or spawn the process."
        )
    return from_url(url)


def _entry(meta: Any) -> Entry:
    modified_ns = int(meta["last_modified"].timestamp() * 1_000_000_000)
    return Entry(meta["path"], int(meta["size"]), modified_ns, meta.get("e_tag"))
