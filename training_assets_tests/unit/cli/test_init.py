"""A project of one's own: what init writes, that it loads, and what commands read of it."""

import os
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner

from training_assets.cli import main
from training_assets.cli.init import read_project_variables
from training_assets.cli.instance_config import write_instance_config
from training_assets.errors import SettingsError

FILES = {
    ".env",
    ".gitignore",
    "Makefile",
    "README.md",
    "dagster.yaml",
    "first_tensor.py",
    "own_assets.py",
    "sources.toml",
    "workspace.yaml",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("TRAINING_ASSETS", "DAGSTER"))]:
        monkeypatch.delenv(name)
    done = CliRunner().invoke(main, ["init", str(tmp_path / "shop")])
    assert done.exit_code == 0, done.output
    return tmp_path / "shop"


def test_all_files_are_there_and_can_be_read(project: Path) -> None:
    assert {path.name for path in project.iterdir()} == FILES
    assert tomllib.loads((project / "sources.toml").read_text()) == {}
    names = [
        next(iter(entry.values()))["location_name"]
        for entry in yaml.safe_load((project / "workspace.yaml").read_text())["load_from"]
    ]
    assert names == ["training_assets", "own_assets"]


def test_every_comment_of_the_sources_is_a_declaration_once_its_mark_is_gone(
    project: Path,
) -> None:
    lines = (project / "sources.toml").read_text().splitlines()
    marks = ("# [", "# path", "# format", "# columns", "# time_zone", "# delimiter", "# header")
    marks += ("# null", "# absent", "# kind")
    text = "\n".join(line[2:] for line in lines if line.startswith(marks))
    declared = tomllib.loads(text)
    assert set(declared) == {"clicks", "add_to_carts", "likes"}
    assert declared["clicks"]["csv"]["delimiter"] == ";"
    assert declared["likes"]["kind"] == "like"


def test_a_folder_that_holds_one_of_the_files_is_left_as_it_is(project: Path) -> None:
    (project / "own_assets.py").write_text("mine")
    before = {path.name: path.read_text() for path in project.iterdir()}
    done = CliRunner().invoke(main, ["init", str(project)])
    assert done.exit_code == 1
    assert "own_assets.py" in done.output
    assert {path.name: path.read_text() for path in project.iterdir()} == before


def test_own_asset_depends_on_training_input_of_the_same_day(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    (project / "data/lake/raw/clicks/dt=2026-03-01").mkdir(parents=True)
    scope: dict[str, object] = {"__name__": "own_assets"}
    exec(compile((project / "own_assets.py").read_text(), "own_assets.py", "exec"), scope)
    defs = scope["defs"]
    assert isinstance(defs, dg.Definitions)
    node = defs.resolve_asset_graph().get(dg.AssetKey("order_share"))
    assert node.parent_keys == {dg.AssetKey("training_input")}
    assert node.partitions_def is not None
    assert node.partitions_def.get_first_partition_key() == "2026-03-01"


def test_variables_of_the_project_give_way_to_those_that_are_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", "given")
    monkeypatch.delenv("TRAINING_ASSETS_SOURCES", raising=False)
    (tmp_path / ".env").write_text(
        "# a comment\n\nTRAINING_ASSETS_LAKE=data/lake\nexport TRAINING_ASSETS_SOURCES='own.toml'\n"
        "SECRET_OF_ANOTHER_PROGRAM=x\n"
    )
    try:
        read_project_variables(tmp_path)
        assert os.environ["TRAINING_ASSETS_LAKE"] == "given"
        assert os.environ["TRAINING_ASSETS_SOURCES"] == "own.toml"
        assert "SECRET_OF_ANOTHER_PROGRAM" not in os.environ
    finally:
        os.environ.pop("TRAINING_ASSETS_SOURCES", None)
    (tmp_path / ".env").write_text("\nnonsense\n")
    with pytest.raises(SettingsError, match="line 2 is 'nonsense'; expected NAME=value"):
        read_project_variables(tmp_path)


def test_the_instance_has_the_configuration_of_the_project_also_after_a_change(
    project: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for text in (None, "telemetry:\n  enabled: false\n"):
        if text:
            (project / "dagster.yaml").write_text(text)
        write_instance_config(home, project)
        assert (home / "dagster.yaml").read_text() == (project / "dagster.yaml").read_text()
