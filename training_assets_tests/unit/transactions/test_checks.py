"""Every check passes on what stands, and finds the fault that it is for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from training_assets.transactions.checks import CHECKS, Finding, Place
from training_assets.transactions.run import detect_waiting
from training_assets_tests.unit.transactions.banks import (
    Bank,
    line,
    write_lines,
    write_rows,
    write_weights,
)
from training_assets_tests.unit.transactions.conftest import OpenBank
from training_assets_tests.unit.transactions.test_drivers import LIMITS, some_rows

Break = Callable[[Bank], object]


def findings(bank: Bank) -> dict[str, Finding]:
    place = Place.of(bank.settings, bank.database)
    return {check.name: check.find(place) for check in CHECKS}


def failed(bank: Bank) -> set[str]:
    return {name for name, found in findings(bank).items() if not found.passed}


@pytest.fixture
def bank(open_bank: OpenBank, engine: str) -> Bank:
    if engine != "sail":
        pytest.skip("the checks do not use the engine")
    bank = open_bank(**LIMITS)
    rows, weights = some_rows()
    write_rows(bank.source, rows)
    write_weights(bank.importance, weights)
    bank.feed()
    detect_waiting(bank.detector(), bank.session, bank.settings, "ledger")
    return bank


def sql(statement: str) -> Break:
    return lambda bank: bank.database.run(lambda c: c.execute(statement))  # type: ignore[call-overload]


def first(bank: Bank, folder: str, pattern: str) -> Path:
    return min((Path(bank.settings.workdir) / folder).glob(pattern))


FAULTS: dict[str, tuple[Break, set[str]]] = {
    "a chunk that is gone": (
        lambda bank: first(bank, "raw", "chunk-*0050-*").unlink(),
        {"chunks_are_contiguous", "ledger_and_inbox_agree", "state_equals_chunks"},
    ),
    "a chunk that is another": (
        lambda bank: first(bank, "raw", "chunk-*0050-*").write_bytes(
            first(bank, "raw", "chunk-*").read_bytes()
        ),
        {"ledger_and_inbox_agree", "state_equals_chunks"},
    ),
    "a count": (
        sql("UPDATE customer_merchant_stats SET transaction_count = 1 WHERE customer_id = 'C1'"),
        {"state_equals_chunks", "detections_hold"},
    ),
    "a sum": (
        sql("UPDATE customer_merchant_stats SET sum_amount = sum_amount + 0.01"),
        {"state_equals_chunks"},
    ),
    "a merchant's count": (
        sql("UPDATE merchant_transaction_counts SET transaction_count = 1"),
        {"state_equals_chunks"},
    ),
    "a gender": (
        sql("UPDATE customers SET gender = CASE gender WHEN 'E' THEN 'M' ELSE 'E' END"),
        {"state_equals_chunks"},
    ),
    "customers counted per chunk": (
        sql("UPDATE merchant_gender_stats SET customer_count = customer_count * 2"),
        {"state_equals_chunks"},
    ),
    "a pattern that is not true": (
        sql("INSERT INTO true_patterns VALUES ('PatId3', 'nobody', '')"),
        {"detections_hold"},
    ),
    "a pattern that was missed": (
        sql("DELETE FROM true_patterns WHERE pattern_id = 'PatId1'"),
        {"detections_hold"},
    ),
    "a detection that is gone": (
        sql("DELETE FROM detections WHERE detection_id = 3"),
        {"detections_are_in_files"},
    ),
    "a file that is gone": (
        lambda bank: first(bank, "detections", "*.csv").unlink(),
        {"detections_are_in_files"},
    ),
    "a file that was changed": (
        lambda bank: first(bank, "detections", "*.csv").write_text("nothing"),
        {"detections_are_in_files"},
    ),
    "a file that overlaps": (
        sql("UPDATE detection_files SET last_detection = 9 WHERE first_detection = 1"),
        {"detections_are_in_files"},
    ),
    "few weights": (
        sql("UPDATE customer_merchant_stats SET weight_count = 0"),
        {"importance_covers_pairs"},
    ),
    "a big quarantine": (
        sql("UPDATE applied_chunks SET quarantined_count = 20"),
        {"volume"},
    ),
}


def test_all_pass_on_what_stands(bank: Bank) -> None:
    found = findings(bank)
    assert {name: finding.message for name, finding in found.items()} == dict.fromkeys(found, "")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(bank: Bank, fault: str) -> None:
    plant, expected = FAULTS[fault]
    plant(bank)
    found = failed(bank)
    assert expected <= found
    # Some faults show in more than one place; none shows where all is well.
    assert found <= expected | {"detections_hold"}


def test_all_pass_before_anything_was_fed(open_bank: OpenBank) -> None:
    assert failed(open_bank()) == set()


def test_bad_rows_are_recomputed_as_bad(open_bank: OpenBank) -> None:
    bank = open_bank()
    write_lines(
        bank.source,
        [
            line("C0", "M", "female", "007.50"),
            line("'C0'", "M", "X", "+5"),
            line("", "M"),
            line("C1", "M", amount="-1"),
            line("C1", "M", amount="1e3"),
            "half a line",
        ],
    )
    bank.feed()
    detect_waiting(bank.detector(), bank.session, bank.settings, "ledger")
    assert failed(bank) == {"importance_covers_pairs", "volume"}
