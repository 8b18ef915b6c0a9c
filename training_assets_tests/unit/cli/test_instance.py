"""The instance that is made while something else is done."""

from pathlib import Path

import pytest

from training_assets.cli.instance import instance_made_meanwhile, open_instance


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(tmp_path / "lake"))
    return home


def test_it_is_there_after_the_block(home: Path) -> None:
    with instance_made_meanwhile():
        pass
    assert list(home.rglob("runs.db"))
    with open_instance() as (instance, opened):
        assert opened == home
        assert instance.get_runs_count() == 0


def test_what_is_wrong_with_it_is_told_where_it_is_used(home: Path) -> None:
    home.write_text("no folder")
    with instance_made_meanwhile():
        pass
    with pytest.raises(FileExistsError, match="home"), open_instance():
        pass


def test_what_the_block_raises_is_raised(home: Path) -> None:
    with pytest.raises(ValueError, match="of the block"), instance_made_meanwhile():
        raise ValueError("of the block")
    assert list(home.rglob("runs.db"))
