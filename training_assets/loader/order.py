"""Which examples come when: pure functions of sizes, seed, epoch and day.

A day of ``n`` examples is put in an order, the order is cut into steps of ``batch_size`` times
``world_size``, and each step is cut into one batch per rank. So ranks see disjoint examples, all
examples are seen once per epoch, and the examples of a step do not depend on how many ranks share
it. Workers of a rank take its batches in turn (batch ``k`` belongs to worker ``k % workers``), so
the stream of a rank is the same with any number of workers.

Five examples, ``batch_size=1``, ``world_size=2``, day order ``[3, 0, 4, 1, 2]``::

    step      0       1       2
    rank 0    3       4       2
    rank 1    0       1       -     fewer examples than ranks are left: rank 1 has no third batch
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import numpy as np

from training_assets.errors import SettingsError
from training_assets.loader.arrays import Int32Array, Int64Array

Shuffle = Literal["examples", "histories", "none"]


def random_order(size: int, *, seed: int, epoch: int, dt: date) -> Int64Array:
    """A permutation of ``0..size-1``; int64 [size].

    The same on every machine and NumPy version: NumPy keeps the raw stream of a bit generator
    stable, but not what ``Generator.permutation`` makes of it. Each key holds random bits above
    the number itself, so no two are equal and any sort gives the same result.
    """
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch, dt.toordinal()]))
    keys = bits.random_raw(size).astype(np.uint64, copy=False)
    low = np.uint64(max(size - 1, 1).bit_length())
    keys >>= low
    keys <<= low
    keys |= np.arange(size, dtype=np.uint64)
    keys.sort()
    keys &= np.uint64((1 << int(low)) - 1)
    return keys.view(np.int64)


def shuffled_examples(pointer: Int32Array, *, seed: int, epoch: int, dt: date) -> Int64Array:
    """Every example on its own place at random: the order for independent examples."""
    return random_order(len(pointer), seed=seed, epoch=epoch, dt=dt)


def shuffled_histories(pointer: Int32Array, *, seed: int, epoch: int, dt: date) -> Int64Array:
    """Histories at random, the examples of one history side by side in stored order.

    A deduplicated batch then holds about ``batch_size`` / (examples per history) histories,
    where ``shuffled_examples`` would give it nearly ``batch_size`` of them.
    """
    num_histories = int(pointer.max()) + 1 if len(pointer) else 0
    place = np.empty(num_histories, np.int64)
    place[random_order(num_histories, seed=seed, epoch=epoch, dt=dt)] = np.arange(num_histories)
    return np.argsort(place[pointer], kind="stable")


def stored_order(pointer: Int32Array, *, seed: int, epoch: int, dt: date) -> Int64Array:
    """As the rows lie in the files, files in name order."""
    return np.arange(len(pointer), dtype=np.int64)


ORDERS: Final[dict[str, Callable[..., Int64Array]]] = {
    "examples": shuffled_examples,
    "histories": shuffled_histories,
    "none": stored_order,
}


@dataclass(frozen=True)
class Order:
    """How the examples of a day are put in order and shared out.

    ``drop_last`` leaves out the last, incomplete step of each day: at most ``batch_size *
    world_size - 1`` examples, other ones each epoch. With it all ranks have equally many batches,
    all of ``batch_size``; collective training needs that. Without it the last batches of a day
    are smaller and differ by at most one example between ranks.
    """

    batch_size: int
    shuffle: Shuffle = "examples"
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SettingsError(
                f"loader: batch_size is {self.batch_size}; expected at least 1. Raise batch_size."
            )
        if not 0 <= self.rank < self.world_size:
            raise SettingsError(
                f"loader: rank is {self.rank} with world_size {self.world_size}; expected "
                "0 <= rank < world_size. Correct one of them."
            )
        if self.shuffle not in ORDERS:
            raise SettingsError(
                f"loader: shuffle is {self.shuffle!r}; expected one of "
                f"{', '.join(map(repr, ORDERS))}. Choose one of them."
            )
        if self.seed < 0:
            raise SettingsError(
                f"loader: seed is {self.seed}; expected 0 or more. Choose another seed."
            )

    def of_day(self, pointer: Int32Array, *, epoch: int, dt: date) -> Int64Array:
        """Order of the examples whose histories ``pointer`` names; int64 [num_examples]."""
        return ORDERS[self.shuffle](pointer, seed=self.seed, epoch=epoch, dt=dt)

    def num_batches(self, num_examples: int) -> int:
        """Batches of this rank in a day of ``num_examples``."""
        step_size = self.batch_size * self.world_size
        num_steps = num_examples // step_size
        if self.drop_last or not num_examples % step_size:
            return num_steps
        start, stop = self.bounds(num_steps, num_examples)
        return num_steps + (stop > start)

    def bounds(self, step: int, num_examples: int) -> tuple[int, int]:
        """Where in the day's order this rank's batch of ``step`` starts and stops."""
        step_size = self.batch_size * self.world_size
        start = step * step_size
        size = min(step_size, num_examples - start)
        share, extra = divmod(size, self.world_size)
        own_start = start + self.rank * share + min(self.rank, extra)
        return own_start, own_start + share + (self.rank < extra)
