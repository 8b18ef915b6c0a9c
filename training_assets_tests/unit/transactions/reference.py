"""What the state and the detections must be, by plain loops over all transactions fed so far."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from training_assets.transactions.settings import TransactionSettings

Key = tuple[str, str, str]


class Row(NamedTuple):
    """One transaction, clean; ``gender`` is M, F, E or U."""

    customer: str
    merchant: str
    gender: str
    amount: Decimal


class Weight(NamedTuple):
    customer: str
    merchant: str
    weight: Decimal


@dataclass
class Expected:
    """State after some rows, in the shape of the tables."""

    merchants: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    pairs: dict[tuple[str, str], tuple[int, Decimal]] = field(default_factory=dict)
    genders: dict[str, str] = field(default_factory=dict)
    merchant_genders: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    weights: dict[tuple[str, str], tuple[Decimal, int]] = field(default_factory=dict)
    current: set[Key] = field(default_factory=set)


def expected_state(
    rows: Sequence[Row], weights: Iterable[Weight], settings: TransactionSettings
) -> Expected:
    state = Expected()
    for row in rows:
        state.merchants[row.merchant] += 1
        count, amount = state.pairs.get((row.merchant, row.customer), (0, Decimal(0)))
        state.pairs[row.merchant, row.customer] = (count + 1, amount + row.amount)
        state.genders[row.customer] = row.gender
    for merchant, customer in state.pairs:
        state.merchant_genders[merchant, state.genders[customer]] += 1
    for weight in weights:
        total, number = state.weights.get((weight.merchant, weight.customer), (Decimal(0), 0))
        state.weights[weight.merchant, weight.customer] = (total + weight.weight, number + 1)
    state.current = _upgrades(state, settings) | _children(state, settings) | _dei(state, settings)
    return state


def expected_detections(
    rows: Sequence[Row],
    ends: Sequence[int],
    weights: Iterable[Weight],
    settings: TransactionSettings,
) -> list[list[Key]]:
    """What each chunk detects: what is true at its end and never was at an earlier one."""
    seen: set[Key] = set()
    found = []
    for end in ends:
        current = expected_state(rows[:end], weights, settings).current
        found.append(sorted(current - seen))
        seen |= current
    return found


def _upgrades(state: Expected, settings: TransactionSettings) -> set[Key]:
    found = set()
    for merchant, total in state.merchants.items():
        if total <= settings.upgrade_min_transactions:
            continue
        counts = {c: n for (m, c), (n, _) in state.pairs.items() if m == merchant}
        averages = {
            c: Fraction(state.weights[merchant, c][0]) / state.weights[merchant, c][1]
            for c in counts
            if (merchant, c) in state.weights
        }
        if len(counts) < 2 or len(averages) < 2:
            continue
        for customer, average in averages.items():
            by_count = percent_rank(counts[customer], counts.values())
            by_weight = percent_rank(average, averages.values())
            if by_count >= 1 - Fraction(settings.upgrade_top) and by_weight <= Fraction(
                settings.upgrade_bottom
            ):
                found.add(("PatId1", merchant, customer))
    return found


def percent_rank(value: object, values: Iterable[object]) -> Fraction:
    """(rank - 1) / (n - 1), ties at the lowest rank."""
    ordered = sorted(values)  # type: ignore[type-var]
    return Fraction(ordered.index(value), len(ordered) - 1)  # type: ignore[arg-type]


def _children(state: Expected, settings: TransactionSettings) -> set[Key]:
    return {
        ("PatId2", merchant, customer)
        for (merchant, customer), (count, amount) in state.pairs.items()
        if count >= settings.child_min_transactions and amount / count < settings.child_max_average
    }


def _dei(state: Expected, settings: TransactionSettings) -> set[Key]:
    return {
        ("PatId3", merchant, "")
        for merchant in state.merchants
        if settings.women_min
        < state.merchant_genders.get((merchant, "F"), 0)
        < state.merchant_genders.get((merchant, "M"), 0)
    }
