"""Where a lake may lie: any folder, and the URLs of object stores; and what is refused, and how."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from training_assets.errors import LakeFormatError, SettingsError
from training_assets.lake import PUBLISHED, Lake, LocalStore, RemoteStore, open_store
from training_assets.lake.base import first_line
from training_assets_tests.support.published_days import (
    DAYS,
    look,
    numbers_of,
    publish_days,
    rows_by_delta,
)
from training_assets_tests.support.s3 import S3Place


def test_a_path_is_made_absolute_and_its_tilde_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert open_store("~/lake").url == str(tmp_path / "lake")
    assert open_store("lake").url == str(tmp_path / "lake")
    assert open_store(Path("lake/x/..")).url == str(tmp_path / "lake")
    assert open_store(f"file://{tmp_path}/a%20lake").url == str(tmp_path / "a lake")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://shop/lake/", "s3://shop/lake"),
        ("S3://shop/lake", "s3://shop/lake"),
        ("s3://shop", "s3://shop"),
        ("s3a://shop/lake", "s3://shop/lake"),
        ("gs://shop/a/b=1", "gs://shop/a/b=1"),
        ("az://container/lake", "az://container/lake"),
        ("abfss://container@account.dfs.core.windows.net/x", None),
    ],
)
def test_a_url_is_a_remote_store(url: str, expected: str | None) -> None:
    store = open_store(url)
    assert isinstance(store, RemoteStore)
    assert store.url == (expected or url)
    assert not store.is_local
    assert store.uri("a/b") == f"{store.url}/a/b"
    assert Lake.at(url).raw.url == f"{store.url}/raw"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("hdfs://shop/lake", "the scheme hdfs:// is unknown"),
        ("https://shop/lake", "the scheme https:// is unknown"),
        ("s3:/shop/lake", "s3: is not followed by //"),
        ("s3:shop/lake", "s3: is not followed by //"),
        ("s3:///lake", "names no bucket"),
        ("s3://", "names no bucket"),
        ("s3://shop//lake", "empty or dotted name"),
        ("s3://shop/../lake", "empty or dotted name"),
        ("s3://shop/a b", "the character ' '"),
        ("s3://shop/a#b", "the character '#'"),
        ("s3://shop/a%41", "the character '%'"),
        ("s3://shop/käse", "the character 'ä'"),
        ("~nobody-has-this-name/lake", "begins with a home that is not known"),
        ("", "the location is empty"),
        (" ", "the location is empty"),
    ],
)
def test_what_is_no_place_for_a_lake_is_a_settings_error(location: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        open_store(location)


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:hush-hush@shop/lake",
        "s3://hush-hush@shop/lake",
        "s3://shop/lake?secret=hush-hush",
        "az://shop/lake?sig=hush-hush",
        "abfss://container:hush-hush@account.dfs.core.windows.net/x",
        "hdfs://user:hush-hush@host/lake",
        "s3://shop/a b/?hush-hush",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        open_store(url)
    assert "hush" not in str(raised.value)
    assert "AKIA" not in str(raised.value)


def test_what_a_library_says_is_told_in_one_line_without_secrets() -> None:
    error = OSError(
        "GET http://user:hush@host/lake?sig=hush&x=1 failed (https://a/b?hush)\n<Error>hush</Error>"
    )
    assert first_line(error) == "GET http://host/lake failed (https://a/b)"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(ValueError("x" * 5000))) == 300


def test_a_store_prints_its_place_and_nothing_else() -> None:
    assert repr(open_store("s3://shop/lake")) == "open_store('s3://shop/lake')"


_NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 100)


@given(name=_NAMES)
@example(name="lake[1]")
@example(name="a lake")
@example(name="50%")
@example(name="*?{}~$&'\"#;:@+=,!()|<>^`")
@example(name="übergröße 数据")
@example(name="%4")
@example(name="%41")
@example(name="back\\slash")
@example(name="line\nbreak")
@example(name=" blanks ")
@example(name="...")
def test_a_folder_of_any_name_holds_a_lake_or_is_refused_by_name(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("lake") / name / "table")
    if re.search(r"%[0-9a-fA-F]{2}|[\\\x00-\x1f\x7f]", name):
        with pytest.raises(LakeFormatError, match="reads as another character"):
            look(store)
        return
    outcome = publish_days(store, DAYS[:1])
    assert outcome == {DAYS[0]: PUBLISHED}
    assert numbers_of(look(store), DAYS[0]) == [1] * 6
    assert rows_by_delta(store) == {DAYS[0]: 6}
    assert store.stat(look(store).files_of(DAYS[0])[0].name) is not None


def test_a_url_with_any_character_that_is_taken_holds_a_lake(s3_server: S3Place) -> None:
    store = open_store(f"{s3_server.new_url()}/a+b=c~d,e;f:g@h*i!j$k&l'm(n)o-p_q.r")
    assert publish_days(store, DAYS[:1]) == {DAYS[0]: PUBLISHED}
    assert numbers_of(look(store), DAYS[0]) == [1] * 6
    assert rows_by_delta(store) == {DAYS[0]: 6}
