"""Commands in this process, without the seconds that a process takes to begin."""

import sys

from click.testing import CliRunner, Result

from training_assets.cli import main
from training_assets.cli.console import console

_DEFINITIONS = "training_assets.definitions"
_LOG_WIDTH = 160


def invoke(*arguments: str, **variables: str) -> Result:
    """Run a command with these variables beside those of the environment; it ends its engine."""
    # These take their settings from the environment when they are loaded.
    loaded = sys.modules.pop(_DEFINITIONS, None)
    # That of a log, wherever the tests run.
    width, console.width = console.width, _LOG_WIDTH
    try:
        return CliRunner().invoke(main, arguments, env=variables)
    finally:
        if loaded:
            sys.modules[_DEFINITIONS] = loaded
        else:
            sys.modules.pop(_DEFINITIONS, None)
        console.width = width
        # The form of what is said is that of the process.
        console.log_format = "plain"
