"""Which URLs name a store, that secrets are not shown, and what is said when a store is away."""

import socket
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from training_assets.errors import SettingsError, StoreError
from training_assets.online import OnlineSettings, open_store
from training_assets_tests.support.online_cases import ROWS, load


@pytest.mark.parametrize("form", ["sqlite:{}", "sqlite://{}"])
def test_sqlite_names_a_folder(tmp_path: Path, form: str) -> None:
    with open_store(form.format(tmp_path / "here")) as store:
        load(store)
        assert store.url == f"sqlite:{tmp_path / 'here'}"
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"users"}


def test_by_default_it_lies_in_the_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(tmp_path))
    monkeypatch.delenv("TRAINING_ASSETS_ONLINE", raising=False)
    for url in (None, "", "sqlite:"):
        assert open_store(url).url == f"sqlite:{tmp_path}/online"
    monkeypatch.setenv("TRAINING_ASSETS_ONLINE", f"sqlite:{tmp_path / 'other'}")
    assert open_store().url == f"sqlite:{tmp_path / 'other'}"


def test_nothing_is_made_before_a_load(tmp_path: Path) -> None:
    open_store(f"sqlite:{tmp_path / 'here'}").users([1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["mysql://host/db", "nothing", "dynamodb:///prefix", "redis://host/0?prefix=a b"]
)
def test_an_unusable_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="expected"):
        open_store(url)


def test_a_password_is_not_shown(valkey_url: str) -> None:
    secret = urlsplit(valkey_url).password or ""
    store = open_store(f"{valkey_url}?prefix=x")
    assert secret not in repr(store)
    wrong = open_store(valkey_url.replace(secret, "guess" + secret[:3]))
    with pytest.raises(StoreError) as caught:
        wrong.users([1])
    assert "guess" not in str(caught.value)
    assert secret not in repr(OnlineSettings(valkey_url))


def test_a_server_that_is_away_is_said_to_be(unused_port: int) -> None:
    with pytest.raises(StoreError, match="did not do what it was asked"):
        open_store(f"redis://127.0.0.1:{unused_port}/0").users([1])


def test_a_damaged_file_is_said_to_be(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path}")
    version = load(store).version
    path = tmp_path / "users" / f"{version.name}.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="SQLite cannot do what it was asked"):
        open_store(f"sqlite:{tmp_path}").users([ROWS[0]["customer_id"]])


def test_settings_name_the_variable_that_is_wrong() -> None:
    env = {"TRAINING_ASSETS_ONLINE_STALE_HOURS": "12", "TRAINING_ASSETS_ONLINE_EXPIRES_HOURS": "24"}
    settings = OnlineSettings.from_env(env, lake="/lake")
    assert (settings.stale_after, settings.expires_after) == (
        timedelta(hours=12),
        timedelta(hours=24),
    )
    with pytest.raises(SettingsError, match="STALE_HOURS is 'soon'"):
        OnlineSettings.from_env({"TRAINING_ASSETS_ONLINE_STALE_HOURS": "soon"}, lake="/lake")
    with pytest.raises(SettingsError, match="EXPIRES_HOURS"):
        OnlineSettings.from_env({"TRAINING_ASSETS_ONLINE_EXPIRES_HOURS": "1"}, lake="/lake")
    assert OnlineSettings.from_env({}, lake="s3://shop/lake").url == "sqlite:data/online"


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
