"""Whether a feature is distributed as before: the population stability index, and what is noise.

    PSI = sum over bins of (r - p) * ln(r / p)        p before, r now

The bins of numbers end at deciles of the days before, which are values that occur; equal ones are
one. A value that is missing is a bin of its own, and so is each category. With half a row added to
each bin, none is empty: p = (n + 1/2) / (N + B/2) for n of N rows before in B bins.

Two samples of the same distribution differ too. Their PSI is about a chi-square variable with
B - 1 degrees of freedom, times (1/N + 1/M); what does not exceed its 0.999 quantile is noise.

That holds of rows that have nothing to do with each other. Actions come in visits and shops have
weekends, so single days differ more: by how much, the days before show against their sum. Where
they differ c times as much as independent rows would, the bound is c times as high.
"""

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final, Literal

from training_assets.monitoring.bins import value_of
from training_assets.monitoring.profile import Feature

WARN_PSI: Final = 0.1
FAIL_PSI: Final = 0.25
MIN_ROWS_BEFORE: Final = 1_000
MIN_ROWS_NOW: Final = 50
_NUM_BINS: Final = 10
_CONFIDENCE: Final = 0.999
_MIN_LEVEL_SHARE: Final = 0.005

Verdict = Literal["not judged", "passed", "warns", "fails"]


@dataclass(frozen=True)
class Drift:
    """One feature now against before: counts by bin, the PSI, and the largest that is noise."""

    labels: tuple[str, ...]
    before: tuple[int, ...]
    now: tuple[int, ...]
    psi: float
    noise: float
    verdict: Verdict

    @property
    def rows_before(self) -> int:
        return sum(self.before)

    @property
    def rows_now(self) -> int:
        return sum(self.now)


def compare(before: Feature, now: Feature, days: Sequence[Feature] = ()) -> Drift:
    """The verdict on a feature; too few rows, or texts without common levels, are not judged.

    ``days`` are those whose sum is ``before``; without them, rows count as independent.
    """
    labels, olds, news = _counted(before, now)
    found, limit = psi(olds, news), noise(olds, news)
    is_judged = sum(olds) >= MIN_ROWS_BEFORE and sum(news) >= MIN_ROWS_NOW
    if not is_judged or before.is_text or now.is_text:
        return Drift(labels, olds, news, found, limit, "not judged")
    if found >= WARN_PSI and found > limit:
        limit *= max(1.0, spread_of(before, days))
    verdict: Verdict = "passed"
    if found > limit and found >= WARN_PSI:
        verdict = "fails" if found >= FAIL_PSI else "warns"
    return Drift(labels, olds, news, found, limit, verdict)


def spread_of(before: Feature, days: Sequence[Feature]) -> float:
    """How many times as much single days differ from their sum as independent rows would.

    The median over the days, so that an odd one among them does not hide the next.
    """
    ratios = []
    for day in days:
        _, olds, news = _counted(before, day)
        if sum(news) >= MIN_ROWS_NOW and len(olds) > 1:
            degrees = len(olds) - 1
            # The median of a chi-square variable, nearly.
            usual = degrees * (1 - 2 / (9 * degrees)) ** 3
            ratios.append(psi(olds, news) / (usual * (1 / sum(olds) + 1 / sum(news))))
    return statistics.median(ratios) if ratios else 1.0


def _counted(
    before: Feature, now: Feature
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """Labels of the bins that have any rows, and rows before and now."""
    counted = list(_levels(before, now) if before.is_category else _numbers(before, now))
    counted = [(label, b, n) for label, b, n in counted if b or n]
    labels, olds, news = zip(*counted, strict=True) if counted else ((), (), ())
    return tuple(labels), tuple(olds), tuple(news)


def psi(before: Sequence[int], now: Sequence[int]) -> float:
    """Of counts by bin, 0 where nothing is to be compared.

    (50, 50) before and (80, 20) now are 0.4063: with half a row more in each bin the shares are
    0.5 and 0.5, then 80.5/101 and 20.5/101.
    """
    if not sum(before) or not sum(now):
        return 0.0
    bins = len(before)
    old = [(count + 0.5) / (sum(before) + bins / 2) for count in before]
    new = [(count + 0.5) / (sum(now) + bins / 2) for count in now]
    return sum((r - p) * math.log(r / p) for p, r in zip(old, new, strict=True))


def noise(before: Sequence[int], now: Sequence[int]) -> float:
    """The PSI that 999 of 1,000 pairs of samples of one distribution stay below."""
    if not sum(before) or not sum(now) or len(before) < 2:
        return math.inf
    return chi_square(len(before) - 1) * (1 / sum(before) + 1 / sum(now))


def edges_of(bins: dict[int, int]) -> list[int]:
    """The bins in which the deciles of the counted values lie, each once.

    The k-th is that of the value at rank ceil(k * n / 10) of n: one that occurs. The last value is
    no edge, since nothing would lie above it.
    """
    keys = sorted(bins)
    ends = list(accumulate(bins[key] for key in keys))
    if not keys:
        return []
    ranks = (-(-k * ends[-1] // _NUM_BINS) for k in range(1, _NUM_BINS))
    return sorted({keys[bisect_left(ends, rank)] for rank in ranks} - {keys[-1]})


def _numbers(before: Feature, now: Feature) -> Iterator[tuple[str, int, int]]:
    edges = edges_of(before.bins)
    counts = []
    for bins in (before.bins, now.bins):
        found = [0] * (len(edges) + 1)
        for key, count in bins.items():
            found[bisect_left(edges, key)] += count
        counts.append(found)
    values = [f"{value_of(edge):.4g}" for edge in edges]
    labels = [f"≤ {value}" for value in values]
    labels.append(f"> {values[-1]}" if values else "any")
    yield from zip(labels, *counts, strict=True)
    yield "none", before.nulls, now.nulls


def _levels(before: Feature, now: Feature) -> Iterator[tuple[str, int, int]]:
    """Levels with half a per cent of the rows before; the others together; and those never seen."""
    least = before.total * _MIN_LEVEL_SHARE
    frequent = [level for level, count in before.levels.items() if count >= least]
    for level in sorted(frequent, key=lambda level: (-before.levels[level], level)):
        yield level, before.levels[level], now.levels.get(level, 0)
    rare = before.rest + sum(c for level, c in before.levels.items() if level not in frequent)
    others, unseen = now.rest, 0
    for level, count in now.levels.items():
        if level in frequent:
            continue
        # Where some of the levels before are known by their number only, any may be one of them.
        if level in before.levels or before.rest:
            others += count
        else:
            unseen += count
    yield "other", rare, others
    yield "new", 0, unseen
    yield "none", before.nulls, now.nulls


@lru_cache(None)
def chi_square(degrees: int, share: float = _CONFIDENCE) -> float:
    """The quantile of the chi-square distribution: 10.828 for one degree, 27.877 for nine."""
    low, high = 0.0, degrees + 20 * math.sqrt(2 * degrees) + 40.0
    for _ in range(200):
        middle = (low + high) / 2
        if _below(degrees / 2, middle / 2) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _below(shape: float, x: float) -> float:
    """The regularised lower incomplete gamma function, by its series."""
    if x <= 0:
        return 0.0
    term = total = 1 / shape
    n = 0
    while term > total * 1e-15:
        n += 1
        term *= x / (shape + n)
        total += term
    return total * math.exp(shape * math.log(x) - x - math.lgamma(shape))
