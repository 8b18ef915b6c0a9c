"""What the README shows works: its Python runs, its commands, variables and files exist."""

import os
import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from training_assets import settings
from training_assets.cli import main
from training_assets.sample.generate import SampleSpec, generate
from training_assets.service import settings as service_settings
from training_assets.settings import Settings
from training_assets_tests.support.commands import invoke

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"TRAINING_ASSETS_[A-Z_]*[A-Z]\b")
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
    if line.strip()
]


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [words[1] for words in map(str.split, COMMANDS) if words[0] == "make"]
    assert {"run", "test", "ui"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("line", [c for c in COMMANDS if "training-assets " in c])
def test_commands_are_understood(line: str) -> None:
    words = shlex.split(line)
    words = words[words.index("training-assets") + 1 :]
    command = main.commands[words[0]]
    command.make_context(words[0], words[1:], resilient_parsing=False)


def test_settings_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    shown = set(_VARIABLE.findall(page)) - {"TRAINING_ASSETS_KAFKA_SASL_USERNAME"}
    code = "\n".join(path.read_text() for path in (ROOT / "training_assets").rglob("*.py"))
    service = re.findall(r"^\| ([A-Z_]+) +\|", service_settings.__doc__ or "", re.MULTILINE)
    names = (*service, "ENGINE", "MASTER", "MEMORY", "REMOTE")
    known = {*_VARIABLE.findall(code), *(f"TRAINING_ASSETS_{name}" for name in names)}
    assert shown == known
    assert set(_VARIABLE.findall(README)) <= shown
    assert set(_VARIABLE.findall(settings.__doc__ or "")) <= shown
    assert Settings.from_env({}) == Settings()


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        found = (ROOT / target).exists() or (ROOT / "training_assets" / target).exists()
        assert target.startswith("http") or found, target


def test_python_runs_on_a_built_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"customers": 40, "items": 30, "interactions": 400, "days": 5}
    generate(tmp_path / "data" / "lake", SampleSpec(end_date=date(2026, 11, 19), **sizes))
    for name in list(os.environ):
        if name.startswith(("TRAINING", "SPARK", "DAGSTER")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    built = invoke("run")
    assert built.exit_code == 0, built.output
    python = "\n".join(block for language, block in BLOCKS if language == "python")
    done = subprocess.run(
        [sys.executable, "-c", python], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "impression_item_id" in done.stdout
