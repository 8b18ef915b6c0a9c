"""Columns of lists of small integers in NumPy: rows that share lists, or lists of any length.

With a dictionary the values are places in it, as Parquet has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from training_assets.list_format.arrays import Ints, padding_type, ranges

_IDENTITY: Final = 2**12
# To look up in a table is quicker than to search, where numbers are not too far apart.
_DENSE: Final = 16


@dataclass(frozen=True)
class JaggedLists:
    """Lists of any length: row ``n`` holds ``values[offsets[n]:offsets[n + 1]]``.

    ``values`` are non-negative integers, ``offsets`` [rows + 1]. With a ``dictionary`` the values
    are places in it.
    """

    values: Ints
    offsets: Ints
    dictionary: Ints | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slice(self, start: int, count: int) -> "JaggedLists":
        """Up to ``count`` rows from ``start``; nothing is copied."""
        offsets = self.offsets[start : start + count + 1]
        values = self.values[offsets[0] : offsets[-1]]
        return JaggedLists(values, offsets - offsets[0], self.dictionary)

    def take(self, rows: Ints, *, at_most: int) -> "JaggedLists":
        """Some rows, each cut to its first ``at_most`` values."""
        whole = np.diff(self.offsets).take(rows)
        sizes = np.minimum(whole, at_most)
        if len(rows) and (np.diff(rows) == 1).all() and (sizes == whole).all():
            return self.slice(int(rows[0]), len(rows))
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        values = self.values.take(ranges(self.offsets.take(rows), sizes))
        return JaggedLists(values, offsets, self.dictionary)

    def plain(self) -> "JaggedLists":
        """The same without a dictionary."""
        if self.dictionary is None:
            return self
        return JaggedLists(self.dictionary.take(self.values), self.offsets)

    def encoded(self) -> "JaggedLists":
        """The same with a dictionary."""
        if self.dictionary is not None:
            return self
        dictionary, values = dictionary_of(self.values)
        return JaggedLists(values, self.offsets, dictionary)

    @classmethod
    def concat(cls, parts: "Sequence[JaggedLists]") -> "JaggedLists":
        """One after another. Of dictionaries, what the values use is left, the most used first.

        So most of the places are small numbers, which take less room than any other order.
        """
        sizes = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        if parts[0].dictionary is None:
            plain = [part.values for part in parts]
            return cls(plain[0] if len(parts) == 1 else np.concatenate(plain), offsets)
        columns = [(part.dictionary, part.values) for part in parts if part.dictionary is not None]
        uses = [np.bincount(own, minlength=len(entries)) for entries, own in columns]
        used = [entries[use > 0] for (entries, _), use in zip(columns, uses, strict=True)]
        distinct = _distinct(np.concatenate(used))
        if not len(distinct):
            return cls(np.zeros(0, np.uint16), offsets, np.zeros(1, np.int32))
        # Entries that no value uses get a place that is not theirs, and nobody asks for it.
        places = [_places(distinct, entries) for entries, _ in columns]
        total = np.zeros(len(distinct) + 1, np.int64)
        for place, use in zip(places, uses, strict=True):
            np.add.at(total, place, use)
        order = np.argsort(-total[:-1], kind="stable")
        rank = np.zeros(len(total), np.uint16 if len(distinct) <= 2**16 else np.uint32)
        rank[order] = np.arange(len(order))
        values = np.empty(offsets[-1], rank.dtype)
        end = 0
        for place, (_, own) in zip(places, columns, strict=True):
            start, end = end, end + len(own)
            np.take(rank.take(place), own, out=values[start:end], mode="clip")
        return cls(values, offsets, distinct.take(order))


@dataclass(frozen=True)
class SharedLists:
    """Padded lists that rows share: row ``n`` holds ``lists[index[n]]``, then padding.

    ``index`` is [rows]; ``length`` is that of every row with its padding, and no list is longer.
    ``padding`` is a value like those of the lists: with a dictionary, a place in it.
    """

    lists: JaggedLists
    index: Ints
    length: int
    padding: int = 0

    def __len__(self) -> int:
        return len(self.index)

    def encoded(self) -> "SharedLists":
        """The same with a dictionary."""
        lists = self.lists
        if lists.dictionary is not None:
            return self
        padding = np.array([self.padding], padding_type(lists.values, self.padding))
        dictionary, places = dictionary_of(np.append(padding, lists.values))
        encoded = JaggedLists(places[1:], lists.offsets, dictionary)
        return replace(self, lists=encoded, padding=int(places[0]))


def _distinct(values: Ints) -> Ints:
    """Ascending; quicker than by hashing where the values are a few ascending runs."""
    values = np.sort(values, kind="stable")
    is_new = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=is_new[1:])
    return values[is_new]


def _places(distinct: Ints, entries: Ints) -> Ints:
    """Of each entry the place among ascending numbers; any where it is not there."""
    top = int(distinct[-1]) + 1
    if top > _DENSE * len(distinct):
        return np.searchsorted(distinct, entries)
    table = np.zeros(top, np.int32)
    table[distinct] = np.arange(len(distinct), dtype=np.int32)
    return table.take(entries, mode="clip")


def dictionary_of(values: Ints) -> tuple[Ints, Ints]:
    """(distinct values, indices of the shape of ``values``)."""
    if not values.size:
        return np.zeros(1, np.int32), values
    if (top := int(values.max())) < _IDENTITY:
        # Small numbers are their own index.
        return np.arange(top + 1, dtype=np.int32), values
    flat = pa.array(values.reshape(-1)).dictionary_encode()
    return flat.dictionary.to_numpy(), flat.indices.to_numpy().reshape(values.shape)
