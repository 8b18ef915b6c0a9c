"""Weighted draws without replacement that depend on seed, day, customer and draw number alone.

Draw ``n`` of a customer is a hash, read as a fraction of the weight of a list of candidates, and
picks the candidate in whose part of the weight it falls. It is rejected when the customer has acted
on that item or has been given it before. The list holds all candidates; where a customer has seen
more than half of their weight, or after ``4 * missing + 16`` draws, it is what is left for the
customer, and is made again after as many draws. Its first draw cannot be rejected, so it ends.

Two of four candidates, of weights 5, 1, 3 and 1, for a customer who has seen item 1::

    items     0  1  2  3      draw 0   0.58 of 10 = 5.8   item 1   seen
    weights   5  1  3  1      draw 1   0.12 of 10 = 1.2   item 0   taken, probability 5 / 9
                              draw 2   0.31 of 10 = 3.1   item 0   has it
                              draw 3   0.97 of 10 = 9.7   item 3   taken, probability 1 / 9

All customers of a chunk draw at once. Weights are integers, so sums are exact in any order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from training_assets.errors import ValidationError

Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Pick = Callable[[Int64Array, FloatArray], Int64Array]

# 2^0.75 and its like keep nine digits, and 10^11 actions on 10^6 items stay below 2^62.
_WEIGHT_UNIT: Final = float(2**30)
_MAX_WEIGHT: Final = 2**62
# Cells of the table (customer, candidate) of a chunk: small enough for the core's own cache.
_MAX_CELLS: Final = 4 * 2**20
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def popularity_weights(actions: Int64Array) -> Int64Array:
    """``max(actions, 1) ** 0.75`` in units of 2^-30; by square roots, which round alike anywhere.

    Raises ValidationError where the weights together do not fit into 62 bits.
    """
    root = np.sqrt(np.maximum(actions, 1).astype(np.float64))
    weights = root * np.sqrt(root) * _WEIGHT_UNIT
    if weights.sum() > _MAX_WEIGHT:
        raise ValidationError(
            f"sample_negatives: {len(actions)} candidates of a day have weights up to "
            f"{actions.max():.3g}; expected max(weight, 1) ** 0.75 to add up to less than 2^32. "
            "Give the number of actions as weight."
        )
    return np.rint(weights).astype(np.int64)


@dataclass(frozen=True)
class Candidates:
    """What may be drawn on a day. items: int64 [C], ascending; weights: int64 [C], at least 1."""

    items: Int64Array
    weights: Int64Array

    @classmethod
    def of(cls, items: Int64Array, actions: Int64Array, *, is_uniform: bool) -> "Candidates":
        """Items in any order with their actions; those of an item given twice are added up."""
        distinct, place = np.unique(items, return_inverse=True)
        if is_uniform:
            return cls(distinct, np.ones(len(distinct), np.int64))
        total = np.zeros(len(distinct), np.int64)
        np.add.at(total, place, np.maximum(actions, 0))
        return cls(distinct, popularity_weights(total))

    @property
    def total(self) -> int:
        return int(self.weights.sum())

    @property
    def rows_per_chunk(self) -> int:
        """Customers that draw at once; the weights of all their lists fit into 62 bits."""
        num = max(len(self.items), 1)
        return max(1, min(_MAX_CELLS // num, _MAX_WEIGHT // max(self.total, 1)))

    def new_table(self) -> BoolArray:
        """Cells of the customers of a chunk, row by row; one after the other may use it."""
        return np.zeros(self.rows_per_chunk * len(self.items), np.bool_)


def customer_keys(seed: int, day: int, customers: Int64Array) -> UInt64Array:
    """What the draws of each customer on ``day`` (since 1970-01-01) begin with; uint64 [G]."""
    key = _mixed(np.array([seed % 2**64], np.uint64) + _GOLDEN)
    key = _mixed(key ^ np.array([day], np.int64).view(np.uint64))
    return _mixed(key ^ customers.view(np.uint64))


def fractions(keys: UInt64Array, numbers: Int64Array) -> FloatArray:
    """Draw ``numbers[i]`` of the customer with ``keys[i]``: 0 <= x < 1, of 53 bits."""
    bits = _mixed(keys + (numbers + 1).view(np.uint64) * _GOLDEN)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(bits: UInt64Array) -> UInt64Array:
    """The finish of splitmix64: each bit of the input changes each of the output half the time."""
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    return bits ^ (bits >> np.uint64(31))


@dataclass(frozen=True)
class Drawn:
    """Negatives of a chunk, in no order; arrays of length N.

    rows: the customer's row in the chunk. places: index into the candidates. numbers: 0 for the
    customer's first negative, 1 for the next. probabilities: weight / weight of all that the
    customer could be given.
    """

    rows: Int64Array
    places: Int64Array
    numbers: Int64Array
    probabilities: FloatArray


class ChunkOfCustomers:
    """Customers who draw at once; ``seen`` holds the cells ``row * C + place``, ascending.

    ``table`` is all False, and is so again after ``draw``: a new one costs as much as the draws.
    """

    def __init__(
        self,
        candidates: Candidates,
        keys: UInt64Array,
        wanted: Int64Array,
        seen: Int64Array,
        table: BoolArray,
    ) -> None:
        self._candidates = candidates
        self._width = len(candidates.items)
        self._keys = keys
        self._sums = np.cumsum(candidates.weights)
        self._seen = seen
        self._is_gone = table
        self._is_gone[seen] = True
        ends = np.searchsorted(seen, np.arange(len(keys) + 1) * self._width)
        upto = np.arange(len(seen) + 1)
        if candidates.total > self._width:
            np.cumsum(candidates.weights[seen % max(self._width, 1)], out=upto[1:])
        self._left_weight = candidates.total - np.diff(upto[ends])
        self._missing = np.minimum(wanted, self._width - np.diff(ends))
        self._num_drawn = np.zeros(len(keys), np.int64)
        self._num_taken = np.zeros(len(keys), np.int64)
        self._taken: list[tuple[Int64Array, Int64Array]] = []

    def draw(self) -> Drawn:
        """As many negatives as wanted, or as many as there are."""
        is_open = self._missing > 0
        has_seen_most = self._left_weight < self._candidates.total - self._left_weight
        self._draw_from(self._pick_any, np.flatnonzero(is_open & ~has_seen_most))
        while len(rows := np.flatnonzero(self._missing)):
            self._draw_from(self._pick_left(rows), rows)
        empty = np.zeros(0, np.int64)
        cells = np.concatenate([empty, *(cells for cells, _ in self._taken)])
        numbers = np.concatenate([empty, *(numbers for _, numbers in self._taken)])
        self._is_gone[self._seen] = False
        self._is_gone[cells] = False
        rows, places = np.divmod(cells, max(self._width, 1))
        weights = self._candidates.weights[places]
        return Drawn(rows, places, numbers, weights / self._left_weight[rows])

    def _pick_any(self, rows: Int64Array, fraction: FloatArray) -> Int64Array:
        at = _part(fraction, np.full(1, self._candidates.total))
        if self._candidates.total > self._width:
            at = np.searchsorted(self._sums, at, side="right")
        return rows * self._width + at

    def _pick_left(self, rows: Int64Array) -> Pick:
        """Picks what ``rows`` have neither seen nor been given until now."""
        is_left = ~self._is_gone.reshape(-1, self._width)[rows]
        which, places = np.nonzero(is_left)
        cells = rows[which] * self._width + places
        sums = np.cumsum(self._candidates.weights[places])
        ends = np.searchsorted(which, np.arange(len(rows)), side="right")
        above = sums[ends - 1]
        below = np.concatenate([[0], above[:-1]])

        def pick(drawing: Int64Array, fraction: FloatArray) -> Int64Array:
            row = np.searchsorted(rows, drawing)
            at = _part(fraction, above[row] - below[row]) + below[row]
            return cells[np.searchsorted(sums, at, side="right")]

        return pick

    def _draw_from(self, pick: Pick, rows: Int64Array) -> None:
        """Draws for ``rows`` until none is missing, or as many have been made as a list is for."""
        budget = 4 * self._missing[rows] + 16
        while len(rows):
            missing = self._missing[rows]
            sizes = np.minimum(budget, missing + missing // 8 + 2)
            starts = np.cumsum(sizes) - sizes
            which = np.repeat(np.arange(len(rows)), sizes)
            numbers = np.arange(len(which)) - np.repeat(starts - self._num_drawn[rows], sizes)
            drawing = rows[which]
            self._take(pick(drawing, fractions(self._keys[drawing], numbers)), drawing, starts)
            self._num_drawn[rows] += sizes
            budget -= sizes
            goes_on = (self._missing[rows] > 0) & (budget > 0)
            rows, budget = rows[goes_on], budget[goes_on]

    def _take(self, cells: Int64Array, rows: Int64Array, starts: Int64Array) -> None:
        """Of the drawn ``cells``, in order by row, those that are new, as far as some are missing.

        ``starts`` says where each row's draws begin.
        """
        is_new = np.zeros(len(cells), np.bool_)
        possible = np.flatnonzero(~self._is_gone[cells])
        _, first = np.unique(cells[possible], return_index=True)
        is_new[possible[first]] = True
        upto = np.concatenate([[0], np.cumsum(is_new)])
        rank = upto[:-1] - np.repeat(upto[starts], np.diff(starts, append=len(cells)))
        is_taken = is_new & (rank < self._missing[rows])
        cells, rows = cells[is_taken], rows[is_taken]
        self._taken.append((cells, self._num_taken[rows] + rank[is_taken]))
        self._is_gone[cells] = True
        counts = np.bincount(rows, minlength=len(self._keys))
        self._num_taken += counts
        self._missing -= counts


def _part(fraction: FloatArray, whole: Int64Array) -> Int64Array:
    """``fraction`` of ``whole`` as an integer below ``whole``."""
    part: Any = (fraction * whole.astype(np.float64)).astype(np.int64)
    return np.minimum(part, whole - 1)
