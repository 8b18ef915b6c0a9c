"""The example is as BankSim is, and the same for the same seed."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from training_assets.errors import SettingsError
from training_assets.sample.banksim import write_banksim


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other, third = (
        [path.read_bytes() for path in write_banksim(tmp_path / name, transactions=500, seed=seed)]
        for name, seed in (("one", 1), ("other", 1), ("third", 2))
    )
    assert one == other != third


def test_it_has_the_columns_the_order_and_the_shares_of_banksim(tmp_path: Path) -> None:
    source, importance = write_banksim(tmp_path, transactions=20_000)
    found, weights = rows(source), rows(importance)
    assert list(found[0]) == [
        "step",
        "customer",
        "age",
        "gender",
        "zipcodeOri",
        "merchant",
        "zipMerchant",
        "category",
        "amount",
        "fraud",
    ]
    assert list(weights[0]) == ["Source", "Target", "Weight", "typeTrans", "fraud"]
    steps = [int(row["step"]) for row in found]
    assert steps == sorted(steps)
    assert (min(steps), max(steps)) == (0, 179)
    merchants = Counter(row["merchant"] for row in found)
    assert len(merchants) == 50
    assert merchants["'M1823072687'"] / len(found) == pytest.approx(0.504, abs=0.02)
    assert {row["gender"] for row in found} == {"'F'", "'M'", "'E'", "'U'"}
    genders = {(row["customer"], row["gender"]) for row in found}
    assert len(genders) == len({customer for customer, _ in genders})
    assert [w["Weight"] for w in weights] == [row["amount"] for row in found]
    assert all(float(row["amount"]) > 0 for row in found)


def test_no_transactions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="transactions is 0; expected at least 1"):
        write_banksim(tmp_path, transactions=0)
