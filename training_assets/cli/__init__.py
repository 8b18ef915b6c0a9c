"""The command line: sample data, runs, checks, what is out of date, the quarantine, the UI.

Runs are Dagster runs in the same persistent instance that the UI shows. They happen in this
process, so that one command costs one engine start. One module per family of commands; they print
and leave the work to other rooms. May import everything below it, and Dagster.

Begin with ``main.py``.
"""

from training_assets.cli.imports import uncollected

with uncollected():
    from training_assets.cli.main import main

__all__ = ["main"]
