"""Reads the body of a request, hostile until it is read, into a file on disk.

As it comes it is only counted and kept (``receive``, in the event loop); a thread then takes the
one file out of a multipart body and unpacks it in steps, against bounds of size and of ratio
(``unpack``). Names of files are never used. What a body is, its first bytes say.
"""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Final

import pyarrow as pa

from training_assets.service.forms import file_of_form
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings
from training_assets.service.spools import STEP, new_spool, told_disk

_MIN_BYTES_PER_SECOND: Final = 1024
_MIN_FOR_RATIO: Final = 2**20
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ENCODINGS: Final = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}


@dataclass
class Body:
    """A body unpacked, as an open file at its beginning; ``close`` it.

    ``sha256`` is empty where nobody asked for it.
    """

    file: IO[bytes]
    size: int
    packed_size: int
    sha256: str

    def close(self) -> None:
        self.file.close()


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
    clock = asyncio.get_running_loop().time
    size, began = 0, clock()
    try:
        async with asyncio.timeout(settings.body_seconds) as waiting:
            async for chunk in stream:
                now = clock()
                waiting.reschedule(now + settings.body_seconds)
                size += len(chunk)
                if size > settings.max_packed_bytes:
                    raise _too_large("The body", settings.max_packed_bytes)
                late = now - began - settings.body_seconds
                if late > 0 and size < late * _MIN_BYTES_PER_SECOND:
                    raise Problem(
                        "timeout", f"Less than {_MIN_BYTES_PER_SECOND} bytes a second came."
                    )
                with told_disk():
                    spool.write(chunk)
    except TimeoutError:
        raise Problem("timeout", f"Nothing came for {settings.body_seconds:g} seconds.") from None


def unpack(
    sent: IO[bytes],
    headers: Mapping[str, str],
    settings: ServiceSettings,
    *,
    is_hashed: bool = True,
) -> Body:
    """The content of a body that was received; closes ``sent``, unless it is the content.

    Raises ``Problem`` 400 for what is broken or more than one file, 413 for what is too large, 415
    for an encoding that is not known.
    """
    try:
        packed_size = sent.seek(0, 2)
        sent.seek(0)
        content = file_of_form(sent, headers, settings) or sent
        encoding = _encoding(content, headers)
        if encoding is None:
            return _as_body(content, packed_size, is_hashed=is_hashed)
        unpacked = new_spool(settings)
        try:
            with told_disk():
                _unpack(content, unpacked, encoding, packed_size, settings)
            return _as_body(unpacked, packed_size, is_hashed=is_hashed)
        except BaseException:
            unpacked.close()
            raise
        finally:
            content.close()
    except BaseException:
        sent.close()
        raise


def _as_body(content: IO[bytes], packed_size: int, *, is_hashed: bool) -> Body:
    if not is_hashed:
        size = content.seek(0, 2)
        content.seek(0)
        return Body(content, size, packed_size, "")
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


def _too_large(what: str, most: int) -> Problem:
    return Problem("too_large", f"{what} is larger than {most} bytes; send it in parts.")
