"""The command that makes a project of one's own, and what a command reads of such a project."""

import os
from importlib import resources
from pathlib import Path
from typing import Final

import click

from training_assets.cli.console import say
from training_assets.cli.instance_config import INSTANCE_YAML
from training_assets.errors import SettingsError

_TEMPLATES: Final = resources.files("training_assets.cli") / "project"
# A wheel is made of files that are not hidden.
_NAMES: Final = {"env": ".env", "gitignore": ".gitignore"}
# Of a .env file, what the platform reads; secrets of a store stay with the environment.
_READ: Final = ("TRAINING_ASSETS_", "DAGSTER_HOME")


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def init(directory: Path) -> None:
    """Make a project of your own in DIRECTORY.

    It holds sources.toml (your raw data), own_assets.py (an asset that reads training_input),
    workspace.yaml, dagster.yaml, a Makefile and .env.
    """
    files = {
        _NAMES.get(template.name, template.name): template.read_text("utf-8")
        for template in _TEMPLATES.iterdir()
        if template.is_file()
    }
    files["dagster.yaml"] = INSTANCE_YAML
    if taken := sorted(name for name in files if (directory / name).exists()):
        raise SettingsError(
            f"init: {directory} holds {', '.join(taken)} already; expected a new or an empty "
            "folder. Nothing was written. Choose another folder, or move them away."
        )
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in sorted(files.items()):
        (directory / name).write_text(text, "utf-8")
        say(f"{directory / name}")
    say(f"Next: cd {directory} && training-assets run")


def read_project_variables(folder: Path = Path()) -> None:
    """Variables of the platform in ``.env``, unless they are set."""
    file = folder / ".env"
    if not file.is_file():
        return
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.removeprefix("export ").partition("=")
        if not equals:
            raise SettingsError(
                f"{file}: line {number} is {text!r}; expected NAME=value. Correct it."
            )
        if name.strip().startswith(_READ):
            os.environ.setdefault(name.strip(), value.strip().strip("'\""))
