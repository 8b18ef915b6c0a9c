"""Settings that contradict each other are refused by name."""

from typing import Any

import pytest

from training_assets.errors import SettingsError
from training_assets.lake import Lake
from training_assets.retention import RetentionSettings, lifecycle_rules
from training_assets.settings import Settings
from training_assets.tables import SPECS


def test_the_defaults_are_consistent() -> None:
    RetentionSettings.from_env({}).require_consistent(Settings(), SPECS)


@pytest.mark.parametrize(
    ("kept", "settings", "names"),
    [
        ({"keep_raw_days": 729}, {}, ("LOOKBACK", "keep_raw_days 729", "KEEP_FEATURES_DAYS")),
        ({}, {"lookback_days": 366}, ("lookback_days 366", "KEEP_RAW_DAYS")),
        ({}, {"lookback_days": None}, ("lookback_days none (unlimited)", "KEEP_RAW_DAYS")),
        (
            {"keep_training_days": 366},
            {},
            ("keep_training_days is 366", "KEEP_FEATURES_DAYS", "customer_history"),
        ),
    ],
)
def test_what_is_judged_by_older_days_needs_them(
    kept: dict[str, Any], settings: dict[str, Any], names: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as caught:
        RetentionSettings(**kept).require_consistent(Settings(**settings), SPECS)
    assert all(name.lower() in str(caught.value).lower() for name in names), str(caught.value)


def test_cold_comes_before_gone() -> None:
    with pytest.raises(SettingsError, match="cold_after_days is 731 and keep_raw_days 730"):
        RetentionSettings(cold_after_days=731)


@pytest.mark.parametrize("value", ["0", "-3", "x", "1.5"])
def test_a_value_that_is_no_number_of_days_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="KEEP_RAW_DAYS"):
        RetentionSettings.from_env({"TRAINING_ASSETS_KEEP_RAW_DAYS": value})


def test_rules_of_object_stores_are_only_under_raw() -> None:
    kept = RetentionSettings(cold_after_days=60)
    (rule,) = lifecycle_rules(Lake.at("s3://shop/a/lake"), kept)["Rules"]
    assert rule["Filter"] == {"Prefix": "a/lake/raw/"}
    assert rule["Transitions"] == [{"Days": 60, "StorageClass": "GLACIER_IR"}]
    (google,) = lifecycle_rules(Lake.at("gs://shop/lake"), kept)["rule"]
    assert google["condition"] == {"age": 60, "matchesPrefix": ["lake/raw/"]}
    with pytest.raises(SettingsError, match="is a local folder"):
        lifecycle_rules(Lake.at("/tmp/lake"), kept)
