"""What all contestants share: the command line, the days, and the one line of JSON they print."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import psutil

LENGTH: Final = 1000
LOOKBACK: Final = 365
MAX_ITEM: Final = 2**31 - 1


@dataclass(frozen=True)
class Job:
    """Days ``first`` to ``last`` of ``output`` from ``lake`` into ``<out>/<table>/dt=D/``."""

    lake: Path
    out: Path
    first: date
    last: date
    output: str
    threads: int

    @property
    def is_published(self) -> bool:
        """Whether training_input is wanted too."""
        return self.output == "published"

    @property
    def days(self) -> list[date]:
        return days_between(self.first, self.last)

    @property
    def base(self) -> date:
        """The oldest day whose actions count for any of the days."""
        return self.first - timedelta(days=LOOKBACK)

    def impression_files(self) -> list[Path]:
        return _files(self.lake / "raw" / "impressions", self.days)

    def action_files(self) -> list[Path]:
        """Of the days that can count for any of the days."""
        before = days_between(self.base, self.last - timedelta(days=1))
        return _files(self.lake / "unified_actions", before)

    def target(self, table: str, day: date) -> Path:
        """The file of a day, in a folder that exists."""
        folder = self.out / table / f"dt={day}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "part-00000.parquet"


def parse(description: str, add: Callable[[argparse.ArgumentParser], Any] | None = None) -> Any:
    """The job that the command line asks for, and all that was given."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="an empty folder")
    parser.add_argument("--first", type=date.fromisoformat, required=True)
    parser.add_argument("--last", type=date.fromisoformat, required=True)
    parser.add_argument("--output", choices=["history", "published"], required=True)
    parser.add_argument("--threads", type=int, default=2)
    if add:
        add(parser)
    given = parser.parse_args()
    job = Job(
        given.lake.absolute(),
        given.out.absolute(),
        given.first,
        given.last,
        given.output,
        given.threads,
    )
    return job, given


class Clock:
    """Wall and CPU seconds of this process and its children, in two parts: start and job."""

    def __init__(self) -> None:
        process = psutil.Process()
        self._began = process.create_time()
        self._start_s = 0.0
        self._cpu_s = 0.0
        self._ready = 0.0

    def ready(self) -> None:
        """Imports are done and the session stands: the job begins."""
        self._start_s = time.time() - self._began
        self._cpu_s = cpu_seconds()
        self._ready = time.perf_counter()

    def report(self, **more: Any) -> None:
        """Print the line; ``more`` goes into it."""
        line = {
            "start_s": round(self._start_s, 3),
            "wall_s": round(time.perf_counter() - self._ready, 3),
            "start_cpu_s": round(self._cpu_s, 3),
            "cpu_s": round(cpu_seconds() - self._cpu_s, 3),
            **more,
        }
        print(json.dumps(line), flush=True)


def cpu_seconds() -> float:
    """User and system, of this process, of its living children and of those that have ended."""
    own = psutil.Process()
    total = sum(own.cpu_times()[:4])
    for child in own.children(recursive=True):
        try:
            total += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def days_between(first: date, last: date) -> list[date]:
    """All days from ``first`` to ``last``, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _files(table: Path, days: Sequence[date]) -> list[Path]:
    return [file for day in days for file in sorted((table / f"dt={day}").glob("*.parquet"))]
