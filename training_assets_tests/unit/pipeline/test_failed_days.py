"""Many days with one fault are one line; days with other faults are not lost in it."""

from datetime import date, timedelta

import pytest

from training_assets.pipeline import FailedDay, by_fault, each_day, in_short

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(40)]


def _missing(day: date) -> FailedDay:
    problem = (
        f"clicks: raw day {day} is missing; expected the folder /lake/raw/clicks/dt={day} (it may "
        "be empty). Deliver the day."
    )
    return FailedDay("unified_actions", day, problem)


def _looks_back(day: date) -> FailedDay:
    number = (day - FIRST).days + 1
    are = "day of the look-back of {} is" if number == 1 else "days of the look-back of {} are"
    problem = (
        f"customer_history: {number} {are.format(day)} not published in unified_actions: "
        f"{FIRST}..{day}; expected all of them."
    )
    return FailedDay("customer_history", day, problem)


def _unreadable(day: date) -> FailedDay:
    problem = f"clicks: dt={day}/part-{day.toordinal()}.parquet is no Parquet file; expected one."
    return FailedDay("unified_actions", day, problem)


@pytest.mark.parametrize("make", [_missing, _looks_back, _unreadable])
def test_one_line_says_source_reason_number_first_and_last_day_and_how_to_list(make) -> None:
    (fault,) = by_fault(make(day) for day in reversed(DAYS))
    line = fault.sentence()
    assert "\n" not in line
    assert line.startswith(f"{fault.table}: 40 days failed in the same way, 2026-03-01 to ")
    assert str(DAYS[-1]) in line
    assert make(FIRST).problem.removeprefix("customer_history: ") in line
    assert "'training-assets failures' lists all" in line
    assert fault.days == tuple(DAYS)


def test_other_faults_and_other_tables_have_lines_of_their_own() -> None:
    failed = [_missing(DAYS[0]), _unreadable(DAYS[1]), _missing(DAYS[2]), _looks_back(DAYS[3])]
    faults = by_fault(failed)
    assert [(fault.table, fault.days) for fault in faults] == [
        ("unified_actions", (DAYS[0], DAYS[2])),
        ("unified_actions", (DAYS[1],)),
        ("customer_history", (DAYS[3],)),
    ]
    assert sum(len(fault.days) for fault in faults) == len(failed)


def test_a_day_alone_is_told_in_its_own_words() -> None:
    (fault,) = by_fault([_looks_back(DAYS[1])])
    assert fault.sentence() == _looks_back(DAYS[1]).problem
    (fault,) = by_fault([FailedDay("training_input", FIRST, "it is gone.")])
    assert fault.sentence() == "training_input 2026-03-01: it is gone."
    assert [fault.days for fault in each_day([_missing(day) for day in DAYS])] == [
        (day,) for day in DAYS
    ]


def test_short_says_what_is_wrong_and_no_more() -> None:
    assert in_short(_missing(FIRST).problem) == "clicks: raw day 2026-03-01 is missing"
    assert in_short("clicks: a; b. Do c.") == "clicks: a; b"
    assert in_short("clicks: it is 0.5 of a.json.") == "clicks: it is 0.5 of a.json"
