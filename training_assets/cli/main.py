"""The group of all commands."""

from typing import Any

import click

from training_assets.cli.lake import migrate, restore, sql, vacuum, versions
from training_assets.cli.quarantine import quarantine
from training_assets.cli.retention import retention
from training_assets.cli.run import check, run
from training_assets.cli.sample import example, generate
from training_assets.cli.samples import export, split
from training_assets.cli.staleness import outdated, rebuild
from training_assets.cli.transactions import transactions
from training_assets.cli.ui import ui
from training_assets.errors import TrainingAssetsError
from training_assets.sources import printable


class _Commands(click.Group):
    """Errors raised on purpose end in their one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TrainingAssetsError as error:
            raise click.ClickException(printable(str(error))) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="training-assets")
def main() -> None:
    """Point-in-time-correct training input for sequence recommenders, one day at a time.

    The lake is data/lake, or what TRAINING_ASSETS_LAKE says.
    """


_COMMANDS = (
    generate,
    example,
    run,
    check,
    outdated,
    rebuild,
    quarantine,
    export,
    split,
    versions,
    restore,
    vacuum,
    retention,
    migrate,
    sql,
    transactions,
    ui,
)
for _command in _COMMANDS:
    main.add_command(_command)
