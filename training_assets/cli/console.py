"""What the commands share: the terminal, how a day is written, and the lake."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape

from training_assets.lake import Lake
from training_assets.settings import Settings
from training_assets.sources import printable

DAY: Final = click.DateTime(["%Y-%m-%d"])
console: Final = Console(highlight=False)


def as_text(cell: Any) -> str:
    # Neither markup nor control characters of the data may do anything to the terminal.
    return escape(printable(str(cell)))


def open_lake() -> Lake:
    return Lake.at(Settings.from_env().lake)


def yesterday() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)


def progress() -> Callable[[str], None]:
    return lambda message: console.print(message, markup=False, soft_wrap=True)
