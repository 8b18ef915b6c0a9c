"""Columns that have become emptier: more nulls than before, nothing else, or a join that fails."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from training_assets.checks import CheckOutcome, Metric
from training_assets.monitoring.drift import MIN_ROWS_BEFORE, MIN_ROWS_NOW
from training_assets.monitoring.profile import Profile
from training_assets.provenance import BuiltFrom

MAX_POINTS: Final = 0.05
MIN_FOUND: Final = 0.5
# Of a share that is 5 points higher in so few rows that this may be chance.
_DEVIATIONS: Final = 3.3
_CHANCE: Final = 1e-6
_MAX_SHOWN: Final = 5
# Before the name of a column that was joined from the table of that.
_PREFIXES: Final = ("", "user_", "item_", "pair_")


@dataclass(frozen=True)
class Base:
    """The days before, together: rows, and nulls by column."""

    rows: int
    nulls: dict[str, int]

    @classmethod
    def of(cls, profiles: Sequence[Profile]) -> "Base":
        nulls: Counter[str] = Counter()
        for profile in profiles:
            # A column without any is one that was there.
            nulls.update({name: column.nulls for name, column in profile.columns.items()})
        return cls(sum(profile.rows for profile in profiles), dict(nulls))

    def share(self, column: str) -> float | None:
        known = self.rows and column in self.nulls
        return self.nulls[column] / self.rows if known else None


def judge_nulls(built: BuiltFrom, day: date, now: Profile, base: Base) -> CheckOutcome:
    """A column that has always been empty is named in the metrics and no fault."""
    more, gone, never = [], [], []
    shares = {name: c.nulls / now.rows for name, c in now.columns.items()} if now.rows else {}
    for name, share in shares.items():
        before = base.share(name)
        if share == 1 and (before is None or before == 1):
            never.append(name)
        elif before is not None and share == 1 and _is_no_chance(before, base.rows, now.rows):
            gone.append(name)
        elif before is not None and _has_more(share, now.rows, before, base.rows):
            more.append(f"{name} is null in {share:.1%} of the rows, {before:.1%} before")
    lost = [f"{name} is found for {found:.1%} of the rows" for name, found in _joins(built, shares)]
    metrics: dict[str, Metric] = {"columns": len(shares), "rows_before": base.rows}
    if shares:
        worst = max(shares, key=lambda name: shares[name] - (base.share(name) or 0.0))
        metrics |= {"most_risen": worst, "null_share": round(shares[worst], 6)}
    if never:
        metrics["always_null"] = ", ".join(sorted(never))
    problems = [*(f"{name} is null throughout" for name in gone), *lost, *more]
    if not problems:
        return CheckOutcome(True, metrics)
    shown = "; ".join(problems[:_MAX_SHOWN])
    text = f"Columns of {built.table.name} are emptier than before on {day}: {shown}."
    return CheckOutcome(False, metrics, text, "error" if gone or lost else "warn")


def _has_more(share: float, rows: int, before: float, rows_before: int) -> bool:
    if rows < MIN_ROWS_NOW or rows_before < MIN_ROWS_BEFORE or share - before <= MAX_POINTS:
        return False
    both = (share * rows + before * rows_before) / (rows + rows_before)
    deviation = math.sqrt(both * (1 - both) * (1 / rows + 1 / rows_before))
    return share - before > _DEVIATIONS * deviation


def _is_no_chance(before: float, rows_before: int, rows: int) -> bool:
    """Whether so many rows are not all null by chance, at the share of the days before."""
    likely = max(before, 1 / (rows_before + 1))
    return rows * math.log(likely) < math.log(_CHANCE)


def _joins(built: BuiltFrom, shares: dict[str, float]) -> Iterator[tuple[str, float]]:
    """Tables of the same day whose columns are taken over, found for less than half of the rows.

    A row is found where any of the columns is there, so the fullest column says how many are.
    """
    for upstream in built.upstream:
        if not upstream.has_day:
            continue
        of = upstream.of.table
        names = {
            f"{prefix}{column.name}"
            for column in of.stored_columns
            if column.name not in of.key
            for prefix in _PREFIXES
        }
        taken = [share for name, share in shares.items() if name in names]
        if taken and 1 - min(taken) < MIN_FOUND:
            yield upstream.name, 1 - min(taken)
