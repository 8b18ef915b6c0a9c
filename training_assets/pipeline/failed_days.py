"""Days that failed, in words: many days with one fault are one line."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

# Under this name a failed run keeps its days.
FAILED_DAYS: Final = "failed_days"
LISTED_BY: Final = "'training-assets failures' lists all"
_DAYS: Final = re.compile(r"\d{4}-\d\d-\d\d(\.\.\d{4}-\d\d-\d\d)?((, | and )\d{4}-\d\d-\d\d\S*)*")
# Paths, and names of files, which differ by day, and hashes and counts within them.
_PLACES: Final = re.compile(r"\S*[/=]\S*|\S+\.(parquet|parq|csv|jsonl?|gz|zst|bz2)\b")
_NUMBERS: Final = re.compile(r"\d[\d.,]*")
_PLURALS: Final = {" days ": " day ", " rows ": " row ", " are ": " is "}


class FailedDay(NamedTuple):
    """A day of a table that failed, or of a source; ``problem`` is one sentence or more."""

    table: str
    day: date
    problem: str


@dataclass(frozen=True)
class OneFault:
    """Days of a table that failed in the same way; ``problem`` is that of the first."""

    table: str
    days: tuple[date, ...]
    problem: str

    def sentence(self, listed_by: str = LISTED_BY) -> str:
        """One line, however many days it is about; ``listed_by`` says how to see each."""
        if len(self.days) == 1:
            named = self.problem.startswith(f"{self.table}: ")
            return self.problem if named else f"{self.table} {self.days[0]}: {self.problem}"
        own = self.problem.removeprefix(f"{self.table}: ")
        return (
            f"{self.table}: {len(self.days)} days failed in the same way, {self.days[0]} to "
            f"{self.days[-1]}; the first: {own} ({listed_by})"
        )


def by_fault(failed: Iterable[FailedDay]) -> list[OneFault]:
    """The faults in the order in which they were met, each with all its days."""
    found: dict[tuple[str, str], list[FailedDay]] = {}
    for each in failed:
        found.setdefault((each.table, _kind(each.problem)), []).append(each)
    faults = []
    for (table, _), group in found.items():
        group.sort(key=lambda each: each.day)
        faults.append(OneFault(table, tuple(each.day for each in group), group[0].problem))
    return faults


def each_day(failed: Iterable[FailedDay]) -> list[OneFault]:
    """The days one by one, however alike they are."""
    return [OneFault(each.table, (each.day,), each.problem) for each in failed]


def in_short(problem: str) -> str:
    """What is wrong, without what was expected and what to do."""
    return re.split(r"; (?:expected|the day stands)|[.;] [A-Z]|\.$", problem, maxsplit=1)[0]


def _kind(problem: str) -> str:
    """The problem without what differs from day to day."""
    text = problem
    for pattern, word in ((_DAYS, "<day>"), (_PLACES, "<place>"), (_NUMBERS, "<n>")):
        text = pattern.sub(word, text)
    for plural, singular in _PLURALS.items():
        text = text.replace(plural, singular)
    return text
