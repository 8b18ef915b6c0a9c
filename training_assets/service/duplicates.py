"""Whether an id stood in an earlier row of the same upload, however large that is.

Ids are held as 64-bit hashes, eight bytes each. Of 20 million different ids one would be taken for
another in one of 100,000 uploads.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa

# By data type, the column whose values may stand in one row only.
UNIQUE: Final = {"interactions": "interaction_id", "items": "item_id", "users": "user_id"}


class SeenTogether:
    """The same of small uploads that are judged together: an id may stand in each of them.

    ``starts`` are the numbers, from 1, of their first rows. Ids are held as they are.
    """

    def __init__(self, starts: Sequence[int]) -> None:
        self._starts = np.asarray(starts, np.int64)
        self._known: dict[int, set[str]] = defaultdict(set)

    def repeated(self, ids: pa.ChunkedArray, numbers: np.ndarray) -> np.ndarray:
        """Whether each id stood before; nulls never did. Remembers all of them."""
        is_repeated = np.zeros(len(ids), bool)
        uploads = np.searchsorted(self._starts, numbers, side="right")
        firsts = np.flatnonzero(np.diff(uploads, prepend=-1)).tolist()
        values = ids.to_pylist()
        for first, stop in pairwise([*firsts, len(values)]):
            own, known = values[first:stop], self._known[int(uploads[first])]
            fresh = set(own)
            if None not in fresh and len(fresh) == len(own) and known.isdisjoint(fresh):
                known |= fresh
                continue
            for place, one in enumerate(own, first):
                is_repeated[place] = one in known
                if one is not None:
                    known.add(one)
        return is_repeated


class SeenIds:
    """Ids of the rows so far, as sorted runs of falling length."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def repeated(self, ids: pa.ChunkedArray, numbers: np.ndarray) -> np.ndarray:
        """Whether each id stood before; nulls never did. Remembers all of them."""
        is_repeated = np.zeros(len(ids), bool)
        places = np.flatnonzero(ids.is_valid().to_numpy())
        if not len(places):
            return is_repeated
        # Imported with the first id: it is 60 MB, and many uploads have none.
        from pandas.util import hash_array

        hashes = hash_array(ids.drop_null().to_numpy())
        unique, first = np.unique(hashes, return_index=True)
        is_first = np.zeros(len(hashes), bool)
        is_first[first] = True
        is_known = ~is_first
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            is_known |= run[at] == hashes
        self._remember(unique)
        is_repeated[places] = is_known
        return is_repeated

    def _remember(self, hashes: np.ndarray) -> None:
        while self._runs and len(self._runs[-1]) <= 2 * len(hashes):
            hashes = np.union1d(self._runs.pop(), hashes)
        self._runs.append(hashes)
