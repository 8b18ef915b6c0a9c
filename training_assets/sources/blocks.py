"""Text in blocks of whole rows: where each row of CSV or JSON begins and ends.

A row of JSON lines is a line. A row of CSV is a line, or several where a break stands within
quotes; a quote that nothing ends is a fault of its own line and swallows no other. A row of a JSON
document is an element of its array, or one of several objects after another. Blank lines are no
rows.

Blocks without anything odd are looked at as arrays of bytes, the others line by line; both find the
same rows. Runs on the workers; needs pyarrow and NumPy only.
"""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import IO, Final, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

_BLOCK_BYTES: Final = 1 << 20
MAX_ROW_BYTES: Final = 64 << 20
_MAX_LINE_BREAKS: Final = 10_000
_BLANK: Final = b" \t\r\n"
_BETWEEN: Final = _BLANK + b","
_AROUND: Final = _BETWEEN + b"[]"
# Of what stands between objects: strings, and what parts elements.
_TOKENS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[][,]', re.DOTALL)
_NEWLINE, _RETURN, _QUOTE, _BACKSLASH = b'\n\r"\\'
_SPACE: Final = 32

Ints = np.ndarray
_Found = TypeVar("_Found")


class Block(NamedTuple):
    """Rows of text: ``data[starts[n]:stops[n]]`` is the n-th, without its line end.

    ``rows`` and ``lines`` are their numbers in what was read, from 1 on. ``is_plain`` says that
    each quote stands where CSV has it.
    """

    data: bytes
    starts: Ints
    stops: Ints
    rows: Ints
    lines: Ints
    is_plain: bool

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, number: int) -> bytes:
        return self.data[self.starts[number] : self.stops[number]]

    def only(self, is_kept: Ints) -> "Block":
        """The rows that are kept, with their numbers."""
        starts, stops = self.starts[is_kept], self.stops[is_kept]
        rows, lines = self.rows[is_kept], self.lines[is_kept]
        return Block(self.data, starts, stops, rows, lines, self.is_plain)

    def texts(self) -> pa.Array:
        """The rows as bytes; blanks and line ends may follow them."""
        gaps = self.data_at(self.stops[:-1]), self.starts[1:] - self.stops[:-1]
        if len(self) > 1 and (gaps[0] <= _RETURN).all() and gaps[1].max() <= 2:
            offsets = np.append(self.starts, self.stops[-1]).astype(np.int32)
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
            return pa.Array.from_buffers(pa.binary(), len(self), buffers)
        return pa.array([self.row(n) for n in range(len(self))], pa.binary())

    def data_at(self, places: Ints) -> Ints:
        return np.frombuffer(self.data, np.uint8)[places]


class _Ends(NamedTuple):
    """Where rows end, up to a place from which nothing is known yet.

    ``newlines`` are the ends of lines, None where each line is a row.
    """

    starts: Ints
    stops: Ints
    known: int
    is_plain: bool = True
    newlines: Ints | None = None


def blocks(
    file: IO[bytes], form: str, *, delimiter: str = ",", size: int = -1, line: int = 1
) -> Iterator[Block]:
    """The rows of ``size`` bytes of a file, or of all that follows.

    ``form`` is ``csv``, ``lines`` or ``document``; ``line`` the number of the first line.
    """
    row = 1

    def look(data: bytes, is_last: bool, is_first: bool) -> tuple[tuple[bytes, _Ends], int]:
        found = _ends(data, form, delimiter, is_last, is_first)
        return (data, found), found.known

    for data, found in _pieces(file, size, look):
        if len(block := _block(data, found, row, line)):
            yield block
        row += len(block)
        line += _num_lines(found)


def count_rows(file: IO[bytes], form: str, *, delimiter: str = ",", size: int = -1) -> int:
    """How many rows ``blocks`` finds."""

    def look(data: bytes, is_last: bool, is_first: bool) -> tuple[int, int]:
        is_quoted = form == "csv" and b'"' in data
        if form != "document" and not is_quoted and (found := _num_plain_rows(data, is_last)):
            return found
        ends = _ends(data, form, delimiter, is_last, is_first)
        return len(_block(data, ends, 1, 1)), ends.known

    return sum(_pieces(file, size, look))


def _num_plain_rows(data: bytes, is_last: bool) -> tuple[int, int] | None:
    """Lines, and where the last of them ends; None where one may be blank."""
    known = len(data) if is_last else data.rfind(b"\n") + 1
    array = np.frombuffer(data, np.uint8, known)
    is_newline = array == _NEWLINE
    if known and (array[0] <= _SPACE or (is_newline[:-1] & (array[1:] <= _SPACE)).any()):
        return None
    return int(np.count_nonzero(is_newline)) + bool(known and not is_newline[-1]), known


def _pieces(
    file: IO[bytes], size: int, look: Callable[[bytes, bool, bool], tuple[_Found, int]]
) -> Iterator[_Found]:
    """What ``look`` finds in the bytes of a file, piece by piece, and up to where.

    It is told whether a piece is the last, and whether it is of the first row. What is not known
    yet is looked at again.
    """
    rest, is_first = b"", True
    left = size
    step = _BLOCK_BYTES
    while True:
        wanted = step if left < 0 else min(step, left)
        fresh = file.read(wanted) if wanted else b""
        left -= len(fresh) if left > 0 else 0
        is_last = not fresh
        data = rest + fresh if rest else fresh
        if data:
            found, known = look(data, is_last, is_first)
            yield found
            is_first = is_first and not known
            rest = data[known:]
            # Twice as much the next time, so that it ends.
            step = max(_BLOCK_BYTES, len(rest))
            if len(rest) > MAX_ROW_BYTES:
                raise OSError(f"a row is longer than {MAX_ROW_BYTES >> 20} MiB")
        if is_last:
            return


def splits(file: IO[bytes], delimiter: str, start: int, stop: int, step: int) -> list[int]:
    """Places between ``start`` and ``stop`` of CSV at which a row begins, about ``step`` apart.

    The file stands at ``start``.
    """
    found, rest, place = [start], b"", start
    while place + len(rest) < stop:
        fresh = file.read(min(_BLOCK_BYTES, stop - place - len(rest)))
        if not fresh:
            break
        data = rest + fresh
        if b'"' in data:
            known = _ends(data, "csv", delimiter, False).known
        else:
            known = data.rfind(b"\n") + 1
        place, rest = place + known, data[known:]
        if len(rest) > MAX_ROW_BYTES:
            break
        if place - found[-1] >= step and place < stop:
            found.append(place)
    return found


def _ends(data: bytes, form: str, delimiter: str, is_last: bool, is_first: bool = False) -> _Ends:
    if form == "csv" and b'"' in data:
        return _quoted(data, delimiter, is_last)
    if form == "document":
        return _objects(data, is_last, is_first)
    return _lines(data, is_last)


def _block(data: bytes, found: _Ends, row: int, line: int) -> Block:
    starts, newlines = found.starts, found.newlines
    lines = np.arange(len(starts)) if newlines is None else np.searchsorted(newlines, starts)
    lines += line
    stops, is_kept = _not_blank(data, starts, found.stops)
    if not is_kept.all():
        starts, stops, lines = starts[is_kept], stops[is_kept], lines[is_kept]
    rows = np.arange(row, row + len(starts))
    return Block(data, starts, stops, rows, lines, found.is_plain)


def _num_lines(found: _Ends) -> int:
    if found.newlines is None:
        return len(found.starts)
    return int(np.searchsorted(found.newlines, found.known))


def _not_blank(data: bytes, starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """Ends of the rows before their carriage returns, and which rows are not blank."""
    array = np.frombuffer(data, np.uint8)
    is_kept = stops > starts
    while (is_ended := is_kept & (array.take(stops - 1, mode="clip") == _RETURN)).any():
        stops = stops - is_ended
        is_kept = stops > starts
    odd = np.flatnonzero(is_kept & (array.take(starts, mode="clip") <= _SPACE))
    for n in odd.tolist():
        is_kept[n] = not data[starts[n] : stops[n]].isspace()
    return stops, is_kept


def _lines(data: bytes, is_last: bool) -> _Ends:
    return _between(_newlines(data), len(data), is_last)


def _newlines(data: bytes) -> Ints:
    return np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)


def _between(ends: Ints, size: int, is_last: bool, is_plain: bool = True) -> _Ends:
    """Rows that end before each of the newlines, and at the end of the last block."""
    known = int(ends[-1]) + 1 if len(ends) else 0
    if is_last and known < size:
        ends, known = np.append(ends, size), size
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    return _Ends(starts, ends, known, is_plain)


# --- CSV ------------------------------------------------------------------------------------------


def _quoted(data: bytes, delimiter: str, is_last: bool) -> _Ends:
    array = np.frombuffer(data, np.uint8)
    newlines = _newlines(data)
    quotes = np.flatnonzero(array == _QUOTE)
    opens, closes = quotes[0::2], quotes[1::2]
    before = array[np.maximum(opens - 1, 0)]
    is_open = (opens == 0) | _is_any(before, _NEWLINE, ord(delimiter), _QUOTE)
    after = array[np.minimum(closes + 1, len(array) - 1)]
    second = array[np.minimum(closes + 2, len(array) - 1)]
    is_closed = (closes == len(array) - 1) | _is_any(after, _NEWLINE, ord(delimiter), _QUOTE)
    is_closed |= (after == _RETURN) & ((second == _NEWLINE) | (closes >= len(array) - 2))
    if is_open.all() and is_closed.all():
        ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
        tail = int(ends[-1]) + 1 if len(ends) else 0
        breaks = len(newlines) - int(np.searchsorted(newlines, tail))
        if breaks <= _MAX_LINE_BREAKS and not (is_last and len(quotes) % 2):
            return _between(ends, len(data), is_last)._replace(newlines=newlines)
    return _carefully(data, newlines, quotes, delimiter, is_last)


def _is_any(bytes_: Ints, *values: int) -> Ints:
    found = bytes_ == values[0]
    for value in values[1:]:
        found |= bytes_ == value
    return found


class _Patterns(NamedTuple):
    """Cells and then one that has no end, on a line; the end of such a cell, or not, on a later."""

    opens: re.Pattern[bytes]
    closes: re.Pattern[bytes]
    stays_open: re.Pattern[bytes]
    plain: re.Pattern[bytes]


_KNOWN: Final[dict[str, _Patterns]] = {}


def patterns(delimiter: str) -> _Patterns:
    if delimiter not in _KNOWN:
        _KNOWN[delimiter] = _patterns(delimiter)
    return _KNOWN[delimiter]


def _patterns(delimiter: str) -> _Patterns:
    # A line can be read in one way only, so nothing else is found by giving back what was matched.
    # The groups may do that all the same: Python before 3.11.5 matches possessive groups wrongly.
    quoted = rb'[^"]*+(?:""[^"]*+)*'
    by = re.escape(delimiter.encode())
    bare = rb'(?!")[^%b"]*+' % by
    return _Patterns(
        re.compile(rb'(?:(?:"%b"|(?!")[^%b]*+)%b)*"%b\Z' % (quoted, by, by, quoted)),
        re.compile(rb'%b"(?:%b|\Z)' % (quoted, by)),
        re.compile(rb"%b\Z" % quoted),
        re.compile(rb'(?:"%b"|%b)(?:%b(?:"%b"|%b))*' % (quoted, bare, by, quoted, bare)),
    )


def _carefully(data: bytes, newlines: Ints, quotes: Ints, delimiter: str, is_last: bool) -> _Ends:
    """The same by a look at each line that has a quote."""
    whole = _between(newlines, len(data), is_last)
    starts, stops = whole.starts.tolist(), whole.stops.tolist()
    owners = np.unique(np.searchsorted(whole.stops, quotes)).tolist()
    has_quote = set(owners)
    opens = patterns(delimiter).opens
    joined: dict[int, int] = {}
    skip = -1
    for first in owners:
        if first <= skip or first >= len(starts):
            continue
        if not opens.match(_bare(data, starts[first], stops[first])):
            continue
        last = _last_piece(data, starts, stops, first, has_quote, delimiter)
        if last is None and not is_last:
            # Whether a later line ends it is not known yet.
            return _joined(starts[:first], stops[:first], joined)._replace(newlines=newlines)
        if last is not None:
            joined[first] = skip = last
    found = _joined(starts, stops, joined)
    return found._replace(known=whole.known, newlines=newlines)


def _bare(data: bytes, start: int, stop: int) -> bytes:
    return data[start:stop].rstrip(b"\r")


def _joined(starts: list[int], stops: list[int], joined: dict[int, int]) -> _Ends:
    inner = {n for first, last in joined.items() for n in range(first + 1, last + 1)}
    kept = [n for n in range(len(starts)) if n not in inner]
    ends = [stops[joined.get(n, n)] for n in kept]
    known = stops[-1] + 1 if stops else 0
    return _Ends(
        np.array([starts[n] for n in kept], np.int64), np.array(ends, np.int64), known, False
    )


def _last_piece(
    data: bytes,
    starts: list[int],
    stops: list[int],
    first: int,
    has_quote: set[int],
    delimiter: str,
) -> int | None:
    """The line that ends the row which ``first`` begins; ``first`` where none does.

    None where the lines are at their end before that is known.
    """
    of = patterns(delimiter)
    for number in range(first + 1, first + 1 + _MAX_LINE_BREAKS):
        if number >= len(starts):
            return None
        if number not in has_quote:
            continue
        line = _bare(data, starts[number], stops[number])
        if of.stays_open.match(line):
            continue
        closed = of.closes.match(line)
        if closed is None:
            return first
        if not of.opens.match(line, closed.end()):
            return number
    return first


# --- JSON documents -------------------------------------------------------------------------------


def _objects(data: bytes, is_last: bool, is_first: bool) -> _Ends:
    """Objects by their braces, and what else is an element of the array that they stand in.

    A break within a string is none of JSON: then, and where braces do not fit, rows are lines.
    """
    array = np.frombuffer(data, np.uint8)
    quotes = _real_quotes(data, array)
    inside = np.zeros(len(array), bool)
    inside[quotes] = True
    inside = np.logical_xor.accumulate(inside) if len(quotes) else inside
    if (inside & (array == _NEWLINE)).any() or (is_last and len(quotes) % 2):
        return _lines_of_objects(data, is_last)
    steps = np.zeros(len(array), np.int32)
    steps[(array == ord("{")) & ~inside] = 1
    steps[(array == ord("}")) & ~inside] = -1
    depth = np.cumsum(steps)
    if len(depth) and depth.min() < 0:
        return _lines_of_objects(data, is_last)
    starts = np.flatnonzero((steps == 1) & (depth == 1))
    stops = np.flatnonzero((steps == -1) & (depth == 0)) + 1
    if is_last and len(starts) != len(stops):
        return _lines_of_objects(data, is_last)
    starts = starts[: len(stops)]
    known = int(stops[-1]) if len(stops) else 0
    edges = [0, *stops.tolist()] if len(stops) else [0]
    tails = [*starts.tolist(), len(data)] if is_last else starts.tolist()
    others = [
        element
        for low, high in zip(edges, tails, strict=False)
        if data[low:high].strip(_BETWEEN)
        for element in _others(data, low, high, is_first and not low)
    ]
    if others:
        pairs = sorted([*zip(starts.tolist(), stops.tolist(), strict=True), *others])
        starts = np.array([low for low, _ in pairs], np.int64)
        stops = np.array([high for _, high in pairs], np.int64)
    newlines = _newlines(data)
    return _Ends(starts, stops, len(data) if is_last else known, newlines=newlines)


def _others(data: bytes, low: int, high: int, is_first: bool) -> Iterator[tuple[int, int]]:
    """Elements that are no objects; ``is_first`` where the first bracket may be the array's own.

    An array that begins and ends here is one element.
    """
    cuts, opened = [low - 1], []
    is_own = is_first
    for token in _TOKENS.finditer(data, low, high):
        if token[0] == b"[" and not is_own:
            opened.append(len(cuts))
        elif token[0] == b"]" and opened:
            del cuts[opened.pop() :]
            continue
        if token[0] in (b"[", b"]", b","):
            cuts.append(token.start())
        is_own = False
    for before, after in pairwise([*cuts, high]):
        text = data[before + 1 : after]
        if bare := text.strip(_BLANK):
            start = before + 1 + text.index(bare)
            yield start, start + len(bare)


def _trimmed(data: bytes, low: int, high: int) -> tuple[int, int]:
    """Without the commas and brackets of an array around it."""
    text = data[low:high]
    return high - len(text.lstrip(_AROUND)), low + len(text.rstrip(_AROUND))


def _real_quotes(data: bytes, array: Ints) -> Ints:
    """Quotes that begin or end a string: no odd number of backslashes stands before them."""
    quotes = np.flatnonzero(array == _QUOTE)
    odd = quotes[(quotes > 0) & (array[np.maximum(quotes - 1, 0)] == _BACKSLASH)]
    escaped = []
    for place in odd.tolist():
        before = data[max(0, place - 64) : place]
        count = len(before) - len(before.rstrip(b"\\"))
        if count == 64:
            before = data[:place]
            count = len(before) - len(before.rstrip(b"\\"))
        if count % 2:
            escaped.append(place)
    return np.setdiff1d(quotes, np.array(escaped, np.int64)) if escaped else quotes


def _lines_of_objects(data: bytes, is_last: bool) -> _Ends:
    """Lines without the commas and brackets of an array around them."""
    found = _lines(data, is_last)
    starts, stops = [], []
    for start, stop in zip(found.starts.tolist(), found.stops.tolist(), strict=True):
        low, high = _trimmed(data, start, stop)
        if low < high:
            starts.append(low)
            stops.append(high)
    rows = np.array(starts, np.int64), np.array(stops, np.int64)
    return _Ends(*rows, found.known, newlines=_newlines(data))
