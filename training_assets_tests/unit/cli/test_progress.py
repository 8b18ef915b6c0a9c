"""A bar where there is a terminal, plain lines where there is none, JSON for machines."""

import io
import json
import os
import pty
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from rich.table import Table as Grid

from training_assets.cli.console import CommandConsole

_BUILD = """
import time
from datetime import date
from training_assets.cli.console import console
from training_assets.cli.progress import BuildProgress, told
from training_assets.pipeline import DayReport
from training_assets.pipeline.watching import current_watcher

progress = BuildProgress(4)
with progress.shown():
    watcher = current_watcher()
    watcher.begins({"clicks": 4})
    watcher.step("clicks", "checks")
    time.sleep(0.3)
    console.print("a line of its own")
    for number in range(1, 5):
        day = date(2026, 3, number)
        watcher.settled(DayReport("clicks", day, "it is gone" if number == 2 else None))
with told() as tell:
    tell("generated 9 of 90 days, up to 2026-03-09")
    time.sleep(0.3)
console.print(str({str(day): reason for day, reason in progress.reasons.items()}))
"""


def _at_a_terminal(code: str) -> str:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    ) as process:
        os.close(follower)
        output = b""
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:
                break
            if not data:
                break
            output += data
    os.close(leader)
    assert process.returncode == 0, output.decode()
    return output.decode()


def test_a_terminal_shows_days_done_and_seconds_left() -> None:
    printed = _at_a_terminal(_BUILD)
    assert "clicks: checks" in printed
    assert "0 of 4 table days" in printed
    assert "s left" in printed
    assert "9 of 90 days" in printed
    assert "a line of its own" in printed
    assert "{'2026-03-02': 'it is gone'}" in printed


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    exec(_BUILD, {})
    assert capsys.readouterr().out.splitlines() == [
        "a line of its own",
        "generated 9 of 90 days, up to 2026-03-09",
        "{'2026-03-02': 'it is gone'}",
    ]


@pytest.fixture
def machine() -> CommandConsole:
    console = CommandConsole(file=io.StringIO(), highlight=False)
    console.log_format = "json"
    return console


def _lines(console: CommandConsole) -> list[dict[str, object]]:
    assert isinstance(console.file, io.StringIO)
    return [json.loads(line) for line in console.file.getvalue().splitlines()]


def test_json_has_a_line_per_row_with_numbers_as_numbers(machine: CommandConsole) -> None:
    grid = Grid("day", "training rows", "share")
    grid.add_row(str(date(2026, 3, 1)), "1,234", "[red]0.5[/red]")
    grid.add_row(str(Path("a")), "", "-3")
    machine.print(grid)
    found = [{k: v for k, v in line.items() if k != "time"} for line in _lines(machine)]
    assert found == [
        {"level": "info", "day": "2026-03-01", "training_rows": 1234, "share": 0.5},
        {"level": "info", "day": "a", "training_rows": "", "share": -3},
    ]


def test_json_keeps_brackets_of_the_data(machine: CommandConsole) -> None:
    machine.print("data/[2]\nñ", markup=False)
    assert _lines(machine)[0]["message"] == "data/[2]\nñ"
