"""Which days a source has, where it begins, and which days it owes."""

import os
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.errors import RawDataError, SchemaError
from training_assets.lake import Lake
from training_assets.schemas import CLICKS, PREVIOUS_ORDERS
from training_assets.sources import (
    SourceDays,
    files_of_days,
    find_raw_days,
    fingerprint,
    source_days,
)
from training_assets_tests.support.frames import DAY, before, click
from training_assets_tests.support.raw_input import NOON, clicks, orders, put, put_rows, read

EPOCH, END = date(1970, 1, 1), date(9999, 12, 31)


def deliver(root: Path, *days: date) -> Lake:
    for day in days:
        put_rows(root, "csv", clicks((1, 1)), folder=f"dt={day}")
    return Lake.at(root)


def since(first: date, count: int) -> list[date]:
    return [first + timedelta(days=n) for n in range(count)]


# --- where a source begins ------------------------------------------------------------------------


def test_source_without_any_day_is_absent_and_owes_nothing(tmp_path: Path) -> None:
    lake = Lake.at(tmp_path)
    assert source_days(lake, CLICKS) == SourceDays((), None, ())
    assert source_days(lake, CLICKS).near == []
    assert find_raw_days(lake, CLICKS, [DAY]).count_rows() == {DAY: 0}


def test_source_owes_no_day_before_its_first_and_every_day_from_it_on(tmp_path: Path) -> None:
    lake = deliver(tmp_path, before(5), before(3))
    assert source_days(lake, CLICKS) == SourceDays((before(5), before(3)), before(5), ())
    assert files_of_days(lake, CLICKS, [before(9), before(6)]) == []
    for day in (before(4), before(2), before(-100)):
        with pytest.raises(RawDataError, match=rf"clicks: raw day {day} is missing"):
            files_of_days(lake, CLICKS, [before(5), day])
        assert files_of_days(lake, CLICKS, [day], allow_missing=True) == []


def test_first_day_is_the_one_that_was_found_when_it_was_looked_for(tmp_path: Path) -> None:
    lake = deliver(tmp_path, before(3))
    known = source_days(lake, CLICKS)
    deliver(tmp_path, before(5))
    assert known.first == before(3)
    assert files_of_days(lake, CLICKS, [before(4)], known) == []
    with pytest.raises(RawDataError, match="is missing"):
        files_of_days(lake, CLICKS, [before(4)])


def test_days_of_flat_orders_are_days_of_the_source(tmp_path: Path) -> None:
    put_rows(tmp_path, "csv", orders(before(9), before(9), before(7)), PREVIOUS_ORDERS, folder=None)
    put_rows(tmp_path, "csv", orders(before(8)), PREVIOUS_ORDERS, folder=f"dt={before(8)}")
    lake = Lake.at(tmp_path)
    found = source_days(lake, PREVIOUS_ORDERS)
    assert found == SourceDays((before(9), before(8), before(7)), before(9), ())
    # What a flat file says nothing of is a day without orders.
    assert find_raw_days(lake, PREVIOUS_ORDERS, [DAY], found).count_rows() == {DAY: 0}


def test_flat_orders_that_cannot_be_read_or_lack_their_day_have_no_days(tmp_path: Path) -> None:
    lake = Lake.at(tmp_path)
    put(tmp_path, "a.parquet", b"junk", PREVIOUS_ORDERS, None)
    with pytest.raises(RawDataError, match=r"raw/previous_orders/a\.parquet: the file cannot be"):
        source_days(lake, PREVIOUS_ORDERS)
    put(tmp_path, "a.parquet", b"", PREVIOUS_ORDERS, None).unlink()
    put(tmp_path, "a.csv", "customer_id,config_id\n1,1\n", PREVIOUS_ORDERS, None)
    with pytest.raises(SchemaError, match=r"previous_orders\.order_date: the column is missing"):
        source_days(lake, PREVIOUS_ORDERS)


def test_flat_file_is_read_once_for_days_and_fingerprints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_rows(tmp_path, "csv", orders(DAY), PREVIOUS_ORDERS, folder=None)
    found = source_days(Lake.at(tmp_path), PREVIOUS_ORDERS)

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("training_assets.sources.flat._judge_all", refuse)
    assert source_days(Lake.at(tmp_path), PREVIOUS_ORDERS) == found


# --- days far from all others ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "first", "far"),
    [
        ([], None, []),
        ([DAY], DAY, []),
        ([EPOCH], EPOCH, []),
        ([EPOCH, *since(DAY, 11)], DAY, [EPOCH]),
        ([EPOCH, *since(DAY, 2), END], DAY, [EPOCH, END]),
        ([*since(EPOCH, 2), *since(DAY, 20)], EPOCH, []),
        ([*since(EPOCH, 2), *since(DAY, 21)], DAY, since(EPOCH, 2)),
        # Two days alone: nobody can say which of them is wrong.
        ([EPOCH, DAY], EPOCH, []),
        # A gap of 366 days is a gap within a source, one of 367 is not.
        ([before(366), *since(DAY, 30)], before(366), []),
        ([before(367), *since(DAY, 30)], DAY, [before(367)]),
        # Years of orders and then a pause of two years.
        ([*since(before(3_000), 900), *since(DAY, 100)], before(3_000), []),
    ],
    ids=str,
)
def test_days_far_from_all_others_are_named_and_begin_nothing(
    days: list[date], first: date | None, far: list[date]
) -> None:
    found = SourceDays.of(reversed(days))
    assert found == SourceDays(tuple(days), first, tuple(far))
    assert found.near == [day for day in days if day not in far]


def reachable(days: Sequence[date], day: date) -> set[date]:
    """All days that are reached from one by steps of at most 366 days; plain loops."""
    found, waiting = {day}, [day]
    while waiting:
        one = waiting.pop()
        for other in days:
            if other not in found and abs((other - one).days) <= 366:
                found.add(other)
                waiting.append(other)
    return found


@given(
    st.lists(st.tuples(st.sampled_from([0, 2000, 2400, 4000]), st.integers(0, 90)), max_size=60),
    st.sets(st.integers(0, 25_000), max_size=4),
)
def test_far_days_are_as_plain_loops_find_them(pairs: list[tuple[int, int]], odd: set[int]) -> None:
    numbers = {start + n for start, n in pairs} | odd
    days = [date(1990, 1, 1) + timedelta(days=n) for n in sorted(numbers)]
    sizes = {day: len(reachable(days, day)) for day in days}
    largest = max(sizes.values(), default=0)
    far = [day for day in days if sizes[day] * 10 < largest or sizes[day] == 1 < largest]
    found = SourceDays.of(days)
    assert list(found.far) == far
    assert found.first == next((day for day in days if day not in far), None)


def test_far_day_that_is_asked_for_is_read_and_begins_nothing(tmp_path: Path) -> None:
    lake = deliver(tmp_path, EPOCH, before(1), DAY)
    found = source_days(lake, CLICKS)
    assert (found.first, found.far) == (before(1), (EPOCH,))
    assert read(tmp_path, days=[EPOCH]).valid == [click(1, 1, EPOCH, NOON)]
    assert files_of_days(lake, CLICKS, [EPOCH + timedelta(days=1)], found) == []


# --- empty days and unfinished ones ---------------------------------------------------------------

FOLDER = f"dt={DAY}"


@pytest.mark.parametrize(
    "name",
    [
        "_temporary/0/task/part-0.csv",
        "_temporary/0/",
        ".a.csv.Xy7",
        "_a.csv.3f2e",
        "hour=03/_temporary/0/part-0.csv",
        ".spark-staging-1/a.csv",
        "_started_123",
    ],
)
def test_day_with_nothing_but_unfinished_work_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "raw" / "clicks" / FOLDER / name
    (path if name.endswith("/") else path.parent).mkdir(parents=True)
    if not name.endswith("/"):
        path.write_text("customer_id,item_id\n1,1\n")
    put(tmp_path, "_SUCCESS", b"")
    lake = Lake.at(tmp_path)
    assert source_days(lake, CLICKS).days == (DAY,)
    for allow in (False, True):
        with pytest.raises(RawDataError) as caught:
            find_raw_days(lake, CLICKS, [DAY], allow_missing=allow)
        assert f"clicks: raw day {DAY} holds only what an unfinished writer left" in str(
            caught.value
        )
        assert f"clicks/{FOLDER}" not in str(caught.value).partition("expected")[0]
    put_rows(tmp_path, "csv", clicks((1, 1)))
    assert read(tmp_path).valid == [click(1, 1, DAY, NOON)]


@pytest.mark.parametrize(
    "name", ["", "_SUCCESS", ".keep", ".gitkeep", "._SUCCESS.crc", "_committed_12", "hour=03/.keep"]
)
def test_marks_of_finished_work_leave_a_day_empty(tmp_path: Path, name: str) -> None:
    put(tmp_path, name or "x", b"").unlink()
    if name:
        put(tmp_path, name, b"")
    assert read(tmp_path) == ([], [])


# --- what listing costs ---------------------------------------------------------------------------


def test_days_of_a_year_are_found_with_one_look_at_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = since(DAY, 365)
    for day in days:
        (tmp_path / "raw" / "clicks" / f"dt={day}").mkdir(parents=True)
    looked: list[str] = []
    scandir = os.scandir

    def counting(path: Any) -> Any:
        looked.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    assert source_days(Lake.at(tmp_path), CLICKS).days == tuple(days)
    assert looked == [str(tmp_path / "raw" / "clicks")]


def test_table_whose_folder_cannot_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "clicks").write_bytes(b"a file")
    with pytest.raises(RawDataError, match=r"^raw/clicks: the folder cannot be listed \(Not a"):
        source_days(Lake.at(tmp_path), CLICKS)


def test_file_that_is_gone_before_it_is_recorded_is_named(tmp_path: Path) -> None:
    path = put_rows(tmp_path, "csv", clicks((1, 1)))
    files = files_of_days(Lake.at(tmp_path), CLICKS, [DAY])
    path.unlink()
    with pytest.raises(RawDataError) as caught:
        fingerprint(CLICKS, DAY, files)
    assert f"clicks: a raw file of {DAY} vanished while it was read" in str(caught.value)
    assert f"raw/clicks/dt={DAY}/a.csv" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "part-00000-f5aed66d-0255-46d1-9002-986809c91662-c000.snappy.parquet",
        "20240501d1e84ff98c0e5f0f7c1a2b3c.parquet",
        "a20240501.parquet",
    ],
)
def test_digits_of_a_hash_name_no_day(tmp_path: Path, name: str) -> None:
    lake = deliver(tmp_path, DAY)
    (tmp_path / "raw/clicks" / name).write_bytes(b"")
    with pytest.raises(RawDataError, match="the file is read for no day"):
        find_raw_days(lake, CLICKS, [DAY])


def test_a_file_that_names_another_day_is_no_fault_of_this_one(tmp_path: Path) -> None:
    lake = deliver(tmp_path, DAY, before(1))
    (tmp_path / "raw/clicks" / f"clicks_{before(1):%Y%m%d}.csv").write_bytes(b"")
    find_raw_days(lake, CLICKS, [DAY])
    with pytest.raises(RawDataError, match="the file is read for no day"):
        find_raw_days(lake, CLICKS, [before(1)])
