"""What a body is, by its first bytes, and whether its shape can be read at bounded cost.

Looks at a body a step at a time before anything parses it: lines, columns and nesting that no
honest file has end here, so that no parser meets them.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Final, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.service.bodies import Body
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings
from training_assets.service.spools import STEP

Format = Literal["csv", "jsonl", "json", "parquet"]

_PARQUET: Final = b"PAR1"
_BOM: Final = b"\xef\xbb\xbf"
_LOOK: Final = 4096
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
# What stands between the records of an array.
_SPACE: Final = re.compile(r"[\s,\[\]\ufeff]*")
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
_OPEN: Final = np.zeros(256, np.int8)
_OPEN[list(b"{[")] = 1
_CLOSE: Final = np.zeros(256, np.int8)
_CLOSE[list(b"}]")] = 1


def format_of(body: Body) -> Format:
    """Raises ``Problem`` 400 for nothing at all, 415 for what is none of the formats."""
    start = _start(body.file)
    if not start.strip():
        raise Problem("unreadable", "The body is empty.")
    if start.startswith(_PARQUET):
        return "parquet"
    text = start.removeprefix(_BOM).lstrip()
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Problem("unsupported_format", "The text is UTF-16; expected UTF-8.")
    if _NO_TEXT.search(start):
        raise Problem(
            "unsupported_format", "The content is not taken; expected CSV, JSON lines or Parquet."
        )
    if text.startswith(b"["):
        return "json"
    if text.startswith(b"{"):
        return "jsonl" if _is_object(text.partition(b"\n")[0], len(start) < _LOOK) else "json"
    return "csv"


def require_shape(body: Body, found: Format, settings: ServiceSettings) -> None:
    """Raises ``Problem`` for lines, columns or nesting beyond the limits."""
    body.file.seek(0)
    if found == "parquet":
        _require_parquet(body.file, settings)
    elif found == "json":
        _require_nesting(body.file, settings)
    else:
        _require_lines(body.file, found, settings)
    body.file.seek(0)


def _start(file: IO[bytes]) -> bytes:
    file.seek(0)
    start = file.read(_LOOK)
    file.seek(0)
    return start


def _is_object(line: bytes, is_all: bool) -> bool:
    """Whether a first line is an object by itself, or so long that it may be one."""
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return not is_all and len(line) >= _LOOK - 3


def _require_lines(file: IO[bytes], found: Format, settings: ServiceSettings) -> None:
    open_line, is_first = b"", True
    while step := file.read(STEP):
        text = open_line + step
        end = text.rfind(b"\n") + 1
        whole, open_line = text[:end], text[end:]
        if is_first and (whole or len(open_line) > settings.max_line_bytes):
            _require_columns(whole or open_line, found, settings)
            is_first = False
        _require_line_lengths(whole, open_line, settings)
        if found == "jsonl":
            _require_shallow_lines(whole, settings)
    if is_first:
        _require_columns(open_line, found, settings)
    if found == "jsonl":
        _require_shallow_lines(open_line, settings)


def _require_line_lengths(whole: bytes, open_line: bytes, settings: ServiceSettings) -> None:
    most = settings.max_line_bytes
    if len(open_line) <= most and len(whole) <= most:
        return
    ends = np.flatnonzero(np.frombuffer(whole, np.uint8) == 10)
    longest = int(np.diff(ends, prepend=-1).max(initial=0))
    if max(longest, len(open_line)) > most:
        raise Problem("too_large", f"A line is longer than {most} bytes.")


def _require_columns(text: bytes, found: Format, settings: ServiceSettings) -> None:
    if found != "csv":
        return
    header = text.partition(b"\n")[0]
    columns = 1 + max(header.count(mark) for mark in (b",", b";", b"\t", b"|"))
    if columns > settings.max_columns:
        raise Problem("too_large", f"The header has more than {settings.max_columns} columns.")


def _require_shallow_lines(lines: bytes, settings: ServiceSettings) -> None:
    """As many brackets as a line opens, that deep can it be; only those with many are looked at."""
    if lines.count(b"{") + lines.count(b"[") < settings.max_nesting:
        return
    code = np.frombuffer(lines, np.uint8)
    starts = np.concatenate(([0], np.flatnonzero(code == 10) + 1))
    starts = starts[starts < len(code)]
    objects = np.count_nonzero(code[starts] == ord("{"))
    # Each line that begins with a bracket has one; what is left may all be in one line.
    if sum(np.count_nonzero(code == ord(mark)) for mark in "{[") - objects < settings.max_nesting:
        return
    opened = np.add.reduceat(_OPEN[code].astype(np.int32), starts)
    for n in np.flatnonzero(opened > settings.max_nesting):
        stop = starts[n + 1] if n + 1 < len(starts) else len(code)
        _Depth(settings).add(lines[starts[n] : stop])


def _require_nesting(file: IO[bytes], settings: ServiceSettings) -> None:
    depth = _Depth(settings)
    while step := file.read(STEP):
        depth.add(step)


class _Depth:
    """How deep JSON is nested at each byte, and how long a record of it is."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._depth, self._in_string, self._tail = 0, 0, b""
        self._since_record = 0

    def add(self, step: bytes) -> None:
        text = self._tail + step
        # An escape is never cut in two.
        odd = (len(text) - len(text.rstrip(b"\\"))) % 2
        text, self._tail = (text[:-1], text[-1:]) if odd else (text, b"")
        if b"\\" in text:
            text = _ESCAPED.sub(b"__", text)
        code = np.frombuffer(text, np.uint8)
        if not len(code):
            return
        is_quote = code == 34
        in_string = (np.cumsum(is_quote, dtype=np.int64) + self._in_string) & 1
        outside = in_string == 0
        change = np.where(outside, _OPEN[code] - _CLOSE[code], 0)
        depth = np.cumsum(change, dtype=np.int64) + self._depth
        if int(depth.max()) > self._settings.max_nesting:
            raise Problem(
                "too_large", f"The JSON is nested deeper than {self._settings.max_nesting}."
            )
        self._require_short_records(outside & (depth <= 1), len(code))
        self._depth, self._in_string = int(depth[-1]), int(in_string[-1])

    def _require_short_records(self, is_between: np.ndarray, size: int) -> None:
        between = np.flatnonzero(is_between)
        most = self._settings.max_line_bytes
        if not len(between):
            self._since_record += size
            longest = self._since_record
        else:
            gaps = np.diff(between)
            longest = max(self._since_record + int(between[0]), int(gaps.max(initial=0)))
            self._since_record = size - int(between[-1]) - 1
        if max(longest, self._since_record) > most:
            raise Problem("too_large", f"A record is longer than {most} bytes.")


def _require_parquet(file: IO[bytes], settings: ServiceSettings) -> None:
    """Of what the footer tells; the rows themselves are counted as they are read."""
    try:
        found = pq.ParquetFile(file).metadata
        rows, columns = found.num_rows, found.num_columns
        most = max(
            (found.row_group(n).total_byte_size for n in range(found.num_row_groups)), default=0
        )
    except (OSError, pa.ArrowException, ValueError):
        raise Problem("unreadable", "The Parquet file cannot be read.") from None
    if columns > settings.max_columns:
        raise Problem("too_large", f"There are more than {settings.max_columns} columns.")
    if rows > settings.max_rows:
        raise Problem("too_large", f"There are more than {settings.max_rows} rows.")
    if most > settings.max_bytes:
        raise Problem("too_large", f"The rows are more than {settings.max_bytes} bytes.")


def record_spans(file: IO[bytes]) -> Iterator[bytes]:
    """The objects of JSON that is one array, or objects one after another, as they were sent.

    Takes well-formed JSON: others end early.
    """
    decoder = json.JSONDecoder()
    waiting = ""
    text = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        step = file.read(STEP)
        waiting += text.decode(step, final=not step)
        position = 0
        while True:
            position = _SPACE.match(waiting, position).end()  # type: ignore[union-attr]
            try:
                _, stop = decoder.raw_decode(waiting, position)
            except (ValueError, RecursionError):
                break
            # A number or word may go on in the next step.
            if stop == len(waiting) and step:
                break
            yield waiting[position:stop].encode()
            position = stop
        waiting = waiting[position:]
        if not step:
            return
