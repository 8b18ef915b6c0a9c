"""Raw files as workers open them: a local path or the URL of a store.

Credentials come from the environment or from the role of the machine. Needs pyarrow only.
"""

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


@contextmanager
def open_bytes(uri: str) -> Iterator[IO[bytes]]:
    """A file by its lines, unpacked where its name ends in ``.gz`` or ``.zst``."""
    filesystem, path = place_of(uri)
    with ExitStack() as stack:
        if filesystem is None:
            file: IO[bytes] = stack.enter_context(open(path, "rb"))
        else:
            # Arrow would unzip by itself, and raise other errors.
            stream = stack.enter_context(filesystem.open_input_stream(path, compression=None))
            file = cast(IO[bytes], io.BufferedReader(stream, _BUFFER_BYTES))
        if path.lower().endswith(".gz"):
            file = cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file)))
        elif path.lower().endswith(".zst"):
            packed = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
            file = cast(IO[bytes], io.BufferedReader(stack.enter_context(packed), _BUFFER_BYTES))
        yield file


def open_parquet(uri: str) -> pq.ParquetFile:
    filesystem, path = place_of(uri)
    # In nanoseconds, the default, INT96 wraps around in the year 2262.
    options: dict[str, Any] = {"coerce_int96_timestamp_unit": "us"}
    if filesystem is not None:
        options |= {"filesystem": filesystem, "pre_buffer": True}
    return pq.ParquetFile(path, page_checksum_verification=True, **options)
