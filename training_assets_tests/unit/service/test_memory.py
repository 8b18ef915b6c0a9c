"""What an upload holds in memory does not grow with its size."""

import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.service import landing
from training_assets.service.bodies import Body
from training_assets.service.judging import landed_body
from training_assets.service.landing import Filing
from training_assets.service.settings import ServiceSettings
from training_assets.sources import blocks

HEADER = b"user_id,item_id,interaction_type,timestamp\n"
DAYS = 3
FILING = Filing(datetime(2026, 11, 21, tzinfo=UTC), timedelta(hours=6), "timestamp", True)
SETTINGS = ServiceSettings(lake="unused")


def body(rows: int) -> Body:
    lines = (f"user-{n},i1,click,2026-11-{18 + n % DAYS}T10:00:00Z\n" for n in range(rows))
    content = HEADER + "".join(lines).encode()
    return Body(io.BytesIO(content), len(content), len(content), "")


def most_held(rows: int) -> int:
    """Bytes of the rows of an upload that were in memory at the same time."""
    before = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counting)
    try:
        with landed_body(
            body(rows), "interactions", "0" * 32, FILING, SETTINGS, keeps_rejects=True
        ) as verdict:
            assert sum(file.rows for file in verdict.files) == rows
        return counting.max_memory()
    finally:
        pa.set_memory_pool(before)


@pytest.fixture
def small_parts(monkeypatch) -> None:
    monkeypatch.setattr(landing, "_FLUSH_BYTES", 2**20)
    monkeypatch.setattr(landing, "_FILE_BYTES", 2**20)
    # So that also the smaller upload is of more blocks than are read at a time.
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 2**18)


def test_larger_upload_holds_no_more(small_parts: None) -> None:
    # How many blocks are read ahead at a time differs from one to the next; a buffer that grows
    # grows each time.
    assert any(most_held(160_000) < 1.25 * most_held(40_000) for _ in range(3))


def test_buffer_that_grows_is_seen(small_parts: None, monkeypatch) -> None:
    monkeypatch.setattr(landing, "_FLUSH_BYTES", 2**40)
    assert most_held(160_000) > 1.25 * most_held(40_000)


def test_rows_of_a_day_are_appended_to_few_files(monkeypatch) -> None:
    monkeypatch.setattr(landing, "_FLUSH_BYTES", 2**18)
    monkeypatch.setattr(landing, "_MAX_OPEN", 2)
    with landed_body(
        body(60_000), "interactions", "0" * 32, FILING, SETTINGS, keeps_rejects=False
    ) as verdict:
        found = [pq.read_table(file.path) for file in verdict.files]
        assert len({file.path for file in verdict.files}) == len(found) > DAYS
        assert [len(rows) for rows in found] == [file.rows for file in verdict.files]
        numbers = [n for rows in found for n in rows["_row"].to_pylist()]
        assert sorted(numbers) == list(range(1, 60_001))
    monkeypatch.setattr(landing, "_MAX_OPEN", DAYS)
    with landed_body(
        body(60_000), "interactions", "0" * 32, FILING, SETTINGS, keeps_rejects=False
    ) as verdict:
        assert [file.rows for file in verdict.files] == [20_000] * DAYS


def test_full_file_is_followed_by_another(monkeypatch) -> None:
    monkeypatch.setattr(landing, "_FLUSH_BYTES", 2**18)
    monkeypatch.setattr(landing, "_FILE_BYTES", 2**16)
    with landed_body(
        body(60_000), "interactions", "0" * 32, FILING, SETTINGS, keeps_rejects=False
    ) as verdict:
        sizes = [file.path.stat().st_size for file in verdict.files]
    assert len(sizes) > DAYS
    assert max(sizes) < 2**18


def test_service_loads_no_engine() -> None:
    code = (
        "import sys, training_assets.service.server; "
        "print(sorted({'pyspark', 'dagster', 'grpc'} & {n.split('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
