"""Reads the body of a request, hostile until it is read, into a file on disk.

As it comes it is only counted and kept (``receive``, in the event loop); a thread then takes the
one file out of a multipart body and unpacks it in steps, against bounds of size and of ratio
(``unpack``). Names of files are never used. What a body is, its first bytes say.
"""

import asyncio
import errno
import hashlib
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Final

import pyarrow as pa
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings

STEP: Final = 2**20
_IN_MEMORY: Final = 256 * 2**10
_MIN_BYTES_PER_SECOND: Final = 1024
_MIN_FOR_RATIO: Final = 2**20
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ENCODINGS: Final = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
_MAX_PART_HEADERS: Final = 16 * 2**10


@dataclass
class Body:
    """A body unpacked, as an open file at its beginning; ``close`` it."""

    file: IO[bytes]
    size: int
    packed_size: int
    sha256: str

    def close(self) -> None:
        self.file.close()


def new_spool(settings: ServiceSettings) -> IO[bytes]:
    """A file without a name, in memory while it is small."""
    folder = settings.spool or None
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=folder)


async def receive(
    stream: AsyncIterator[bytes], headers: Mapping[str, str], settings: ServiceSettings
) -> IO[bytes]:
    """The body as it was sent, in a file; raises ``Problem`` 408, 413 or 507."""
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > settings.max_packed_bytes:
        raise _too_large("The body", settings.max_packed_bytes)
    spool = new_spool(settings)
    try:
        await _copy(stream, spool, settings)
    except BaseException:
        spool.close()
        raise
    return spool


async def _copy(stream: AsyncIterator[bytes], spool: IO[bytes], settings: ServiceSettings) -> None:
    size, began = 0, time.monotonic()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), settings.body_seconds)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Problem(
                "timeout", f"Nothing came for {settings.body_seconds:g} seconds."
            ) from None
        size += len(chunk)
        if size > settings.max_packed_bytes:
            raise _too_large("The body", settings.max_packed_bytes)
        late = time.monotonic() - began - settings.body_seconds
        if late > 0 and size < late * _MIN_BYTES_PER_SECOND:
            raise Problem("timeout", f"Less than {_MIN_BYTES_PER_SECOND} bytes a second came.")
        with _disk():
            spool.write(chunk)


def unpack(sent: IO[bytes], headers: Mapping[str, str], settings: ServiceSettings) -> Body:
    """The content of a body that was received; closes ``sent``, unless it is the content.

    Raises ``Problem`` 400 for what is broken or more than one file, 413 for what is too large, 415
    for an encoding that is not known.
    """
    try:
        packed_size = sent.seek(0, 2)
        sent.seek(0)
        content = _of_multipart(sent, headers, settings) or sent
        encoding = _encoding(content, headers)
        if encoding is None:
            return _hashed(content, packed_size)
        unpacked = new_spool(settings)
        try:
            with _disk():
                _unpack(content, unpacked, encoding, packed_size, settings)
            return _hashed(unpacked, packed_size)
        except BaseException:
            unpacked.close()
            raise
        finally:
            content.close()
    except BaseException:
        sent.close()
        raise


def _hashed(content: IO[bytes], packed_size: int) -> Body:
    digest, size = hashlib.sha256(), 0
    content.seek(0)
    while step := content.read(STEP):
        digest.update(step)
        size += len(step)
    content.seek(0)
    return Body(content, size, packed_size, digest.hexdigest())


def _encoding(content: IO[bytes], headers: Mapping[str, str]) -> str | None:
    """By the first bytes; a header that says otherwise is an error."""
    content.seek(0)
    start = content.read(4)
    content.seek(0)
    found = None
    if start.startswith(_GZIP):
        found = "gzip"
    elif start == _ZSTD:
        found = "zstd"
    declared = headers.get("content-encoding", "identity").strip().lower()
    if declared in ("identity", ""):
        return found
    if declared not in _ENCODINGS:
        raise Problem(
            "unsupported_format", "The content encoding is not taken; expected gzip or zstd."
        )
    if _ENCODINGS[declared] != found:
        raise Problem("unreadable", f"The body is said to be {declared}, and is not.")
    return found


def _unpack(
    packed: IO[bytes], unpacked: IO[bytes], encoding: str, size: int, settings: ServiceSettings
) -> None:
    steps = _gunzip(packed) if encoding == "gzip" else _unzstd(packed)
    total = 0
    most = max(_MIN_FOR_RATIO, size * settings.max_ratio)
    for step in steps:
        total += len(step)
        if total > settings.max_bytes:
            raise _too_large("The unpacked body", settings.max_bytes)
        if total > most:
            raise Problem(
                "too_large",
                f"The body unpacks to more than {settings.max_ratio} times its size; send it less "
                "compressed.",
            )
        unpacked.write(step)


def _gunzip(packed: IO[bytes]) -> Iterator[bytes]:
    """One or more members, a step at a time."""
    member, waiting = zlib.decompressobj(31), b""
    try:
        while True:
            waiting = waiting or packed.read(STEP)
            if not waiting:
                break
            if member.eof:
                if not waiting.strip(b"\0"):
                    waiting = b""
                    continue
                member = zlib.decompressobj(31)
            step = member.decompress(waiting, STEP)
            waiting = member.unused_data if member.eof else member.unconsumed_tail
            yield step
        # What the window still holds of a member that filled the last step exactly.
        while not member.eof and (step := member.decompress(b"", STEP)):
            yield step
    except zlib.error:
        raise Problem("unreadable", "The body is not whole gzip.") from None
    if not member.eof:
        raise Problem("unreadable", "The gzip ends in the middle.")


def _unzstd(packed: IO[bytes]) -> Iterator[bytes]:
    try:
        with pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd") as stream:
            while step := stream.read(STEP):
                yield step
    except (OSError, pa.ArrowException):
        raise Problem("unreadable", "The body is not whole zstd.") from None


def _of_multipart(
    sent: IO[bytes], headers: Mapping[str, str], settings: ServiceSettings
) -> IO[bytes] | None:
    """The one file of a form, None where the body is no form."""
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        return None
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise Problem("unreadable", "The form has no boundary of 1 to 70 characters.")
    form = _Form(settings)
    try:
        parser = MultipartParser(boundary, form.callbacks)
        while step := sent.read(STEP):
            with _disk():
                parser.write(step)
        parser.finalize()
        return form.content()
    except MultipartParseError:
        form.close()
        raise Problem("unreadable", "The form cannot be read.") from None
    except BaseException:
        form.close()
        raise


class _Form:
    """What the parser of a form finds: one part that is a file, or named so."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._file: IO[bytes] | None = None
        self._name, self._value, self._header_bytes = b"", b"", 0
        self._disposition, self._is_file, self._is_whole = b"", False, False
        self._parts = 0

    @property
    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._header_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def content(self) -> IO[bytes]:
        if not self._is_whole:
            raise Problem("unreadable", "The form ends in the middle.")
        if self._file is None:
            raise Problem("unreadable", "The form holds no file; expected one.")
        return self._file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._disposition, self._is_file, self._header_bytes = b"", False, 0
        self._parts += 1
        if self._parts > 10:
            raise Problem("unreadable", "The form has more than 10 parts; expected one file.")

    def _header_begin(self) -> None:
        self._name, self._value = b"", b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _MAX_PART_HEADERS:
            raise Problem("unreadable", "The headers of a part of the form are too long.")

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._is_file = b"filename" in options or options.get(b"name") == b"file"
        if not self._is_file:
            return
        if self._file is not None:
            raise Problem("unreadable", "The form holds more than one file; expected one.")
        self._file = new_spool(self._settings)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file and self._file is not None:
            self._file.write(data[start:end])

    def _end(self) -> None:
        self._is_whole = True


class _disk:  # noqa: N801 - reads like a function where it is used
    """A full disk is told as such."""

    def __enter__(self) -> None:
        """Nothing is opened."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Problem("disk_full", "There is no room for the body.") from None


def _too_large(what: str, most: int) -> Problem:
    return Problem("too_large", f"{what} is larger than {most} bytes; send it in parts.")
