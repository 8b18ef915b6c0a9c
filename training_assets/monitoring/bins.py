"""Numbers as counts by bin: the same bins for every day and table, so that days can be added up.

A bin holds the values that agree in sign, exponent and the first four bits behind the leading one:
16 bins for every doubling. Whole numbers below 32 have a bin each, and 0 has one of its own; the
largest value of a bin is at most 1/16 above its smallest.
"""

from typing import Any, Final, TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray[Any, Any]

_BITS: Final = 52 - 4


def keys_of(values: Floats) -> Floats:
    """The bin of each value, ascending with the values; none of them may be NaN.

    0.0 is in bin 0, 1.0 in 16368, 1.03 in the same, 1.0625 in 16369, -1.0 in -16369.
    """
    # Adding 0.0 makes -0.0 a 0.0.
    exact = values.astype(np.float64) + 0.0
    magnitude = (np.abs(exact).view(np.int64) >> _BITS).astype(np.int64)
    keys: Floats = np.where(exact < 0, -magnitude - 1, magnitude)
    return keys


def count_keys(values: Floats, times: Floats | None = None) -> dict[int, int]:
    """Values by bin, the bins ascending; with ``times``, each counts so often."""
    if not len(values):
        return {}
    keys = keys_of(values)
    lowest = int(keys.min())
    keys -= lowest
    counts = np.bincount(keys)
    if times is not None:
        np.add.at(counts, keys, times - 1)
    filled = np.flatnonzero(counts)
    return dict(zip((filled + lowest).tolist(), counts[filled].tolist(), strict=True))


def value_of(key: int) -> float:
    """The value of a bin that is nearest to 0: the smallest of a positive one."""
    magnitude = key if key >= 0 else -key - 1
    value = float(np.array([magnitude << _BITS], np.int64).view(np.float64)[0])
    return value if key >= 0 else -value
