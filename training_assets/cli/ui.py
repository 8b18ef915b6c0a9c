"""The command that serves Dagster's UI."""

import os
import sys
from pathlib import Path

import click

from training_assets.cli.instance import instance_home


@click.command()
@click.option("--port", default=3000, show_default=True)
def ui(port: int) -> None:
    """Serve the Dagster UI on the same instance, with its daemon for backfills and schedules."""
    with instance_home():
        dagster = Path(sys.executable).with_name("dagster")
        has_workspace = Path("workspace.yaml").exists()
        where = ["-w", "workspace.yaml"] if has_workspace else ["-m", "training_assets.definitions"]
        # Replaces this process, so that Ctrl-C and signals reach the server itself.
        os.execv(dagster, [str(dagster), "dev", *where, "-p", str(port)])
