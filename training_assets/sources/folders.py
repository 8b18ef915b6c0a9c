"""Which files a raw day is read from.

    <root>/raw/<table>/dt=YYYY-MM-DD/…                 all tables
    <root>/raw/previous_orders/<file>                  also flat, days in order_date

What lies under a raw table and looks like a day or like data, but is read for no day, is an error:
rows there would be missing without a word. Names that begin with ``_`` or ``.`` are of no account.

Whoever runs the platform may make ``raw`` or a table's folder a link. Below them, where deliveries
arrive, a link to a folder is followed for a day only, and none may lead out of ``raw``.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from training_assets.errors import RawDataError
from training_assets.schemas import PREVIOUS_ORDERS, Table
from training_assets.sources.columns import Task, printable

_FORMATS: Final = {
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
}
# A day in whatever form: 2024-05-10, 20240510, 2024-5-10, 2024-05-10 00:00:00.
_SOME_DAY: Final = re.compile(r"(\d{4})-?(\d{1,2})-?(\d{1,2})")


@dataclass(frozen=True)
class RawFile:
    """One raw file. ``day`` is that of its folder, or None for a flat file."""

    path: Path
    name: str
    format: str
    day: date | None


_Dated = TypeVar("_Dated", RawFile, Task)


def raw_days(root: Path, table: Table) -> list[date]:
    """Days that have a folder, oldest first."""
    folder = root / "raw" / table.name
    found = set()
    for prefix in _prefixes(table):
        for entry in folder.glob(f"{prefix}*"):
            day = _day_of(_prefixes(table), entry.name)
            if day is not None and entry.is_dir():
                found.add(day)
    return sorted(found)


def files_of_days(
    root: Path, table: Table, days: Collection[date], *, allow_missing: bool
) -> list[RawFile]:
    """The files of ``days``, and the flat ones; see ``raw.find_raw_days``."""
    _refuse_misplaced(root, table, days)
    flat = list(_flat_files(root, table))
    files: list[RawFile] = []
    for day in days:
        files += _files_of_day(root, table, day, allow_missing=allow_missing or bool(flat))
    return files + flat


def by_day(found: Iterable[_Dated], days: Collection[date]) -> dict[date, list[_Dated]]:
    """Of each day its own files, or parts of files, and then the flat ones."""
    own: dict[date | None, list[_Dated]] = defaultdict(list)
    for one in found:
        own[one.day].append(one)
    return {day: own[day] + own[None] for day in days}


def _prefixes(table: Table) -> tuple[str, ...]:
    return ("dt=", "order_date=") if table is PREVIOUS_ORDERS else ("dt=",)


@lru_cache(100_000)
def _day_of(prefixes: tuple[str, ...], name: str) -> date | None:
    """The day whose folder has that name; None also for other ISO forms of a day."""
    for prefix in prefixes:
        try:
            day = date.fromisoformat(name.removeprefix(prefix))
        except ValueError:
            continue
        if name == f"{prefix}{day.isoformat()}":
            return day
    return None


def _files_of_day(root: Path, table: Table, day: date, *, allow_missing: bool) -> Iterator[RawFile]:
    base = root / "raw" / table.name
    folders = [base / f"{prefix}{day.isoformat()}" for prefix in _prefixes(table)]
    present = [folder for folder in folders if folder.is_dir()]
    if not present and not allow_missing:
        raise RawDataError(
            f"{table.name}: raw day {day} is missing; expected the folder {folders[0]} "
            "(it may be empty). Deliver the day, or set TRAINING_ASSETS_MISSING_RAW=empty to "
            "take absent days as days without rows."
        )
    for folder in present:
        if folder.is_symlink():
            _require_inside(root, table, folder)
        for path in _walk(root, table, folder):
            yield _raw_file(root, path, day)


def _flat_files(root: Path, table: Table) -> Iterator[RawFile]:
    if table is not PREVIOUS_ORDERS:
        return
    for entry in _entries(root, root / "raw" / table.name):
        if not _is_folder(entry):
            yield _raw_file(root, _file(root, table, entry), None)


def _walk(root: Path, table: Table, folder: Path) -> Iterator[Path]:
    """All files below a folder, in the order of their paths."""
    for entry in _entries(root, folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, table, Path(entry.path))
        else:
            yield _file(root, table, entry)


def _entries(root: Path, folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder and not hidden, by name; nothing where there is no folder."""
    try:
        with os.scandir(folder) as found:
            seen = [entry for entry in found if not entry.name.startswith(("_", "."))]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RawDataError(
            f"{_shown(root, folder)}: the folder cannot be listed ({error.strerror}); expected to "
            "be allowed to read it. Correct its permissions."
        ) from error
    return sorted(seen, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself.
        return False


def _file(root: Path, table: Table, entry: os.DirEntry[str]) -> Path:
    path = Path(entry.path)
    if entry.is_symlink():
        _require_inside(root, table, path)
    if not path.is_file():
        raise RawDataError(
            f"{_shown(root, path)}: it is neither a file nor a folder but a link to a folder or to "
            "nothing, a pipe or a device; expected files. Remove it, or deliver what it stands for."
        )
    return path


def _require_inside(root: Path, table: Table, link: Path) -> None:
    real = Path(os.path.realpath(link))
    raw = root / "raw"
    if not any(real.is_relative_to(os.path.realpath(base)) for base in (raw, raw / table.name)):
        raise RawDataError(
            f"{_shown(root, link)}: the link leads out of the lake's raw folder, to "
            f"{printable(str(real))}; expected data below {raw}. Deliver the data itself."
        )


def _refuse_misplaced(root: Path, table: Table, days: Collection[date]) -> None:
    """Raise for what is read for no day and may belong to one of ``days``."""
    base, prefixes = root / "raw" / table.name, _prefixes(table)
    for entry in _entries(root, base):
        is_folder = _is_folder(entry)
        if (is_folder and _day_of(prefixes, entry.name)) or not _looks_like_data(table, entry):
            continue
        meant = _some_day(entry.name)
        if meant is None or meant in days:
            kind = "folder" if is_folder else "file"
            expected = " or ".join(f"{prefix}YYYY-MM-DD" for prefix in prefixes)
            raise RawDataError(
                f"{_shown(root, Path(entry.path))}: the {kind} is read for no day; expected only "
                f"folders {expected} in {base}. Rename it, or move it away."
            )


def _looks_like_data(table: Table, entry: os.DirEntry[str]) -> bool:
    if _is_folder(entry):
        is_named = "=" in entry.name or bool(_SOME_DAY.match(entry.name))
        return is_named and any(files for _, _, files in os.walk(entry.path))
    if table is PREVIOUS_ORDERS:
        return False
    return entry.name.startswith(_prefixes(table)) or _format_of(Path(entry.name)) is not None


def _some_day(name: str) -> date | None:
    found = _SOME_DAY.search(name)
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def _raw_file(root: Path, path: Path, day: date | None) -> RawFile:
    name = path.relative_to(root).as_posix()
    if name != _shown(root, path):
        raise RawDataError(
            f"{_shown(root, path)}: the file name is not UTF-8 or has control characters. "
            "Rename the file."
        )
    kind = _format_of(path)
    if kind is None:
        raise RawDataError(
            f"{name}: the format is not known by its ending; expected one of "
            f"{', '.join(_FORMATS)}, text also with .gz. Rename or remove the file."
        )
    return RawFile(path, name, kind, day)


def _format_of(path: Path) -> str | None:
    is_gzipped = path.suffix.lower() == ".gz"
    plain = path.with_suffix("") if is_gzipped else path
    kind = _FORMATS.get(plain.suffix.lower())
    return None if is_gzipped and kind == "parquet" else kind


def _shown(root: Path, path: Path) -> str:
    return printable(path.relative_to(root).as_posix())
