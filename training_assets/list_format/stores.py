"""Where files lie: a local path, or a URL of a store (``s3://``, ``gs://``, ``az://``).

Credentials come from the environment or from the role of the machine, never from the URL.
"""

import ctypes
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

Bytes: TypeAlias = bytes | memoryview | pa.Buffer

_AZURE: Final = "az"
# One request for two ranges takes less time than two, where no more than that lies between them.
_GAP: Final = 1 << 20
_MAX_REQUESTS: Final = 8
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

    def load(self, spans: Sequence[Span]) -> pa.Buffer:
        """A buffer that has the bytes of the spans where they lie in the file."""
        return self._bytes


class RemoteFile:
    """A file of a store, of which only what is asked for is fetched."""

    is_whole: Final = False

    def __init__(self, filesystem: pafs.FileSystem, path: str) -> None:
        self._file = filesystem.open_input_file(path)
        self.size = self._file.size()

    def tail(self, size: int) -> memoryview:
        start = max(0, self.size - size)
        return memoryview(self._file.read_at(self.size - start, start))

    def load(self, spans: Sequence[Span]) -> pa.Buffer:
        """A buffer that has the bytes of the spans where they lie in the file.

        It is as long as the file, but takes memory only for what is written to it.
        """
        image = np.empty(self.size, np.uint8)

        def fetch(span: Span) -> None:
            found = self._file.read_at(span.stop - span.start, span.start)
            image[span.start : span.start + len(found)] = np.frombuffer(found, np.uint8)

        with ThreadPoolExecutor(_MAX_REQUESTS) as pool:
            list(pool.map(fetch, _joined(spans)))
        return pa.py_buffer(image)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """The spans, ascending; what lies close together as one."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start - joined[-1].stop <= _GAP:
            joined[-1] = Span(joined[-1].start, max(joined[-1].stop, span.stop))
        else:
            joined.append(span)
    return joined


def write_file(place: str, content: Bytes) -> None:
    """Write a file; nobody sees a part of it, whoever else writes the same."""
    filesystem, path = locate(place)
    if filesystem is None:
        _write_local(Path(path), content)
        return
    with filesystem.open_output_stream(path) as stream:
        stream.write(content)


def _write_local(path: Path, content: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"_{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
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
