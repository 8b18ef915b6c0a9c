"""Where files lie: a local path, or a URL of a store (``s3://``, ``gs://``, ``az://``).

Credentials come from the environment or from the role of the machine, never from the URL.
"""

import ctypes
import os
import uuid
from bisect import bisect_right
from collections.abc import Sequence
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


class LocalFile:
    """A local file, mapped into memory."""

    # What was loaded stays.
    is_whole: Final = True

    def __init__(self, path: str) -> None:
        with pa.memory_map(path) as mapped:
            self._bytes = mapped.read_buffer()
        self.size = self._bytes.size

    def tail(self, size: int) -> memoryview:
        return memoryview(self._bytes)[max(0, self.size - size) :]

    def load(self, spans: Sequence[Span]) -> "LocalFile":
        return self

    def view(self, span: Span) -> memoryview:
        return memoryview(self._bytes)[span.start : span.stop]

    def open(self) -> pa.NativeFile:
        return pa.BufferReader(self._bytes)


class RemoteFile:
    """A file of a store, of which only what is asked for is fetched."""

    is_whole: Final = False

    def __init__(self, filesystem: pafs.FileSystem, path: str) -> None:
        self._file = filesystem.open_input_file(path)
        self.size = self._file.size()

    def tail(self, size: int) -> memoryview:
        start = max(0, self.size - size)
        return memoryview(self._file.read_at(self.size - start, start))

    def load(self, spans: Sequence[Span]) -> "Fetched":
        """The bytes of the spans, none of which overlap."""
        wanted = _requests(spans)

        def fetch(span: Span) -> memoryview:
            return memoryview(self._file.read_at(span.stop - span.start, span.start))

        with ThreadPoolExecutor(_MAX_REQUESTS) as pool:
            return Fetched(
                self.size, [span.start for span in wanted], list(pool.map(fetch, wanted))
            )


class Fetched:
    """Pieces of a file, by where they start; each span that was asked for lies in one of them."""

    def __init__(self, size: int, starts: Sequence[int], pieces: Sequence[memoryview]) -> None:
        self._size, self._starts, self._pieces = size, starts, pieces

    def view(self, span: Span) -> memoryview:
        number = bisect_right(self._starts, span.start) - 1
        start = self._starts[number] if number >= 0 else 0
        found = self._pieces[number][span.start - start : span.stop - start]
        if number < 0 or len(found) < span.stop - span.start:
            raise OSError(f"its bytes {span.start} to {span.stop} were not loaded")
        return found

    def open(self) -> pa.NativeFile:
        return pa.PythonFile(_Reads(self, self._size), mode="r")


class _Reads:
    """What Arrow asks of a file: each time, bytes of one span."""

    closed = False

    def __init__(self, content: Fetched, size: int) -> None:
        self._content, self._size, self._at = content, size, 0

    def size(self) -> int:
        return self._size

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def read_buffer(self, size: int) -> pa.Buffer:
        found = self._content.view(Span(self._at, self._at + size))
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
