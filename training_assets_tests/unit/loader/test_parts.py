"""Days cut into parts: against a list of all rows, and where a part would be empty."""

from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.errors import SettingsError
from training_assets.loader.parts import PARTS, Counted, DaySplit, read_split, split_days

FIRST = date(2024, 5, 1)
SHARES = (Fraction(7, 10), Fraction(1, 10), Fraction(1, 5))


def counted(*rows: int) -> list[Counted]:
    return [Counted(FIRST + timedelta(days=n), of, of // 5) for n, of in enumerate(rows)]


def cut(*rows: int, **options: Any) -> DaySplit:
    return split_days(counted(*rows), SHARES, table="training_samples", **options)


def lengths(found: DaySplit) -> list[int]:
    return [len(found.days(part)) for part in PARTS]


def test_ten_equal_days_are_seven_one_two() -> None:
    found = cut(*[9] * 10)
    assert lengths(found) == [7, 1, 2]
    assert found.cuts == ("2024-05-08", "2024-05-09")
    assert found.parts["train"] == {
        "days": [str(FIRST + timedelta(days=n)) for n in range(7)],
        "rows": 63,
        "positives": 7,
    }


def test_a_gap_is_left_out_before_each_cut() -> None:
    found = cut(*[10] * 20, gap_days=1)
    assert lengths(found) == [13, 1, 4]
    assert found.left_out == ("2024-05-14", "2024-05-16")


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=25),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.integers(0, 3),
)
def test_no_day_is_in_two_parts_and_cuts_are_those_of_the_rows(
    rows: list[int], ratios: tuple[int, int, int], gap_days: int
) -> None:
    shares = tuple(Fraction(n, sum(ratios)) for n in ratios)
    days = counted(*rows)
    of_rows = [found.day for found in days for _ in range(found.rows)]
    expected: dict[str, list[date]] = {name: [] for name in PARTS}
    if of_rows:
        at = [of_rows[int(len(of_rows) * sum(shares[:n]))] for n in (1, 2)]
        for found in days:
            near = [c for c in at if found.day < c <= found.day + timedelta(days=gap_days)]
            if not near:
                expected[PARTS[sum(found.day >= c for c in at)]].append(found.day)
    sizes = {name: sum(f.rows for f in days if f.day in of) for name, of in expected.items()}
    options: Any = {"table": "training_samples", "gap_days": gap_days}
    if empty := [name for name in PARTS if not sizes[name]]:
        names = " and ".join(empty) if len(empty) < 3 else "train, validation and test"
        with pytest.raises(SettingsError, match=f"{names} would be empty"):
            split_days(days, shares, **options)  # type: ignore[arg-type]
        return
    found = split_days(days, shares, **options)  # type: ignore[arg-type]
    assert {name: found.days(name) for name in PARTS} == expected
    assert [found.parts[name]["rows"] for name in PARTS] == list(sizes.values())


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    found = cut(*[5] * 10, left_out=[date(2024, 4, 1)], versions={"training_samples": 3})
    (tmp_path / "splits.json").write_bytes(found.as_json())
    again = read_split(tmp_path)
    assert again.as_json() == found.as_json()
    assert again.days("test") == found.days("test")


def test_parts_that_would_be_empty_are_named() -> None:
    with pytest.raises(SettingsError, match="train, validation and test would be empty"):
        cut()
    with pytest.raises(SettingsError, match="train and validation would be empty: 1 days with 4"):
        cut(4)
    with pytest.raises(SettingsError, match="gap_days is -1; expected 0 or more"):
        cut(1, gap_days=-1)


def test_a_gap_longer_than_time_leaves_parts_empty() -> None:
    with pytest.raises(SettingsError, match="train and validation would be empty"):
        cut(*[10] * 20, gap_days=10**10)
