"""The group of all commands, and what all of them have: errors as a sentence, the log format."""

import json
from typing import Any, get_args

import click

from training_assets.cli.console import LogFormat, console
from training_assets.cli.failures import failures
from training_assets.cli.init import init, read_project_variables
from training_assets.cli.lake import migrate, restore, sql, vacuum, versions
from training_assets.cli.metrics import metrics
from training_assets.cli.online import online
from training_assets.cli.quarantine import quarantine
from training_assets.cli.report import report
from training_assets.cli.retention import retention
from training_assets.cli.run import check, run
from training_assets.cli.sample import example, generate
from training_assets.cli.samples import export, split
from training_assets.cli.service import keys, serve
from training_assets.cli.service_data import consume, replay, republish, tenants
from training_assets.cli.sources import sources
from training_assets.cli.staleness import outdated, rebuild
from training_assets.cli.transactions import transactions
from training_assets.cli.ui import ui
from training_assets.cli.validate import validate
from training_assets.cli.weekly import weekly
from training_assets.errors import TrainingAssetsError
from training_assets.sources import printable


class _Commands(click.Group):
    """Errors raised on purpose end in their one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            read_project_variables()
            return super().invoke(ctx)
        except TrainingAssetsError as error:
            raise _Told(printable(str(error))) from error


class _Told(click.ClickException):
    def show(self, file: Any = None) -> None:
        if console.log_format == "json":
            click.echo(json.dumps({"level": "error", "message": self.message}), err=True)
        else:
            super().show(file)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="training-assets")
def main() -> None:
    """Point-in-time-correct training input for sequence recommenders, one day at a time.

    The lake is data/lake, or what TRAINING_ASSETS_LAKE says.
    """


_COMMANDS = (
    init,
    generate,
    example,
    sources,
    run,
    check,
    failures,
    outdated,
    rebuild,
    quarantine,
    export,
    split,
    online,
    validate,
    versions,
    restore,
    vacuum,
    retention,
    report,
    metrics,
    weekly,
    migrate,
    sql,
    transactions,
    serve,
    keys,
    consume,
    replay,
    republish,
    tenants,
    ui,
)
for _command in _COMMANDS:
    main.add_command(_command)


def _set_format(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        console.log_format = value  # type: ignore[assignment]


def _with_log_format(command: click.Command) -> None:
    """Before the command's name or after it: both are tried."""
    option = click.Option(
        ["--log-format"],
        type=click.Choice(get_args(LogFormat)),
        expose_value=False,
        callback=_set_format,
        help="Lines for people, or a JSON object a line.",
    )
    command.params.append(option)
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        _with_log_format(each)


_with_log_format(main)
