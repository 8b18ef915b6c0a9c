"""Whether an id stood in an earlier row of the same upload, however large that is.

Ids are held as 64-bit hashes, eight bytes each. Of 20 million different ids one would be taken for
another in one of 100,000 uploads.
"""

from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

# By data type, the column whose values may stand in one row only.
UNIQUE: Final = {"interactions": "interaction_id", "items": "item_id", "users": "user_id"}


class SeenIds:
    """Ids of the rows so far, as sorted runs of falling length."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def repeated(self, ids: pa.ChunkedArray) -> np.ndarray:
        """Whether each id stood before; nulls never did. Remembers all of them."""
        is_repeated = np.zeros(len(ids), bool)
        places = np.flatnonzero(ids.is_valid().to_numpy())
        if not len(places):
            return is_repeated
        hashes = pd.util.hash_array(ids.drop_null().to_numpy())
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
