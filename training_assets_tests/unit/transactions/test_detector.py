"""Chunks are applied in order and once, however often and in whichever way they come."""

import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from training_assets.errors import ChunkError, DatabaseError
from training_assets.transactions.inbox import RAW
from training_assets.transactions.loop import detect_all
from training_assets.transactions.run import detect_waiting, rebuild
from training_assets_tests.unit.transactions.banks import Bank, line, write_lines, write_weights
from training_assets_tests.unit.transactions.conftest import OpenBank
from training_assets_tests.unit.transactions.reference import Weight

LIMITS = {"child_min_transactions": 4, "chunk_rows": 3}
NINE = [line("C0", "M")] * 9


# Which chunks may be applied is asked of the database and the inbox before an engine reads them.
only_sail = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")


@pytest.fixture
def bank(open_bank: OpenBank) -> Bank:
    """Three chunks of three rows in the inbox; the second one makes C0 a child."""
    bank = open_bank(**LIMITS)
    write_lines(bank.source, NINE)
    bank.feed()
    return bank


def chunk_path(bank: Bank, number: int) -> Path:
    return Path(bank.store.uri(RAW)) / bank.detector().inbox.chunks()[number].entry.path


def test_a_chunk_that_comes_again_changes_nothing(bank: Bank) -> None:
    detector = bank.detector()
    chunks = detector.arrivals()
    for _ in range(2):
        frame, _ = detector.read(chunks)
        detector.process_batch(frame, 0)
        detector.process_batch(detector.read(chunks[1:2])[0], 1)
    assert bank.state().merchants == {"M": 9}
    assert bank.detections_by_chunk() == {6: [("PatId2", "M", "C0")]}


def test_chunks_that_no_batch_brought_are_applied_first(bank: Bank) -> None:
    detector = bank.detector()
    frame, _ = detector.read(detector.arrivals()[2:])
    detector.process_batch(frame, 7)
    assert bank.rows("SELECT first_row FROM applied_chunks ORDER BY 1") == [(0,), (3,), (6,)]
    assert bank.detections_by_chunk() == {6: [("PatId2", "M", "C0")]}


@only_sail
def test_a_gap_waits_until_it_is_filled(bank: Bank, tmp_path: Path) -> None:
    second = chunk_path(bank, 1)
    shutil.move(second, tmp_path / "kept")
    assert detect_all(bank.detector()) == 1
    detector = bank.detector()
    third, _ = detector.read(detector.inbox.chunks()[1:])
    detector.process_batch(third, 0)
    assert bank.state().merchants == {"M": 3}
    shutil.move(tmp_path / "kept", second)
    assert detect_all(bank.detector()) == 2
    assert bank.state().merchants == {"M": 9}


@only_sail
def test_an_applied_chunk_whose_content_changed_is_an_error_that_changes_nothing(
    bank: Bank,
) -> None:
    detect_all(bank.detector())
    path, state = chunk_path(bank, 1), bank.state()
    path.write_bytes(chunk_path(bank, 0).read_bytes())
    with pytest.raises(ChunkError, match=r"chunk-000000000003-\d+\.parquet: its SHA-256 is"):
        bank.detector()
    assert bank.state() == state


@only_sail
def test_a_chunk_that_was_only_copied_anew_is_the_same(bank: Bank) -> None:
    detect_all(bank.detector())
    path = chunk_path(bank, 1)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    assert detect_all(bank.detector()) == 0


@only_sail
def test_a_chunk_that_overlaps_an_applied_one_is_an_error(bank: Bank) -> None:
    detect_all(bank.detector())
    path = chunk_path(bank, 1)
    path.rename(path.with_name("chunk-000000000004-000000000005.parquet"))
    with pytest.raises(ChunkError, match="its rows overlap the chunk of rows 3 to 5"):
        bank.detector()


@only_sail
def test_a_chunk_with_fewer_rows_than_its_name_says_is_an_error(bank: Bank) -> None:
    first = chunk_path(bank, 0)
    first.rename(first.with_name("chunk-000000000000-000000000001.parquet"))
    detector = bank.detector()
    frame, _ = detector.read(detector.inbox.chunks()[:1])
    with pytest.raises(ChunkError, match="not in"):
        detector.process_batch(frame, 0)
    assert bank.state().merchants == {}


@only_sail
def test_two_detectors_in_turn_apply_each_chunk_once(bank: Bank) -> None:
    one, other = bank.detector(), bank.detector()
    chunks = one.arrivals()
    frames = [one.read([chunk])[0] for chunk in chunks]
    for frame in frames:
        one.process_batch(frame, 0)
        other.process_batch(frame, 0)
    assert bank.state().merchants == {"M": 9}
    assert bank.rows("SELECT count(*) FROM applied_chunks") == [(3,)]


@only_sail
def test_changed_limits_are_refused_until_a_rebuild(bank: Bank) -> None:
    detect_all(bank.detector())
    with pytest.raises(DatabaseError, match=r"child_min_transactions is 7; expected 4, with which"):
        bank.detector(child_min_transactions=7)
    changed = replace(bank.settings, child_min_transactions=7)
    assert rebuild(changed, bank.database) == 0
    detect_all(bank.detector(child_min_transactions=7))
    assert bank.detections_by_chunk() == {9: [("PatId2", "M", "C0")]}


@only_sail
def test_the_size_of_a_chunk_may_change(bank: Bank) -> None:
    detect_all(bank.detector())
    write_lines(bank.source, NINE * 2)
    bank.feed(chunk_rows=5)
    detect_all(bank.detector(chunk_rows=5))
    assert bank.state().merchants == {"M": 18}
    assert bank.rows("SELECT last_row FROM applied_chunks ORDER BY 1") == [
        (2,), (5,), (8,), (13,), (17,)
    ]  # fmt: skip


@only_sail
def test_a_detector_that_began_before_a_rebuild_stops(bank: Bank) -> None:
    detector = bank.detector()
    detect_all(detector)
    detector.close()
    write_lines(bank.source, NINE * 2)
    bank.feed()
    assert rebuild(bank.settings, bank.database) == 1
    with pytest.raises(DatabaseError, match="started again by another process"):
        detect_all(detector)


@only_sail
def test_an_emptied_database_does_not_write_over_the_files_of_another(bank: Bank) -> None:
    detector = bank.detector()
    detect_all(detector)
    detector.close()
    before = bank.files()
    bank.database.run(lambda c: c.execute("UPDATE progress SET next_row = 0, next_detection = 1"))
    with pytest.raises(DatabaseError, match="and the database holds nothing"):
        bank.detector()
    assert rebuild(bank.settings, bank.database) == 1
    detect_waiting(bank.detector(), bank.session, bank.settings, "ledger")
    after = bank.files()
    assert before.items() <= after.items()
    assert after.keys() - before.keys() == {
        "generation-0001/detections-000000000001-000000000001.csv"
    }


def test_new_weights_upgrade_without_a_new_chunk(open_bank: OpenBank) -> None:
    bank = open_bank(upgrade_min_transactions=2, chunk_rows=3)
    write_lines(bank.source, [line("C0", "M", amount="50")] * 2 + [line("C1", "M", amount="50")])
    bank.feed()
    assert detect_all(bank.detector()) == 1
    assert bank.detections() == []
    weights = [Weight("C0", "M", Decimal(1)), Weight("C1", "M", Decimal(2))]
    write_weights(bank.importance, weights)
    bank.feed()
    detect_all(bank.detector())
    assert bank.detections() == [("PatId1", "M", "C0")]


def test_a_batch_of_all_chunks_gives_the_state_of_the_stream(bank: Bank) -> None:
    detect_all(bank.detector())
    streamed = bank.state()
    rebuild(bank.settings, bank.database)
    assert bank.detector().apply_as_one() == 3
    assert bank.state() == streamed
    assert bank.rows("SELECT first_row, row_count FROM applied_chunks ORDER BY 1") == [
        (0, 3),
        (3, 3),
        (6, 3),
    ]
