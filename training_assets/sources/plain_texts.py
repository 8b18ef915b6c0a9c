"""Texts of which one look at their bytes tells what else takes a look at each.

Most ids and keys are such. Runs on the workers; needs pyarrow and NumPy only.
"""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

_BLANK: Final = ord(" ")
_DELETE: Final = 127


class PlainTexts(NamedTuple):
    """Of texts of ASCII without blanks and control characters how long they are."""

    shortest: int
    longest: int
    is_lower: bool


def plain_texts(texts: pa.Array) -> PlainTexts | None:
    """None where one of them is null, or may be other than plain."""
    if texts.type != pa.string() or not len(texts) or texts.null_count:
        return None
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    first, last = int(ends[0]), int(ends[-1])
    if data is None or first == last:
        return PlainTexts(0, 0, True)
    found = np.frombuffer(data, np.uint8)[first:last]
    if found.min() <= _BLANK or found.max() >= _DELETE:
        return None
    lengths = ends[1:] - ends[:-1]
    letters = found.tobytes()
    return PlainTexts(int(lengths.min()), int(lengths.max()), letters == letters.lower())
