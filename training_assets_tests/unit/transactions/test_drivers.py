"""The loop over the ledger and Spark's foreachBatch give the same tables and the same files."""

import shutil
import threading
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from training_assets.errors import ChunkError
from training_assets.transactions.run import detect_waiting, follow, rebuild
from training_assets_tests.unit.transactions.banks import (
    Bank,
    require_equal,
    write_rows,
    write_weights,
)
from training_assets_tests.unit.transactions.conftest import OpenBank
from training_assets_tests.unit.transactions.reference import (
    Row,
    Weight,
    expected_detections,
    expected_state,
)

CHUNK = 50
LIMITS = {
    "upgrade_min_transactions": 60,
    "upgrade_top": Decimal("0.25"),
    "upgrade_bottom": Decimal("0.25"),
    "child_min_transactions": 4,
    "women_min": 3,
    "file_rows": 4,
    "chunk_rows": CHUNK,
}


def some_rows(count: int = 400) -> tuple[list[Row], list[Weight]]:
    rng = np.random.default_rng(7)
    rows = [
        Row(
            f"C{rng.integers(30)}",
            f"M{rng.integers(3)}",
            "MMMFFE"[rng.integers(6)],
            Decimal(int(rng.integers(1000, 3600))) / 100,
        )
        for _ in range(count)
    ]
    return rows, [Weight(row.customer, row.merchant, row.amount) for row in rows]


def fed(open_bank: OpenBank) -> tuple[Bank, list[Row], list[Weight]]:
    bank = open_bank(**LIMITS)
    rows, weights = some_rows()
    write_rows(bank.source, rows)
    write_weights(bank.importance, weights)
    bank.feed()
    return bank, rows, weights


def without_times(bank: Bank) -> dict[str, list[list[str]]]:
    return {name: [list(row.values())[2:] for row in rows] for name, rows in bank.files().items()}


def detect(bank: Bank, driver: str) -> None:
    detect_waiting(bank.detector(), bank.session, bank.settings, driver)  # type: ignore[arg-type]


def test_state_detections_and_files_are_as_by_plain_loops(open_bank: OpenBank) -> None:
    bank, rows, weights = fed(open_bank)
    detect(bank, "auto")
    require_equal(bank.state(), expected_state(rows, weights, bank.settings))
    ends = range(CHUNK, len(rows) + 1, CHUNK)
    expected = expected_detections(rows, ends, weights, bank.settings)
    made = bank.detections_by_chunk()
    assert [made.get(end, []) for end in ends] == expected
    assert {pattern for chunk in expected for pattern, _, _ in chunk} == {
        "PatId1",
        "PatId2",
        "PatId3",
    }
    in_files = [row for file in bank.files().values() for row in file]
    assert [(r["patternId"], r["MerchantId"], r["customerName"]) for r in in_files] == [
        key for chunk in expected for key in chunk
    ]
    assert [len(file) for file in bank.files().values()][:-1] == [4] * (len(in_files) // 4)


@pytest.mark.spark
def test_both_drivers_give_the_same_tables_and_files(
    open_bank: OpenBank, spark: SparkSession, engine: str
) -> None:
    if engine != "spark":
        pytest.skip("Sail has no foreachBatch")
    bank, _, _ = fed(open_bank)
    detect(bank, "stream")
    state, files = bank.state(), without_times(bank)
    made = bank.rows("SELECT detection_id, pattern_id, merchant_id, customer_id FROM detections")
    # A lost checkpoint brings all chunks again, here to a stream that goes on; nothing changes.
    shutil.rmtree(Path(bank.settings.workdir) / "temp" / "checkpoint")
    stop = threading.Event()
    stop.set()
    follow(bank.detector(), bank.session, bank.settings, stop, "stream")
    assert (bank.state(), without_times(bank)) == (state, files)
    # A checkpoint ahead of the ledger: what the stream does not bring is read from the inbox.
    rebuild(bank.settings, bank.database)
    shutil.rmtree(Path(bank.settings.workdir) / "detections")
    bank.database.run(lambda c: c.execute("UPDATE progress SET generation = 0"))
    detect(bank, "stream")
    assert (bank.state(), without_times(bank)) == (state, files)
    bank.database.run(lambda c: c.execute("UPDATE progress SET generation = 0"))
    rebuild(bank.settings, bank.database)
    shutil.rmtree(Path(bank.settings.workdir) / "detections")
    bank.database.run(lambda c: c.execute("UPDATE progress SET generation = 0"))
    detect(bank, "ledger")
    assert (bank.state(), without_times(bank)) == (state, files)
    again = bank.rows("SELECT detection_id, pattern_id, merchant_id, customer_id FROM detections")
    assert again == made


@pytest.mark.spark
def test_an_error_in_a_batch_is_the_error_of_the_stream_and_nothing_is_lost(
    open_bank: OpenBank, spark: SparkSession, engine: str
) -> None:
    if engine != "spark":
        pytest.skip("Sail has no foreachBatch")
    bank, rows, weights = fed(open_bank)
    raw = Path(bank.settings.workdir) / "raw"
    good, kept = sorted(raw.glob("chunk-*"))[2], raw.parent / "kept"
    shutil.move(good, kept)
    shutil.copy(sorted(raw.glob("chunk-*"))[0], good)
    with pytest.raises(ChunkError):
        detect(bank, "stream")
    shutil.move(kept, good)
    detect(bank, "stream")
    require_equal(bank.state(), expected_state(rows, weights, bank.settings))
