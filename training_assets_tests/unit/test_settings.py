"""What each knob may be, where it is read from, and how a wrong value is named."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training_assets.errors import SettingsError
from training_assets.locations import SCHEMES, canonical
from training_assets.settings import Settings, validate_window

NO_WHOLE_NUMBERS = [1.5, 7.0, float("nan"), float("inf"), np.float64(7), "7", True, np.True_]


# Windows.


@pytest.mark.parametrize("value", [*NO_WHOLE_NUMBERS, None])
def test_history_length_is_a_whole_number(value: Any) -> None:
    with pytest.raises(SettingsError, match=r"here: history_length is .* expected a whole number"):
        validate_window("here", value, 7)


@pytest.mark.parametrize("value", NO_WHOLE_NUMBERS)
def test_lookback_days_are_a_whole_number_or_none(value: Any) -> None:
    with pytest.raises(SettingsError, match="expected a whole number of at least 1, or None"):
        validate_window("here", 7, value)


@pytest.mark.parametrize("value", [0, -1, -(10**30), np.int8(0)])
def test_windows_begin_at_one(value: Any) -> None:
    with pytest.raises(SettingsError, match=f"history_length is {value}; expected at least 1"):
        validate_window("here", value, 7)
    with pytest.raises(SettingsError, match=f"lookback_days is {value}; expected at least 1, or"):
        validate_window("here", 7, value)


def test_history_length_ends_where_offsets_of_lists_do() -> None:
    assert validate_window("here", 2**31 - 1, 10**30) == (2**31 - 1, 10**30)
    with pytest.raises(SettingsError, match=r"is 2147483648; expected at most 2147483647\. Lower"):
        validate_window("here", 2**31, None)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16])
def test_integers_of_numpy_become_those_of_python(kind: Any) -> None:
    settings = Settings(history_length=kind(5), lookback_days=kind(7), check_customers=kind(9))
    found = (settings.history_length, settings.lookback_days, settings.check_customers)
    assert found == (5, 7, 9)
    assert {type(value) for value in found} == {int}


# The lake.


def test_local_lake_is_absolute_and_a_home_is_expanded(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert canonical("~/lake") == f"{tmp_path}/lake"
    assert canonical("data/../lake/") == f"{tmp_path}/lake"
    assert canonical(Path("lake[1]/ü b")) == f"{tmp_path}/lake[1]/ü b"
    assert canonical("a~/~") == f"{tmp_path}/a~/~"
    assert canonical("file:///shop/lake%201") == "/shop/lake 1"
    assert Settings(lake="lake") == Settings(lake=str(tmp_path / "lake"))
    assert Settings.from_env({"TRAINING_ASSETS_LAKE": "~/lake"}).lake == f"{tmp_path}/lake"


def test_default_lake_is_below_the_working_directory() -> None:
    assert Settings().lake == os.path.join(os.getcwd(), "data", "lake")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_store_is_left_as_it_is_written(scheme: str) -> None:
    assert Settings(lake=f"{scheme}://shop/a/lake//").lake == f"{scheme}://shop/a/lake"


def test_the_name_of_hadoop_is_s3() -> None:
    assert Settings(lake="s3a://shop/lake").lake == "s3://shop/lake"


def test_account_of_an_azure_url_is_no_secret() -> None:
    url = "abfss://container@account.dfs.core.windows.net/lake"
    assert Settings(lake=url).lake == url


@pytest.mark.parametrize("url", ["s4://shop/lake", "http://shop/lake", "s3x://shop/lake"])
def test_unknown_scheme_is_refused(url: str) -> None:
    scheme = url.partition("://")[0]
    with pytest.raises(SettingsError, match=rf"scheme {scheme}:// is unknown; expected a local"):
        Settings(lake=url)


@pytest.mark.parametrize("url", ["s3://key:hunter2@shop/lake", "az://shop/lake?sig=hunter2"])
def test_url_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError, match="carries credentials or options") as caught:
        Settings.from_env({"TRAINING_ASSETS_LAKE": url})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://", "s3:///lake"])
def test_url_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="names no bucket; expected s3://bucket/path"):
        Settings(lake=url)


def test_home_of_nobody_is_refused() -> None:
    with pytest.raises(SettingsError, match="~nobody-of-that-name/lake begins with a home"):
        Settings(lake="~nobody-of-that-name/lake")


# The others.


def test_every_knob_is_read_from_its_variable() -> None:
    prefix = "TRAINING_ASSETS_"
    env = {
        "INCOMPLETE_WINDOW": "warn",
        "MISSING_RAW": "empty",
        "LIST_FORMAT": "parquet",
        "KEEP_VERSIONS_DAYS": "0",
        "MIN_VALID_SHARE": "0.5",
        "CHECK_CUSTOMERS": "5",
        "LOOKBACK_DAYS": "None",
        "ACTION_TYPES": "5, 1,1",
        "BOTS": "keep",
    }
    settings = Settings.from_env({prefix + name: value for name, value in env.items()})
    assert settings == Settings(
        incomplete_window="warn",
        missing_raw="empty",
        list_format="parquet",
        keep_versions_days=0,
        min_valid_share=0.5,
        check_customers=5,
        lookback_days=None,
        action_types=(1, 5),
        bots="keep",
    )


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("INCOMPLETE_WINDOW", "ignore", "incomplete_window is 'ignore'; expected 'error' or 'warn"),
        ("MISSING_RAW", "skip", "missing_raw is 'skip'; expected 'error' or 'empty'"),
        ("LIST_FORMAT", "Lists", "list_format is 'Lists'; expected 'lists' or 'parquet'"),
        ("KEEP_VERSIONS_DAYS", "-1", "keep_versions_days is -1; expected at least 0"),
        ("KEEP_VERSIONS_DAYS", "99999", "keep_versions_days is 99999; expected at most 36500"),
        ("KEEP_VERSIONS_DAYS", "7d", "TRAINING_ASSETS_KEEP_VERSIONS_DAYS is '7d'; expected a whol"),
        ("MIN_VALID_SHARE", "1.5", "min_valid_share is 1.5; expected 0 to 1"),
        ("MIN_VALID_SHARE", "nan", "min_valid_share is nan; expected 0 to 1"),
        ("MIN_VALID_SHARE", "90%", "TRAINING_ASSETS_MIN_VALID_SHARE is '90%'; expected a number"),
        ("CHECK_CUSTOMERS", "0", "check_customers is 0; expected at least 1"),
        ("ACTION_TYPES", "0,1", r"action_types is 0; expected at least 1"),
        ("ACTION_TYPES", "1,6", r"action_types is 1,6; expected some of 1 click, 2 add_to_cart"),
        ("ACTION_TYPES", "click", "TRAINING_ASSETS_ACTION_TYPES is 'click'; expected a whole"),
        ("BOTS", "drop", "bots is 'drop'; expected 'leave_out' or 'keep'"),
        ("LOOKBACK_DAYS", "1.5", "TRAINING_ASSETS_LOOKBACK_DAYS is '1.5'; expected a whole number"),
        ("START_DATE", "1.5.2024", "TRAINING_ASSETS_START_DATE is '1.5.2024'; expected a date"),
    ],
)
def test_wrong_value_is_named_with_what_was_expected(variable, value, message) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.from_env({f"TRAINING_ASSETS_{variable}": value})
