"""Integer ids of text ids, once and for ever: two tables that are only ever added to.

    item_ids      (id, text, first_seen)   1, 2, 3 … in order of first day and text
    customer_ids  (id, text, first_seen)   64 bits of a hash of the text

Histories hold integers. A lake has integer ids or text ids of an entity, never both. What a day
needs is added before the day is published, by a commit on the version that was looked at: of two
runs at once one comes second, looks again and adds what is then still new. The hash tells a
customer's id without a look-up; that no two texts share one is what the table is for.

Runs on the workers; needs pyarrow only. ``id_tables.py`` adds to the tables.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.errors import RawDataError
from training_assets.list_format import SealedParquet
from training_assets.sources.memo import kept

# What several blanks or a tab in a row look like.
_BLANKS: Final = r"\s\s+|[\t\n\r\f\v]"
_DELETE: Final = 127
INTEGER: Final = r"^-?(0|[1-9]\d{0,18})$"


def hash_text(text: str) -> int:
    """64 bits with a sign; the same on every machine, for ever."""
    return int.from_bytes(
        hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True
    )


def hash_texts(texts: pa.Array) -> pa.Array:
    """Customer ids of text ids; each distinct text is hashed once."""
    encoded = texts.dictionary_encode()
    hashes = pa.array([hash_text(text) for text in encoded.dictionary.to_pylist()], pa.int64())
    return hashes.take(encoded.indices)


def cleaned(texts: pa.Array, *, keeps_lines: bool = False) -> pa.Array:
    """Trimmed, in NFC, several blanks as one unless ``keeps_lines``."""
    if _is_plain(texts):
        return texts
    texts = pc.utf8_trim_whitespace(texts)
    if not pc.all(pc.string_is_ascii(texts), min_count=0).as_py():
        texts = pc.utf8_normalize(texts, form="NFC")
    if keeps_lines or not pc.any(pc.match_substring_regex(texts, _BLANKS), min_count=0).as_py():
        return texts
    return pc.replace_substring_regex(texts, r"\s+", " ")


def _is_plain(texts: pa.Array) -> bool:
    """Whether all that is in them is ASCII that is neither blank nor controls anything."""
    if texts.type != pa.string() or not len(texts):
        return False
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    if data is None or ends[0] == ends[-1]:
        return True
    found = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    return bool(found.min() > ord(" ") and found.max() < _DELETE)


def are_integers(texts: pa.Array) -> pa.Array:
    """Which of the texts are integers as they are written without need: 7, -7; not 07, 7.0."""
    return pc.match_substring_regex(texts, INTEGER)


def integers_of(texts: pa.Array, where: str) -> pa.Array:
    """Integer ids as they are; raises ``RawDataError`` where one is a text."""
    if not pc.all(are_integers(texts), min_count=0).as_py():
        raise mixed(where, texts.filter(pc.invert(are_integers(texts)))[0].as_py(), "integers")
    try:
        return texts.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise RawDataError(f"{where}: an id is beyond 64 bits ({error}). Correct it.") from None


def items_of(texts: pa.Array, files: Sequence[str]) -> pa.Array:
    """Item ids of text ids, from the files of ``item_ids``; null for a text that has none."""
    known = known_items(tuple(files))
    encoded = texts.dictionary_encode()
    ids = pa.array([known.get(text) for text in encoded.dictionary.to_pylist()], pa.int32())
    return ids.take(encoded.indices)


def texts_only(texts: pa.Array, where: str) -> pa.Array:
    """The texts; raises ``RawDataError`` where one is an integer, which would be another entity."""
    if pc.any(are_integers(texts), min_count=0).as_py():
        raise mixed(where, texts.filter(are_integers(texts))[0].as_py(), "texts")
    return texts


def mixed(where: str, example: Any, expected: str) -> RawDataError:
    return RawDataError(
        f"{where}: the id {str(example)[:80]!r} is of another kind than the lake's other ids, "
        f"which are {expected}; expected one kind for all. Deliver the ids as the other deliveries "
        "have them, or use a lake of its own."
    )


@kept(4)
def known_items(files: tuple[str, ...]) -> dict[str, int]:
    """Numbers of items by their text, from the files of ``item_ids``."""
    known: dict[str, int] = {}
    for file in files:
        rows = SealedParquet(file).read(["id", "text"])
        known |= zip(rows["text"].to_pylist(), rows["id"].to_pylist(), strict=True)
    return known


# As Arrow reads it: digits are those of ASCII, and a line break at the end is none of it.
_PATTERN: Final = re.compile(INTEGER.removeprefix("^").removesuffix("$"), re.ASCII)


def is_integer(text: str) -> bool:
    return _PATTERN.fullmatch(text) is not None
