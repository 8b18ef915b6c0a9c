"""How far long work is: a bar where there is a terminal, plain lines where there is none."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from typing import Final

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from training_assets.cli.console import CommandConsole, console, say
from training_assets.pipeline import DayReport, FailedDay, watched_by

# How much of a table's work is done when a step begins; the steps of publishing are short.
_DONE_AT: Final = {"write": 0.0, "checks": 0.45, "look again": 0.9}
_DONE_AT_PUBLISH: Final = 0.95
_COUNTED: Final = re.compile(r"(\d[\d,]*) of (\d[\d,]*) (\w+)")


class BuildProgress:
    """Watches the builds of one command: what is done, and which days failed for which reason.

    A day counts once per table. ``total`` is how many there are over all builds of the command.
    """

    def __init__(self, total: int) -> None:
        self._total = max(1, total)
        self._settled = 0
        self._days: Mapping[str, int] = {}
        self._bar: _Bar | None = None
        self.failed: list[FailedDay] = []

    @property
    def reasons(self) -> dict[date, str]:
        """By day: the first problem that it had in any table."""
        found: dict[date, str] = {}
        for each in self.failed:
            found.setdefault(each.day, each.problem)
        return found

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Watch builds, and draw the bar, until the block is left."""
        with ExitStack() as stack:
            if console.has_bar:
                self._bar = stack.enter_context(_bar(self._total, "table days"))
            stack.enter_context(watched_by(self))
            yield

    def begins(self, days: Mapping[str, int]) -> None:
        self._days = days

    def step(self, table: str, name: str) -> None:
        part = _DONE_AT.get(name, _DONE_AT_PUBLISH) * self._days.get(table, 0)
        if self._bar:
            self._bar.move(self._settled, part, f"{table}: {name}")

    def settled(self, report: DayReport) -> None:
        self._settled += 1
        if report.problem:
            self.failed.append(FailedDay(report.table, report.day, report.problem))
        if self._bar:
            self._bar.move(self._settled, 0, f"{report.table}: done")


@contextmanager
def told() -> Iterator[Callable[[str], None]]:
    """A function for messages: lines, or in a terminal one line that changes.

    A message that counts ("9 of 90 days") moves a bar.
    """
    if not console.has_bar:
        yield say
        return
    with _bar(None, "") as bar:
        yield bar.tell


class _Bar:
    """One line of the terminal."""

    def __init__(self, progress: Progress, total: int | None, unit: str) -> None:
        self._progress = progress
        self._started = time.monotonic()
        self._task = progress.add_task("", total=total, count="", ends_at=None)
        self._total, self._unit = total, unit

    def move(self, done: float, part: float, what: str) -> None:
        """``done`` is finished, and about ``part`` of what is in hand."""
        total = self._total or 1
        share = min(1.0, (done + part) / total)
        now = time.monotonic()
        ends_at = now + (now - self._started) * (1 - share) / share if share else None
        self._progress.update(
            self._task,
            completed=done + part,
            description=what,
            count=f"{done:,.0f} of {total:,} {self._unit}",
            ends_at=ends_at,
        )

    def tell(self, message: str) -> None:
        if found := _COUNTED.search(message):
            done, total = (int(number.replace(",", "")) for number in found.groups()[:2])
            self._total, self._unit = total, found[3]
            self._progress.update(self._task, total=total)
            self.move(done, 0, message.split(" ")[0])
        else:
            self._progress.update(self._task, description=message)


class _SecondsLeft(ProgressColumn):
    """Counts down between two messages, which come at uneven times."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        ends_at = task.fields["ends_at"]
        if ends_at is None or task.finished:
            return Text("")
        return Text(f"{max(1, round(ends_at - time.monotonic()))} s left", style="cyan")


@contextmanager
def _bar(total: int | None, unit: str) -> Iterator[_Bar]:
    # Dagster redirects the process's output to files while a step runs; the bar goes past that.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as terminal:
        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False),
            _SecondsLeft(),
            console=CommandConsole(file=terminal, highlight=False),
            transient=True,
        )
        with progress:
            yield _Bar(progress, total, unit)
