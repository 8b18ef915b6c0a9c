"""Where files lie: a local path, or a URL of a store (``s3://``, ``gs://``, ``az://``).

Credentials come from the environment or from the role of the machine, never from the URL.
"""

import ctypes
import os
import uuid
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.fs as pafs

Bytes: TypeAlias = bytes | memoryview | pa.Buffer

_AZURE: Final = "az"
# One request for two ranges takes less time than two, where no more than that lies between them.
_GAP: Final = 1 << 20
_MAX_REQUESTS: Final = 8
# Several at once take less time than one of that many times the bytes.
_LARGEST: Final = 8 << 20
# SYNC_FILE_RANGE_WRITE.
_BEGIN_TO_WRITE: Final = 2


class Span(NamedTuple):
    """The bytes of a file from ``start`` to before ``stop``."""

    start: int
    stop: int


def locate(place: str) -> tuple[pafs.FileSystem | None, str]:
    """The file system of a store and the path in it; no file system for a local path."""
    scheme, is_url, rest = place.partition("://")
    if not is_url:
        return None, place
    if scheme == _AZURE:
        return _azure(), rest
    found, path = pafs.FileSystem.from_uri(place)
    return (None if isinstance(found, pafs.LocalFileSystem) else found), path


def _azure() -> pafs.FileSystem:
    """Without a key in the environment, Azure's own search for credentials."""
    names = ("account_name", "account_key", "sas_token")
    given = {name: os.environ.get(f"AZURE_STORAGE_{name.upper()}") for name in names}
    return pafs.AzureFileSystem(**{name: value for name, value in given.items() if value})


class StoredFile:
    """A file that is open from the first read until it is closed, and again from the next one.

    Not mapped into memory: there a disk that fails, or a file that is cut, ends the process.
    """

    def __init__(self, filesystem: pafs.FileSystem | None, path: str) -> None:
        self.is_remote = filesystem is not None
        self._filesystem, self._path = filesystem or pafs.LocalFileSystem(), path
        self._file: pa.NativeFile | None = self._filesystem.open_input_file(path)
        self.size = self._file.size()

    def tail(self, size: int) -> memoryview:
        return self.view(Span(max(0, self.size - size), self.size))

    def view(self, span: Span) -> memoryview:
        return memoryview(self._opened().read_at(span.stop - span.start, span.start))

    def _opened(self) -> pa.NativeFile:
        if self._file is None:
            self._file = self._filesystem.open_input_file(self._path)
        return self._file

    def content(self) -> pa.Buffer:
        """All bytes of the file."""
        return self._opened().get_stream(0, self.size).read_buffer()

    def fetch(self, spans: Sequence[Span]) -> "StoredFile | Fetched":
        """What has the bytes of the spans, none of which overlap.

        A local file has them itself; from a store they are fetched, several at once.
        """
        if not self.is_remote:
            return self
        wanted = _requests(spans)
        with ThreadPoolExecutor(_MAX_REQUESTS) as pool:
            pieces = list(pool.map(self.view, wanted))
        return Fetched([span.start for span in wanted], pieces)

    def close(self) -> None:
        self._file = None


class Fetched:
    """Pieces of a file, by where they start; each span that was asked for lies in one of them."""

    def __init__(self, starts: Sequence[int], pieces: Sequence[memoryview]) -> None:
        self._starts, self._pieces = starts, pieces

    def view(self, span: Span) -> memoryview:
        number = bisect_right(self._starts, span.start) - 1
        start = self._starts[number]
        return self._pieces[number][span.start - start : span.stop - start]


class Reads:
    """A file for Arrow, which asks for one span after the other."""

    closed = False

    def __init__(self, size: int, view: Callable[[Span], memoryview]) -> None:
        self._size, self._view, self._at = size, view, 0

    def size(self) -> int:
        return self._size

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def read_buffer(self, size: int) -> pa.Buffer:
        found = self._view(Span(self._at, self._at + size))
        self._at += len(found)
        return pa.py_buffer(found)

    def read(self, size: int) -> bytes:
        return bytes(self.read_buffer(size))

    def close(self) -> None:
        """Nothing is open."""


def _requests(spans: Sequence[Span]) -> list[Span]:
    """What to ask for: spans that lie close together as one, unless it becomes too large."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and _is_one_request(joined[-1], span):
            joined[-1] = Span(joined[-1].start, span.stop)
        else:
            joined.append(span)
    return joined


def _is_one_request(first: Span, second: Span) -> bool:
    return second.start - first.stop <= _GAP and second.stop - first.start <= _LARGEST


def write_file(place: str, *parts: Bytes) -> None:
    """Write a file; nobody sees a part of it, whoever else writes the same."""
    filesystem, path = locate(place)
    if filesystem is None:
        _write_local(Path(path), parts)
        return
    with filesystem.open_output_stream(path) as stream:
        for part in parts:
            stream.write(part)


def _write_local(path: Path, parts: Sequence[Bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"_{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with unfinished.open("wb") as file:
            file.writelines(memoryview(part) for part in parts)
            file.flush()
            _begin_to_sync(file)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _begin_to_sync(file: BinaryIO) -> None:
    """Let the system begin to put a file on the disk, for which a commit waits."""
    try:
        # sync_file_range(2), which Linux has.
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    # Where it fails the wait is longer, and tells why.
    call(file.fileno(), 0, 0, _BEGIN_TO_WRITE)
