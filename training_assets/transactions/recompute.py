"""The state and what is true, computed again from the chunks: by other means than the detector.

Shares no code with what it checks: texts are cleaned by Arrow, and ranks are counted in Python.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from training_assets.transactions.settings import TransactionSettings

Pair = tuple[str, str]
Key = tuple[str, str, str]
_MARKS: Final = " \t\r\n'\"`\u2018\u2019\u201c\u201d"
_WORDS: Final = {"MALE": "M", "1": "M", "FEMALE": "F", "2": "F", "ENTERPRISE": "E"}
_MONEY: Final = pa.decimal128(38, 18)


@dataclass
class Recomputed:
    """By (merchant, customer): number and sum; by customer: gender; and how many rows are bad."""

    counts: dict[Pair, int] = field(default_factory=lambda: defaultdict(int))
    sums: dict[Pair, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    genders: dict[str, str] = field(default_factory=dict)
    rejected: int = 0

    def merchants(self) -> dict[str, int]:
        totals: dict[str, int] = defaultdict(int)
        for (merchant, _), count in self.counts.items():
            totals[merchant] += count
        return dict(totals)

    def gender_counts(self) -> dict[Pair, int]:
        """Distinct customers by (merchant, gender)."""
        totals: dict[Pair, int] = defaultdict(int)
        for merchant, customer in self.counts:
            totals[merchant, self.genders[customer]] += 1
        return dict(totals)


def recompute(tables: Iterable[pa.Table], merchants: Collection[str] | None = None) -> Recomputed:
    """From chunks in their order; of ``merchants`` alone where they are given.

    Genders are of all customers, since the newest row counts wherever it is.
    """
    state = Recomputed()
    for table in tables:
        good = _good(table)
        state.rejected += table.num_rows - good.num_rows
        newest = good.group_by("customer", use_threads=False).aggregate([("gender", "last")])
        for customer, gender in zip(*_lists(newest, "customer", "gender_last"), strict=True):
            state.genders[customer] = _WORDS.get(gender, gender if gender in "MFE" else "U") or "U"
        if merchants is not None:
            good = good.filter(pc.is_in(good["merchant"], pa.array(merchants, pa.string())))
        totals = good.group_by(["merchant", "customer"]).aggregate(
            [("amount", "count"), ("amount", "sum")]
        )
        names = ("merchant", "customer", "amount_count", "amount_sum")
        for merchant, customer, count, amount in zip(*_lists(totals, *names), strict=True):
            state.counts[merchant, customer] += count
            state.sums[merchant, customer] += amount
    return state


def _lists(table: pa.Table, *names: str) -> list[list[Any]]:
    return [table[name].to_pylist() for name in names]


def _good(table: pa.Table) -> pa.Table:
    """customer, merchant, gender, amount of the rows that count."""
    text = {
        name: pc.utf8_trim(pc.fill_null(table[name], ""), characters=_MARKS)
        for name in ("step", "customer", "merchant", "gender", "amount")
    }
    is_good = pc.is_null(table["problem"])
    is_good = pc.and_(is_good, pc.match_substring_regex(text["step"], r"^\d{1,9}$"))
    is_plain = pc.match_substring_regex(text["amount"], r"^[+-]?\d{1,12}(\.\d{1,18})?$")
    is_negative = pc.match_substring_regex(text["amount"], "^-.*[1-9]")
    is_good = pc.and_(is_good, pc.and_(is_plain, pc.invert(is_negative)))
    for name in ("customer", "merchant"):
        length = pc.utf8_length(text[name])
        fits = pc.and_(pc.greater(length, 0), pc.less_equal(length, 200))
        is_good = pc.and_(is_good, fits)
        is_good = pc.and_(is_good, pc.invert(pc.match_substring(text[name], "\x00")))
    columns = {name: text[name].filter(is_good) for name in ("customer", "merchant")}
    plain = pc.replace_substring_regex(text["amount"].filter(is_good), r"^\+", "")
    columns["gender"] = pc.utf8_upper(text["gender"].filter(is_good))
    columns["amount"] = pc.cast(plain, _MONEY)
    return pa.table(columns)


def true_now(
    counts: Mapping[Pair, int],
    sums: Mapping[Pair, Decimal],
    gender_counts: Mapping[Pair, int],
    weights: Mapping[Pair, tuple[Decimal, int]],
    settings: TransactionSettings,
) -> set[Key]:
    """The patterns on a state: (pattern, merchant, customer), the customer empty for PatId3."""
    found: set[Key] = {
        ("PatId2", merchant, customer)
        for (merchant, customer), count in counts.items()
        if count >= settings.child_min_transactions
        and sums[merchant, customer] < settings.child_max_average * count
    }
    by_merchant: dict[str, dict[str, int]] = defaultdict(dict)
    for (merchant, customer), count in counts.items():
        by_merchant[merchant][customer] = count
    for merchant, customers in by_merchant.items():
        women = gender_counts.get((merchant, "F"), 0)
        if settings.women_min < women < gender_counts.get((merchant, "M"), 0):
            found.add(("PatId3", merchant, ""))
        if sum(customers.values()) > settings.upgrade_min_transactions:
            averages = {
                customer: Fraction(total) / number
                for customer in customers
                if (number := weights.get((merchant, customer), (0, 0))[1])
                for total in [weights[merchant, customer][0]]
            }
            found |= {("PatId1", merchant, c) for c in _upgraded(customers, averages, settings)}
    return found


def _upgraded(
    counts: Mapping[str, int], averages: Mapping[str, Fraction], settings: TransactionSettings
) -> set[str]:
    by_count, by_weight = _percent_ranks(counts), _percent_ranks(averages)
    least, most = 1 - Fraction(settings.upgrade_top), Fraction(settings.upgrade_bottom)
    return {
        customer
        for customer, rank in by_weight.items()
        if rank <= most and by_count.get(customer, Fraction(-1)) >= least
    }


def _percent_ranks(values: Mapping[str, Any]) -> dict[str, Fraction]:
    """(rank - 1) / (n - 1), ties at the lowest rank; nothing of one value alone."""
    if len(values) < 2:
        return {}
    smaller: dict[Any, int] = {}
    for position, value in enumerate(sorted(values.values())):
        smaller.setdefault(value, position)
    return {name: Fraction(smaller[value], len(values) - 1) for name, value in values.items()}
