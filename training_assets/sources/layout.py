"""What the names below a raw table say: a day, a format, a mark, or that nothing is read there.

    raw/<table>/dt=YYYY-MM-DD/…                 all tables
    raw/previous_orders/<file>                  also flat, days in order_date

Names that begin with ``_`` or ``.`` are of no account where there is data.
"""

import re
from datetime import date
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Final

from training_assets.schemas import PREVIOUS_ORDERS, Table

FORMATS: Final = {
    ".parquet": "parquet",
    ".parq": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
}
# Of text only: Parquet is packed within.
PACKED: Final = (".gz", ".zst", ".bz2")
# A day in whatever form: 2024-05-10, 20240510, 2024-5-10, 2024-05-10 00:00:00.
_SOME_DAY: Final = re.compile(
    r"(?<![0-9a-f])(\d{4})-?(\d{1,2})-?(\d{1,2})(?![0-9a-f])", re.IGNORECASE
)
# Writers put one into names; some of its digits may look like a day.
_UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
# What those who have finished leave beside the data, or where there is none.
_MARK: Final = re.compile(
    r"_SUCCESS|_committed_\w+|_metadata|_common_metadata|\.(?:git)?keep|\.DS_Store|\..+\.crc"
)


def prefixes(table: Table) -> tuple[str, ...]:
    return ("dt=", "order_date=") if table is PREVIOUS_ORDERS else ("dt=",)


def has_flat_files(table: Table) -> bool:
    return table is PREVIOUS_ORDERS


@lru_cache(100_000)
def day_of(prefixes: tuple[str, ...], name: str) -> date | None:
    """The day whose folder has that name; None also for other ISO forms of a day."""
    for prefix in prefixes:
        try:
            day = date.fromisoformat(name.removeprefix(prefix))
        except ValueError:
            continue
        if name == f"{prefix}{day.isoformat()}":
            return day
    return None


def some_day(name: str) -> date | None:
    """The day that a name speaks of, in whatever form."""
    found = _SOME_DAY.search(_UUID.sub("", name))
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def folders_of_days(path: str) -> str:
    """The path to folders of days as sources.toml would have it; empty where none tells a day.

    Of ``a/event_date=2026-03-01/b.csv`` that is ``a/event_date={dt}``.
    """
    parts = path.split("/")[:-1]
    for number, part in enumerate(parts):
        name, equals, value = part.partition("=")
        if equals and some_day(value):
            kind = "{yyyymmdd}" if value.isdigit() else "{dt}"
            return "/".join([*parts[:number], f"{name}={kind}"])
    for number in range(len(parts) - 2):
        names = [part.partition("=")[0] for part in parts[number : number + 3]]
        if names == ["year", "month", "day"]:
            return "/".join([*parts[:number], *(f"{name}={{{name}}}" for name in names)])
    return ""


def is_hidden(name: str) -> bool:
    return name.startswith(("_", "."))


def is_leftover(name: str) -> bool:
    """Whether a hidden name, in a day without data, says that somebody has not finished it."""
    return _MARK.fullmatch(name) is None


def format_of(name: str) -> str | None:
    path = PurePosixPath(name)
    is_packed = path.suffix.lower() in PACKED
    plain = path.with_suffix("") if is_packed else path
    kind = FORMATS.get(plain.suffix.lower())
    return None if is_packed and kind == "parquet" else kind


def looks_like_data(table: Table, name: str) -> bool:
    """Whether a file of that name, beside the folders of days, may be data."""
    if has_flat_files(table):
        return False
    return name.startswith(prefixes(table)) or format_of(name) is not None
