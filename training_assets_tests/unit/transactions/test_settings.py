"""The numbers of the contract, and how they are set."""

from decimal import Decimal
from typing import Any

import pytest

from training_assets.errors import SettingsError
from training_assets.transactions.settings import TransactionSettings


def test_the_defaults_are_the_numbers_of_the_contract() -> None:
    assert TransactionSettings().limits == {
        "upgrade_min_transactions": "50000",
        "upgrade_top": "0.1",
        "upgrade_bottom": "0.1",
        "child_max_average": "23",
        "child_min_transactions": "80",
        "women_min": "100",
        "file_rows": "50",
        "emit": "once",
    }
    assert TransactionSettings().chunk_rows == 10_000
    assert TransactionSettings().flush_after == 5


def test_the_environment_sets_all_and_what_is_given_wins() -> None:
    env = {
        "TRAINING_ASSETS_LAKE": "s3://shop/lake/",
        "TRAINING_ASSETS_TRANSACTIONS": "feed.csv.gz",
        "TRAINING_ASSETS_DATABASE": "postgresql://bank/patterns",
        "TRAINING_ASSETS_TRANSACTIONS_CHUNK_ROWS": "500",
        "TRAINING_ASSETS_TRANSACTIONS_UPGRADE_TOP": "0.01",
        "TRAINING_ASSETS_TRANSACTIONS_FLUSH_AFTER": "0.5",
        "TRAINING_ASSETS_TRANSACTIONS_EMIT": " ",
    }
    settings = TransactionSettings.from_env(env, chunk_rows=None, women_min=3)
    assert settings == TransactionSettings(
        workdir="s3://shop/lake/transactions",
        transactions="feed.csv.gz",
        database="postgresql://bank/patterns",
        chunk_rows=500,
        upgrade_top=Decimal("0.01"),
        flush_after=0.5,
        women_min=3,
    )


def test_shares_are_exact() -> None:
    env = {"TRAINING_ASSETS_TRANSACTIONS_UPGRADE_TOP": "0.1"}
    assert TransactionSettings.from_env(env).limits == TransactionSettings().limits


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"chunk_rows": 0}, "chunk_rows is 0; expected at least 1"),
        ({"upgrade_top": Decimal("1.1")}, "expected a share from 0 to 1"),
        ({"emit": "often"}, "emit is 'often'; expected 'once' or 'changes'"),
        ({"file_rows": 0}, "Set TRAINING_ASSETS_TRANSACTIONS_FILE_ROWS"),
        ({"flush_after": -1}, "flush_after is -1; expected at least 0"),
    ],
)
def test_numbers_that_cannot_work_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TransactionSettings(**values)


@pytest.mark.parametrize(
    ("name", "text"),
    [("CHUNK_ROWS", "many"), ("UPGRADE_TOP", "1e-1"), ("CHILD_MAX_AVERAGE", "NaN")],
)
def test_text_that_is_no_number_is_an_error_that_names_the_variable(name: str, text: str) -> None:
    variable = f"TRAINING_ASSETS_TRANSACTIONS_{name}"
    with pytest.raises(SettingsError, match=f"{variable} is '{text}'; expected a number"):
        TransactionSettings.from_env({variable: text})
