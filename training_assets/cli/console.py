"""What the commands share: the terminal, how a day is written, and the lake.

All that a command says goes through ``console``. For machines (``--log-format json``) it says the
same as one JSON object a line: a sentence as ``message``, a row of a table under its headings.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from training_assets.lake import Lake
from training_assets.settings import Settings
from training_assets.sources import printable

LogFormat = Literal["plain", "json"]

DAY: Final = click.DateTime(["%Y-%m-%d"])
# Lines of a log are not wrapped; a terminal has a width of its own.
_LOG_WIDTH: Final = 160
_NUMBER: Final = re.compile(r"-?[\d,]+(\.\d+)?")


class CommandConsole(Console):
    """A terminal, a plain log, or JSON lines."""

    log_format: LogFormat = "plain"

    def print(self, *objects: Any, **options: Any) -> None:
        if self.log_format == "plain":
            super().print(*objects, **options)
            return
        for each in objects:
            if isinstance(each, Grid):
                for row in _rows(each):
                    self._write(row)
            else:
                is_markup = options.get("markup", True) and isinstance(each, str)
                text = Text.from_markup(each).plain if is_markup else str(each)
                self._write({"message": text})

    @property
    def has_bar(self) -> bool:
        """Whether a progress bar can be drawn and would be seen."""
        return self.log_format == "plain" and self.is_terminal and not self.is_dumb_terminal

    def _write(self, values: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "level": "info"} | values, ensure_ascii=False)
        print(line, file=self.file, flush=True)


def _rows(grid: Grid) -> Iterator[dict[str, Any]]:
    names = [_plain(column.header).strip().replace(" ", "_") for column in grid.columns]
    for cells in zip(*(column.cells for column in grid.columns), strict=True):
        yield {name: _value(_plain(cell)) for name, cell in zip(names, cells, strict=True)}


def _plain(cell: Any) -> str:
    return Text.from_markup(cell).plain if isinstance(cell, str) else str(cell)


def _value(text: str) -> Any:
    if not _NUMBER.fullmatch(text):
        return text
    digits = text.replace(",", "")
    try:
        return float(digits) if "." in digits else int(digits)
    except ValueError:
        return text


def _console() -> CommandConsole:
    is_given = sys.stdout.isatty() or "COLUMNS" in os.environ
    width = None if is_given else _LOG_WIDTH
    return CommandConsole(highlight=False, width=width)


console: Final = _console()


def as_text(cell: Any) -> str:
    # Neither markup nor control characters of the data may do anything to the terminal.
    return escape(printable(str(cell)))


def say(text: str, style: str | None = None) -> None:
    """One line, whatever is in it, never wrapped or taken for markup."""
    console.print(printable(text), style=style, markup=False, soft_wrap=True)


def open_lake() -> Lake:
    return Lake.at(Settings.from_env().lake)


def yesterday() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)
