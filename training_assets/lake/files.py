"""How what belongs to a day of a table is named.

    <lake>/<table>/dt=D/part-00000-<hash>-<run>.parquet     never overwritten, never reused
    <lake>/<table>/_manifests/dt=D/<run>.json               what the run built the day from
    <lake>/<table>/_manifests/dt=D/<run>.profile.json       what stands in its columns, counted
    <lake>/<table>/_quarantine/dt=D/<run>/source=clicks/…   rows that the day could not take

All files of a day are of one run, whose name in them leads to manifest and quarantine: these cannot
disagree with the day. ``<hash>`` is that of the file's bytes, so the contents of a year of days
are known without opening any. Files of a lake before version 2 have neither; see ``migrate.py``.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

MANIFESTS: Final = "_manifests"
QUARANTINE: Final = "_quarantine"
DAY_PREFIX: Final = "dt="
MIGRATED: Final = "migrated"

_NAME: Final = re.compile(r"part-\d{5}-(?P<hash>[0-9a-f]{16})-(?P<run>[0-9a-f]{12})\.(parquet|pq)")
_BESIDE: Final = re.compile(
    rf"(?:{MANIFESTS}|{QUARANTINE}|_validation)/(?P<folder>{DAY_PREFIX}\d{{4}}-\d\d-\d\d)/(?P<run>\w+)[./].*"
)


class DataFile(NamedTuple):
    """A published file; ``name`` is relative to the table: ``dt=2026-03-01/part-….parquet``."""

    name: str
    size: int
    rows: int

    @property
    def folder(self) -> str:
        return self.name.partition("/")[0]

    @property
    def day(self) -> date:
        return date.fromisoformat(self.folder.removeprefix(DAY_PREFIX))

    @property
    def run(self) -> str:
        """The run that wrote it."""
        return run_of(self.name)

    @property
    def hash(self) -> str:
        """Of its bytes; of a migrated file, of its name and size."""
        found = _NAME.fullmatch(self.name.rpartition("/")[2])
        return found["hash"] if found else _digest([f"{self.name} {self.size}"])


def new_run() -> str:
    """A name for a run, which all that it writes carries: 12 hexadecimal digits."""
    return secrets.token_hex(6)


def run_of(path: str) -> str:
    found = _NAME.fullmatch(path.rpartition("/")[2])
    return found["run"] if found else MIGRATED


def content_of(files: Sequence[DataFile]) -> str:
    """Hash of the bytes of all files."""
    return _digest([file.hash for file in sorted(files)])


def manifest_path(day: date, run: str) -> str:
    return f"{MANIFESTS}/{DAY_PREFIX}{day}/{run}.json"


def profile_path(day: date, run: str) -> str:
    return f"{MANIFESTS}/{DAY_PREFIX}{day}/{run}.profile.json"


def quarantine_path(day: date, run: str) -> str:
    return f"{QUARANTINE}/{DAY_PREFIX}{day}/{run}"


def belongs_to(path: str) -> tuple[str, str] | None:
    """Day folder and run of a data file, manifest or quarantine file; None for any other."""
    if found := _BESIDE.fullmatch(path):
        return found["folder"], found["run"]
    folder = path.partition("/")[0]
    return (folder, run_of(path)) if day_of_folder(folder) else None


def day_of_folder(name: str) -> date | None:
    """The day of a folder ``dt=YYYY-MM-DD``, None for any other name."""
    try:
        day = date.fromisoformat(name.removeprefix(DAY_PREFIX))
    except ValueError:
        return None
    return day if name == f"{DAY_PREFIX}{day}" else None


def _digest(parts: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
