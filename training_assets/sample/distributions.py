"""Shares that follow a law, and draws from them; no state, no files."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TOP_FRACTION: Final = 0.2
TOP_SHARE: Final = 0.8


def fit_zipf(count: int, *, shift: float, actions: int, clump: float) -> Floats:
    """Shares ``(rank + shift) ** -s``, largest first, sum 1: s such that 20 % come to hold 80 %.

    Few actions, and actions that come in clumps (``clump`` on average), concentrate by chance
    alone; so s is solved on simulated counts, for at most about 50,000 evenly spaced ranks. The
    shift flattens the head; in proportion to ``count`` it keeps the shape at every size. Where
    chance alone makes the top heavier than that, the shares are equal.
    """
    step = max(1, count // 50_000)
    log_ranks = np.log(np.arange(1, count + 1) + shift)
    low, high = 0.0, 8.0
    while high - low > 1e-4:
        exponent = (low + high) / 2
        shares = np.exp(-exponent * log_ranks)
        shares /= shares.sum()
        clumps = np.random.default_rng(1).poisson(actions / clump * shares[step // 2 :: step])
        counts = clumps.astype(float)
        if clump > 1:
            extra = np.random.default_rng(2).standard_gamma(np.maximum(clumps, 1e-9))
            counts += (clump - 1) * extra
        is_flat = top_share(counts) < TOP_SHARE
        low, high = (exponent, high) if is_flat else (low, exponent)
    return shares


def top_share(counts: npt.NDArray[Any]) -> float:
    """Share of the total that the largest 20 % of the counts hold; 0 if there is nothing."""
    ranked = np.sort(counts)[::-1]
    return float(ranked[: round(TOP_FRACTION * len(ranked))].sum() / max(ranked.sum(), 1e-12))


def cumulated(shares: Floats) -> Floats:
    edges = np.concatenate([[0.0], np.cumsum(shares)])
    return edges / edges[-1]


def draw(edges: Floats, places: Floats) -> Ints:
    """Index of the interval of ``edges`` in which each place of [0, 1) lies."""
    found = np.searchsorted(edges, places, side="right") - 1
    return np.minimum(found, len(edges) - 2)


def hash_uniform(*keys: int | Ints) -> Floats:
    """A fixed number of [0, 1) for each combination of keys (splitmix64): state without storage."""
    state = np.zeros(1, np.uint64)
    for key in keys:
        state = (state ^ np.atleast_1d(np.asarray(key)).astype(np.uint64)) + np.uint64(
            0x9E3779B97F4A7C15
        )
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
