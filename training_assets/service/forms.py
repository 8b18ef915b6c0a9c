"""The one file of a form (``multipart/form-data``); names of files are never used."""

from collections.abc import Mapping
from typing import IO, Any, Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings
from training_assets.service.spools import STEP, new_spool, told_disk

_MAX_PART_HEADERS: Final = 16 * 2**10
_MAX_PARTS: Final = 10


def file_of_form(
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
            with told_disk():
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
        if self._parts > _MAX_PARTS:
            raise Problem(
                "unreadable", f"The form has more than {_MAX_PARTS} parts; expected one file."
            )

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
