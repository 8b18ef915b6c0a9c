"""Which day a row is filed under when it arrives."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.service.landing import Filing, Landing
from training_assets.service.problems import Problem

CLOSES = timedelta(hours=6)
TYPE = pa.timestamp("us", tz="UTC")


def days_of(times: list[datetime], arrived_at: datetime, **given: bool) -> list[date]:
    rows = pa.table({"timestamp": pa.array(times, TYPE)})
    days: list[date] = Filing(arrived_at, CLOSES, "timestamp", **given).days(rows).to_pylist()
    return days


def at(day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "arrives", "filed"),
    [
        (at(20, 11), at(20, 12), 20),
        (at(19, 23, 59), at(20, 5, 59, 59), 19),
        (at(19, 23, 59), at(20, 6), 20),
        (at(19), at(20, 5), 19),
        (at(18, 23), at(20, 5), 20),
        (at(1), at(20, 12), 20),
        (at(20, 0), at(20, 0), 20),
        (at(21, 0, 2), at(20, 23, 59), 21),
    ],
)
def test_day_is_open_until_it_closes(event: datetime, arrives: datetime, filed: int) -> None:
    assert days_of([event], arrives) == [date(2026, 11, filed)]


def test_backfill_files_by_time_on_purpose() -> None:
    assert days_of([at(1, 3)], at(20, 12), is_backfill=True) == [date(2026, 11, 1)]


def test_snapshots_are_of_the_day_of_arrival() -> None:
    rows = pa.table({"item_id": ["1", "2"]})
    days = Filing(at(20, 1), CLOSES, None).days(rows).to_pylist()
    assert days == [date(2026, 11, 20)] * 2


def test_rows_keep_their_order_and_carry_number_upload_and_arrival(tmp_path: Path) -> None:
    times = [at(20, 3), at(19, 2), at(20, 1)]
    rows = pa.table({"item_id": ["c", "b", "a"], "timestamp": pa.array(times, TYPE)})
    landing = Landing(tmp_path, Filing(at(20, 5), CLOSES, "timestamp"), "id", 10)
    landing.add(rows, pa.array([1, 4, 5]))
    first, second = landing.finish()
    assert (first.day, second.day) == (date(2026, 11, 19), date(2026, 11, 20))
    found = pq.read_table(second.path).to_pylist()
    assert [(row["item_id"], row["_row"]) for row in found] == [("c", 1), ("a", 5)]
    assert {(row["_upload_id"], row["ingested_at"]) for row in found} == {("id", at(20, 5))}


def test_time_of_arrival_that_a_client_claims_is_not_taken(tmp_path: Path) -> None:
    rows = pa.table({"item_id": ["a"], "ingested_at": pa.array([at(1)], TYPE)})
    landing = Landing(tmp_path, Filing(at(20, 5), CLOSES, None), "id", 10)
    landing.add(rows, pa.array([1]))
    (file,) = landing.finish()
    assert pq.read_table(file.path)["ingested_at"].to_pylist() == [at(20, 5)]


def test_upload_of_too_many_days_is_refused(tmp_path: Path) -> None:
    rows = pa.table({"timestamp": pa.array([at(day) for day in (1, 2, 3)], TYPE)})
    filing = Filing(at(20), CLOSES, "timestamp", is_backfill=True)
    landing = Landing(tmp_path, filing, "id", 2)
    landing.add(rows, pa.array([1, 2, 3]))
    with pytest.raises(Problem, match="more than 2 days"):
        landing.finish()
