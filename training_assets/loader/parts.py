"""Days of a lake as training, validation and test: computed from counts, kept in a file.

    <lake>/splits.json   {"parts": {"train": {"days": ["2024-05-01", …], "rows": …}, …}, …}

A day is in one part whole. The cuts are the days that hold the rows at the ranks of the ratios, and
go to the later part, as ``training_assets.splits`` does it with times.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from training_assets.errors import SettingsError
from training_assets.lake import Lake

PARTS: Final = ("train", "validation", "test")
SPLITS: Final = "splits.json"
_VERSION: Final = 1


@dataclass(frozen=True)
class Counted:
    """A published day: rows, and those of label 1."""

    day: date
    rows: int
    positives: int


@dataclass(frozen=True)
class DaySplit:
    """What ``splits.json`` holds. cuts: the first days of validation and test.

    parts: by name days, rows and positives; left_out: days of the gap, and days of the range that
    are not published; versions: of each table, those of then.
    """

    table: str
    start_date: str
    end_date: str
    ratios: tuple[str, ...]
    gap_days: int
    cuts: tuple[str, ...]
    parts: Mapping[str, Mapping[str, Any]]
    left_out: tuple[str, ...]
    versions: Mapping[str, int]

    def days(self, part: str) -> list[date]:
        """Days of one part; raises ``SettingsError`` for a part that there is not."""
        if part not in self.parts:
            raise SettingsError(
                f"splits: split is {part!r}; expected one of {', '.join(self.parts)}. Choose one "
                "of them."
            )
        return [date.fromisoformat(day) for day in self.parts[part]["days"]]

    def as_json(self) -> bytes:
        return (json.dumps({"version": _VERSION, **asdict(self)}, indent=1) + "\n").encode()


def split_days(
    counted: Sequence[Counted],
    shares: tuple[Fraction, Fraction, Fraction],
    *,
    table: str,
    gap_days: int = 0,
    left_out: Sequence[date] = (),
    versions: Mapping[str, int] | None = None,
) -> DaySplit:
    """Cut the days so that train and validation end before the rows at n * share, in integers.

    ``gap_days`` leaves out the last so many days before a cut.

    Raises ``SettingsError`` where a part would be empty, naming it.
    """
    if gap_days < 0:
        raise SettingsError(f"split: gap_days is {gap_days}; expected 0 or more. Raise gap_days.")
    days = sorted(counted, key=lambda found: found.day)
    total = sum(found.rows for found in days)
    cuts = [_cut(days, int(total * sum(shares[: n + 1]))) for n in range(2)]
    parts: dict[str, list[Counted]] = {name: [] for name in PARTS}
    gap: list[date] = []
    for found in days:
        later = [cut for cut in cuts if cut is not None and found.day < cut]
        if later and (min(later) - found.day).days <= gap_days:
            gap.append(found.day)
        else:
            parts[PARTS[len(cuts) - len(later)]].append(found)
    _refuse_empty(parts, total, cuts, gap_days)
    return DaySplit(
        table=table,
        start_date=str(days[0].day),
        end_date=str(days[-1].day),
        ratios=tuple(str(share) for share in shares),
        gap_days=gap_days,
        cuts=tuple(str(cut) for cut in cuts),
        parts={
            name: {
                "days": [str(found.day) for found in of],
                "rows": sum(found.rows for found in of),
                "positives": sum(found.positives for found in of),
            }
            for name, of in parts.items()
        },
        left_out=tuple(str(day) for day in sorted([*gap, *left_out])),
        versions=dict(versions or {}),
    )


def _cut(days: Sequence[Counted], rank: int) -> date | None:
    """The day that holds the row of that rank; None without rows."""
    for found in days:
        rank -= found.rows
        if rank < 0:
            return found.day
    return None


def _refuse_empty(
    parts: Mapping[str, Sequence[Counted]], total: int, cuts: Sequence[date | None], gap_days: int
) -> None:
    empty = [name for name, of in parts.items() if not sum(found.rows for found in of)]
    if empty:
        num_days = sum(len(of) for of in parts.values())
        gap = f" and gap_days {gap_days}" if gap_days else ""
        at = f", cut at {' and '.join(map(str, cuts))}{gap}" if total else ""
        names = " and ".join([", ".join(empty[:-1]), empty[-1]] if empty[1:] else empty)
        raise SettingsError(
            f"split: {names} would be empty: {num_days} days with {total} rows{at}; "
            "expected rows in each part. Give more days or other ratios."
        )


def read_split(
    lake: str | os.PathLike[str], path: str | os.PathLike[str] | None = None
) -> DaySplit:
    """``splits.json`` of the lake, or of a file at ``path``.

    Raises ``SettingsError`` where there is none, or it is none.
    """
    where = str(path) if path else Lake.at(lake).store.uri(SPLITS)
    try:
        data = Path(path).read_bytes() if path else Lake.at(lake).store.read(SPLITS)
    except FileNotFoundError:
        raise SettingsError(
            f"splits: {where} is not there; expected the days of each part. Run `training-assets "
            "split --start-date … --end-date …` first."
        ) from None
    try:
        found = json.loads(data)
        if found.pop("version") != _VERSION:
            raise ValueError("another version")
        return DaySplit(**found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(
            f"splits: {where} cannot be used ({error}); expected what `training-assets split` "
            "writes. Write it anew."
        ) from None
