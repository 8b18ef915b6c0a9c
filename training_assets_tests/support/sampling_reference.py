"""Negatives by plain loops, one customer at a time; see ``sampling/draws.py``."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Any

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_EPOCH = date(1970, 1, 1)

Pair = tuple[date, int, int]
Sample = tuple[date, int, int, float, float | None, int]


def mixed(bits: int) -> int:
    """The finish of splitmix64."""
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & _MASK
    return bits ^ (bits >> 31)


def fraction(seed: int, dt: date, customer: int, number: int) -> float:
    key = mixed((seed + _GOLDEN) & _MASK)
    key = mixed(key ^ (dt - _EPOCH).days & _MASK)
    key = mixed(key ^ customer & _MASK)
    return (mixed((key + (number + 1) * _GOLDEN) & _MASK) >> 11) / 2**53


def weight_of(actions: int, strategy: str) -> int:
    if strategy == "uniform":
        return 1
    root = math.sqrt(max(actions, 1))
    return round(root * math.sqrt(root) * 2**30)


def pick(weights: dict[int, int], at: float) -> int:
    """The item in whose part of the whole weight ``at`` falls; items ascending."""
    whole = sum(weights.values())
    left = min(int(at * whole), whole - 1)
    for item in sorted(weights):
        left -= weights[item]
        if left < 0:
            return item
    raise AssertionError


def negatives_of(
    dt: date, customer: int, weights: dict[int, int], seen: set[int], wanted: int, seed: int
) -> list[int]:
    """Distinct unseen items in the order in which they are drawn."""
    left = {item: weight for item, weight in weights.items() if item not in seen}
    wanted = min(wanted, len(left))
    whole, half = sum(weights.values()), sum(left.values())
    choice = weights if half * 2 >= whole else left
    chosen: list[int] = []
    number = 0
    while len(chosen) < wanted:
        for _ in range(4 * (wanted - len(chosen)) + 16):
            item = pick(choice, fraction(seed, dt, customer, number))
            number += 1
            if item in left and item not in chosen:
                chosen.append(item)
            if len(chosen) == wanted:
                break
        choice = {item: weight for item, weight in left.items() if item not in chosen}
    return chosen


def reference_samples(
    positives: Iterable[Pair],
    seen: Iterable[Pair],
    candidates: Iterable[tuple[date, int, int]],
    *,
    ratio: int = 4,
    strategy: str = "uniform",
    seed: int = 0,
) -> Counter[Any]:
    """Rows (dt, customer, item, label, probability, positive), each with how often it comes."""
    actions: dict[date, Counter[int]] = defaultdict(Counter)
    for dt, item, weight in candidates:
        actions[dt][item] += max(weight, 0)
    gone: dict[tuple[date, int], set[int]] = defaultdict(set)
    given: dict[tuple[date, int], set[int]] = defaultdict(set)
    for dt, customer, item in seen:
        gone[dt, customer].add(item)
    for dt, customer, item in positives:
        given[dt, customer].add(item)
    rows: list[Sample] = []
    for (dt, customer), items in given.items():
        rows += [(dt, customer, item, 1.0, None, item) for item in items]
        weights = {item: weight_of(n, strategy) for item, n in actions[dt].items()}
        out = gone[dt, customer] | items
        drawn = negatives_of(dt, customer, weights, out, ratio * len(items), seed)
        could_be = sum(weight for item, weight in weights.items() if item not in out)
        for n, item in enumerate(drawn):
            of = sorted(items)[n // ratio]
            rows.append((dt, customer, item, 0.0, float(weights[item]) / float(could_be), of))
    return Counter(rows)
