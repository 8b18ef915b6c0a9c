"""What is asked of the samples of days, in plain values that travel to workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training_assets.kernels.integers import Int32Array, Int64Array, each_once


@dataclass(frozen=True)
class Rules:
    """Settings of training_samples; see ``settings.py``."""

    ratio: int = 4
    is_uniform: bool = True
    seed: int = 0
    kinds: tuple[int, ...] = (2, 3, 5)
    only_new: bool = False
    excludes_seen: bool = True


@dataclass(frozen=True)
class Window:
    """Days (since 1970-01-01) of samples, and which days of actions count for each.

    Days that count before every one of them need not be told apart: ``bucket`` gives them the same
    number, the day before the first. Two days of samples, with a look-back of three::

        days of actions   6  7  8  9  10  11         samples of 10 know 7 8 9, those of 11 8 9 10
        bucket            -  7  9  9  10  11
    """

    days: tuple[int, ...]
    lookback_days: int | None

    def bucket(self, day: int) -> int:
        is_common = self._start(self.days[-1]) <= day < self.days[0]
        return self.days[0] - 1 if is_common else day

    def before(self, bucket: int, day: int) -> bool:
        """Whether actions of a bucket are of the look-back of a day of samples."""
        return self._start(day) <= bucket < day

    def counts(self, bucket: int) -> bool:
        """Whether a bucket is of the look-back of any day of samples, or one of them."""
        return any(bucket == day or self.before(bucket, day) for day in self.days)

    def _start(self, day: int) -> int:
        return -(2**31) if self.lookback_days is None else day - self.lookback_days


@dataclass(frozen=True)
class ItemsOfDays:
    """What may be drawn on each day. items: int32 [U], ascending.

    counts: actions in a bucket, int64 [U]; is_candidate: bool [U] by day, packed in bits.
    """

    items: Int32Array
    counts: Mapping[int, Int64Array]
    is_candidate: Mapping[int, npt.NDArray[np.uint8]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        counts: Mapping[int, tuple[Int32Array, Int64Array]],
        active: Mapping[int, Int32Array],
    ) -> "ItemsOfDays":
        """From items with their actions by bucket, and active items by day; items ascending."""
        parts = [np.zeros(0, np.int32), *(items for items, _ in counts.values()), *active.values()]
        universe = each_once(np.concatenate(parts)).astype(np.int32)
        by_bucket = {}
        for bucket, (items, actions) in counts.items():
            by_bucket[bucket] = np.zeros(len(universe), np.int64)
            by_bucket[bucket][np.searchsorted(universe, items)] = actions
        masks = {day: np.packbits(np.isin(universe, items)) for day, items in active.items()}
        return cls(universe, by_bucket, masks)

    def of_day(self, window: Window, day: int) -> tuple[npt.NDArray[np.bool_], Int64Array]:
        """Which may be drawn, and the actions of each in the window.

        Without a catalogue those with an action there.
        """
        total = np.zeros(len(self.items), np.int64)
        for bucket, counts in self.counts.items():
            if window.before(bucket, day):
                total += counts
        if day not in self.is_candidate:
            return total > 0, total
        bits = np.unpackbits(self.is_candidate[day], count=len(self.items))
        return bits.astype(np.bool_), total
