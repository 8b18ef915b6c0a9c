"""Raw files as workers open them: a local path or the URL of a store.

Credentials come from the environment or from the role of the machine. Needs pyarrow only.
"""

import bz2
import gzip
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, Final, cast

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from training_assets.list_format.stores import locate

# A request for each of so many bytes of text.
_BUFFER_BYTES: Final = 8 << 20


def place_of(uri: str) -> tuple[pafs.FileSystem | None, str]:
    """The file system of a store and the path in it; no file system for a local path.

    Only the bucket is read as a URL: what comes after it is a name, with whatever stands in it.
    """
    scheme, is_url, rest = uri.partition("://")
    if not is_url:
        return None, uri
    bucket, _, key = rest.partition("/")
    filesystem, base = locate(f"{scheme}://{bucket}")
    return filesystem, f"{base}/{key}"


# What is first in a file, and what it is then. Those without a reader are refused by their name.
MAGIC: Final = (
    (b"PAR1", "parquet"),
    (b"\x1f\x8b", "gz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"BZh", "bz2"),
    (b"PK\x03\x04", "zip"),
    (b"ORC", "orc"),
    (b"Obj\x01", "avro"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"SQLite format 3", "sqlite"),
    (b"\xd0\xcf\x11\xe0", "xls"),
    (b"ARROW1", "arrow"),
)
PACKINGS: Final = ("gz", "zst", "bz2")


@contextmanager
def open_bytes(uri: str, packing: str = "") -> Iterator[IO[bytes]]:
    """A file of text, unpacked; one that is not packed can be sought in."""
    filesystem, path = place_of(uri)
    with ExitStack() as stack:
        if filesystem is None:
            file: IO[bytes] = stack.enter_context(open(path, "rb"))
        elif packing:
            # Arrow would unzip by itself, and raise other errors.
            stream = stack.enter_context(filesystem.open_input_stream(path, compression=None))
            file = cast(IO[bytes], io.BufferedReader(stream, _BUFFER_BYTES))
        else:
            file = cast(IO[bytes], stack.enter_context(filesystem.open_input_file(path)))
        yield unpacked(file, packing, stack)


def unpacked(file: IO[bytes], packing: str, stack: ExitStack) -> IO[bytes]:
    if packing == "gz":
        return cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file)))
    if packing == "bz2":
        return cast(IO[bytes], stack.enter_context(bz2.BZ2File(file)))
    if packing == "zst":
        source = pa.PythonFile(file, mode="r")
        return cast(IO[bytes], stack.enter_context(pa.CompressedInputStream(source, "zstd")))
    return file


def what_begins(data: bytes) -> str:
    """The format of which these are the first bytes; nothing where it is none that is known."""
    return next((name for magic, name in MAGIC if data.startswith(magic)), "")


def first_bytes(uri: str, packing: str = "") -> bytes:
    with open_bytes(uri, packing) as file:
        return file.read(16)


def open_parquet(uri: str) -> pq.ParquetFile:
    filesystem, path = place_of(uri)
    # In nanoseconds, the default, INT96 wraps around in the year 2262.
    options: dict[str, Any] = {"coerce_int96_timestamp_unit": "us"}
    if filesystem is not None:
        options |= {"filesystem": filesystem, "pre_buffer": True}
    return pq.ParquetFile(path, page_checksum_verification=True, **options)
