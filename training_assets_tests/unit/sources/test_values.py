"""Ids and event times of any size, type and form are read exactly or are faults."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.schemas import (
    MAX_ITEM_ID,
)
from training_assets.sources.values import Kind, parse_texts
from training_assets_tests.support.frames import DAY, at, click
from training_assets_tests.support.raw_input import (
    NOON,
    OUTSIDE,
    clicks,
    each_format,
    each_text,
    put,
    put_rows,
    read,
)

# --- ids ------------------------------------------------------------------------------------------

BAD_IDS = [
    (None, 5, "customer_id is null"),
    (1, None, "item_id is null"),
    (None, None, "customer_id is null"),
    (1, 0, OUTSIDE),
    (1, -1, OUTSIDE),
    (1, -(2**31), OUTSIDE),
    (1, MAX_ITEM_ID + 1, OUTSIDE),
    (1, -(2**63), OUTSIDE),
    (1, 2**63 - 1, OUTSIDE),
]
BEYOND_64_BITS = [
    (1, 2**63, OUTSIDE),
    (1, 2**64 - 1, OUTSIDE),
    (1, -(2**70), OUTSIDE),
    (1, 10**100, OUTSIDE),
    (2**63, 1, "customer_id outside 64 bits"),
    (-(2**63) - 1, 1, "customer_id outside 64 bits"),
    (10**100, 1, "customer_id outside 64 bits"),
]


@each_format
@pytest.mark.parametrize(("customer", "item", "reason"), BAD_IDS)
def test_row_with_a_bad_id_is_a_fault(
    tmp_path: Path, ending: str, customer: Any, item: Any, reason: str
) -> None:
    good = clicks((1, 1))
    path = put_rows(tmp_path, ending, [*good, *clicks((customer, item)), *good])
    found = read(tmp_path)
    assert found.valid == [click(1, 1, DAY, NOON)] * 2
    (fault,) = found.faults
    assert fault[:3] == (DAY, reason, f"raw/clicks/dt={DAY}/a.{ending}")
    if ending == "parquet":
        shown = {"customer_id": customer, "item_id": item}
        assert json.loads(fault.content) == shown | {"click_time": "2024-05-10 12:00:00.000000Z"}
    else:
        assert fault.content == path.read_text().splitlines()[-2]


@each_text
@pytest.mark.parametrize(("customer", "item", "reason"), BEYOND_64_BITS)
def test_text_id_beyond_64_bits_is_a_fault(
    tmp_path: Path, ending: str, customer: int, item: int, reason: str
) -> None:
    put_rows(tmp_path, ending, clicks((customer, item), (1, 1)))
    found = read(tmp_path)
    assert (found.reasons, found.valid) == ([reason], [click(1, 1, DAY, NOON)])


def test_unsigned_id_beyond_63_bits_is_a_fault_with_its_value(tmp_path: Path) -> None:
    big = pa.array([2**63, 1, 2**64 - 1], pa.uint64())
    ones = pa.array([1, 1, 1])
    put(tmp_path, "a.parquet", pa.table({"customer_id": big, "item_id": ones}))
    put(tmp_path, "b.parquet", pa.table({"customer_id": ones, "item_id": big}))
    found = read(tmp_path)
    assert found.valid == [click(1, 1, DAY)] * 2
    assert found.reasons == ["customer_id outside 64 bits"] * 2 + [OUTSIDE] * 2
    assert [json.loads(f.content)["customer_id"] for f in found.faults[:2]] == [2**63, 2**64 - 1]
    assert json.loads(found.faults[3].content) == {"customer_id": 1, "item_id": 2**64 - 1}


@pytest.mark.parametrize("value", [True, False, 1.5, "", "x", "1e3", [1], {"a": 1}, 1e400])
@pytest.mark.parametrize("name", ["customer_id", "item_id"])
def test_json_id_that_is_no_integer_is_a_fault(tmp_path: Path, name: str, value: Any) -> None:
    line = json.dumps({"customer_id": 1, "item_id": 1, name: value})
    put(tmp_path, "a.json", f"{line}\n" + '{"customer_id": 1, "item_id": 1}\n')
    found = read(tmp_path)
    assert found.valid == [click(1, 1, DAY)]
    assert found.faults[0][1:] == (
        f"{name} is not an integer",
        f"raw/clicks/dt={DAY}/a.json",
        line,
    )


@pytest.mark.parametrize(
    "cell", ["1.5", "1e3", "true", "x", "0x1F", "1_000", "+-1", "--1", "١", "1 2", "NaN"]
)
def test_csv_id_that_is_no_integer_is_a_fault(tmp_path: Path, cell: str) -> None:
    put(tmp_path, "a.csv", f"customer_id,item_id\n{cell},1\n1,{cell}\n1,1\n")
    found = read(tmp_path)
    assert found.valid == [click(1, 1, DAY)]
    assert [f[1] for f in found.faults] == [
        "customer_id is not an integer",
        "item_id is not an integer",
    ]
    assert [f.content for f in found.faults] == [f"{cell},1", f"1,{cell}"]


def test_csv_id_may_have_blanks_a_sign_and_zeros(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", f"customer_id,item_id\n 7 ,+5\n007,{'0' * 50}5\n-7,\t5\n")
    assert read(tmp_path) == ([click(7, 5, DAY), click(7, 5, DAY), click(-7, 5, DAY)], [])


# --- event times ----------------------------------------------------------------------------------

TIME = Kind("click_time", "timestamp")
TIMES = [
    ("2024-05-10T12:00:00Z", NOON),
    ("2024-05-10 12:00:00", NOON),
    ("2024-05-10T12:00:00.5", NOON + timedelta(microseconds=500_000)),
    ("2024-05-10T12:00:00.123456Z", NOON + timedelta(microseconds=123_456)),
    ("2024-05-10T12:00:00.123456999", NOON + timedelta(microseconds=123_456)),
    ("2024-05-10T14:00:00+02:00", NOON),
    ("2024-05-10T05:30:00-0630", NOON),
    (" 2024-05-10T12:00 ", NOON),
    ("2024-05-10", at(DAY, "00:00")),
    ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)),
    ("1969-12-31T23:59:59.999999", datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)),
]
NO_TIMES = [
    "nope", "12:00", "10/05/2024 12:00", "2024-13-01T00:00:00", "2024-02-30T00:00:00Z",
    "2024-05-10T25:00:00", "2024-05-10T12:00:60Z", "0000-01-01T00:00:00", "10000-01-01T00:00:00Z",
    "1715342400", "1710120912345", "20240510T120000", "2024-W19-5", "2024-05-10T12:00:00 CEST",
    "2024-05-10T12:00:00+99:00", "-2024-05-10",
]  # fmt: skip


@each_text
@pytest.mark.parametrize(("text", "expected"), TIMES)
def test_text_time_is_read_as_utc(
    tmp_path: Path, ending: str, text: str, expected: datetime
) -> None:
    put_rows(tmp_path, ending, [{"customer_id": 1, "item_id": 1, "click_time": text}])
    assert read(tmp_path) == ([click(1, 1, DAY, expected)], [])


@each_text
@pytest.mark.parametrize("text", NO_TIMES)
def test_text_that_is_no_time_is_a_fault(tmp_path: Path, ending: str, text: str) -> None:
    row = {"customer_id": 1, "item_id": 1, "click_time": text}
    put_rows(tmp_path, ending, [row, *clicks((1, 1))])
    found = read(tmp_path)
    assert found.reasons == ["click_time is not a timestamp"]
    assert text in found.faults[0].content
    assert found.valid == [click(1, 1, DAY, NOON)]


@each_text
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00"])
def test_text_time_beyond_the_calendar_in_utc_is_a_fault(
    tmp_path: Path, ending: str, text: str
) -> None:
    put_rows(tmp_path, ending, [{"customer_id": 1, "item_id": 1, "click_time": text}])
    assert read(tmp_path).reasons == ["click_time outside the years 1..9999"]


def test_times_of_a_column_are_read_as_each_by_itself() -> None:
    texts = [text for text, _ in TIMES]
    alone = [parse_texts(pa.array([text]), TIME).values[0].as_py() for text in texts]
    for n in range(len(texts)):
        column = pa.array([None, *texts[n:], *texts[:n]])
        assert parse_texts(column, TIME).values.to_pylist() == [None, *alone[n:], *alone[:n]]
        for other, single in zip(texts, alone, strict=True):
            found = parse_texts(pa.array([texts[n], other]), TIME)
            assert found.values.to_pylist() == [alone[n], single]


@pytest.mark.parametrize("value", ["", 0, 1715342400, 1.5, True, [], {}, "\ud800"])
def test_json_time_that_is_no_text_is_a_fault(tmp_path: Path, value: Any) -> None:
    put_rows(tmp_path, "jsonl", [{"customer_id": 1, "item_id": 1, "click_time": value}])
    assert read(tmp_path).reasons == ["click_time is not a timestamp"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "-05:00"])
def test_parquet_times_of_any_unit_and_zone_are_the_same_instant(
    tmp_path: Path, unit: str, zone: str | None
) -> None:
    times = pa.array([NOON.replace(tzinfo=None), None]).cast(pa.timestamp(unit))
    times = times.cast(pa.int64()).cast(pa.timestamp(unit, tz=zone))
    put(
        tmp_path,
        "a.parquet",
        pa.table({"customer_id": [1, 1], "item_id": [1, 1], "click_time": times}),
    )
    assert read(tmp_path) == ([click(1, 1, DAY, NOON), click(1, 1, DAY)], [])


def test_nanoseconds_are_floored_also_before_1970(tmp_path: Path) -> None:
    times = pa.array([1_999, -1, -1_001, None], pa.timestamp("ns"))
    ids = pa.array([1] * 4)
    put(tmp_path, "a.parquet", pa.table({"customer_id": ids, "item_id": ids, "click_time": times}))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    shown = [row["click_time"] for row in read(tmp_path).valid]
    assert shown == [epoch + timedelta(microseconds=n) for n in (1, -1, -2)] + [None]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_parquet_time_beyond_the_calendar_is_a_fault_with_its_number(
    tmp_path: Path, unit: str
) -> None:
    ticks = {"s": 1, "ms": 1_000, "us": 1_000_000}[unit]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first = int((datetime(1, 1, 1, tzinfo=UTC) - epoch).total_seconds()) * ticks
    last = (
        int((datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - epoch).total_seconds()) + 1
    ) * ticks - 1
    numbers = [first, first - 1, last, last + 1, 2**63 - 1, -(2**63), None, 0]
    path = tmp_path / "raw" / "clicks" / f"dt={DAY}" / "a.parquet"
    path.parent.mkdir(parents=True)
    ids = pa.array([1] * len(numbers))
    times = pa.array(numbers, pa.timestamp(unit, tz="UTC"))
    if unit == "s":
        # Parquet has no seconds: they come as milliseconds, so these are at their ends.
        times = pa.array([n if n is None or abs(n) < 2**53 else 2**53 for n in numbers], times.type)
    pq.write_table(pa.table({"customer_id": ids, "item_id": ids, "click_time": times}), path)
    found = read(tmp_path)
    assert found.reasons == ["click_time outside the years 1..9999"] * 4
    assert json.loads(found.faults[0].content)["click_time"] == (first - 1) * (
        1000 if unit == "s" else 1
    )
    times_read = [row["click_time"] for row in found.valid]
    assert times_read[0] == datetime(1, 1, 1, tzinfo=UTC)
    assert times_read[1].year == 9999
    assert times_read[2:] == [None, epoch]


def test_int96_time_beyond_nanoseconds_does_not_wrap_around(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "clicks" / f"dt={DAY}" / "a.parquet"
    path.parent.mkdir(parents=True)
    far = datetime(4000, 1, 1, tzinfo=UTC)
    rows = {"customer_id": [1], "item_id": [1], "click_time": pa.array([far], pa.timestamp("us"))}
    pq.write_table(pa.table(rows), path, use_deprecated_int96_timestamps=True)
    assert read(tmp_path) == ([click(1, 1, DAY, far)], [])
