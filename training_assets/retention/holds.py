"""Days that somebody still needs: those of splits, of exports, and those held by name.

    <lake>/splits.json                          the days of all its parts, of its table
    <lake>/exports/NAME-YYYY-MM-DD-YYYY-MM-DD…  the days of the range, of tables to train on
    <lake>/holds/NAME.json                      {"table": …, "days": ["2025-01-01", …], "why": …}

What these days are built from follows from the tables' own declarations.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any, Final, NamedTuple

from training_assets.errors import ValidationError
from training_assets.lake import Lake, day_range
from training_assets.tables import SPECS

_RANGE: Final = re.compile(r".*?(\d{4}-\d\d-\d\d)-(\d{4}-\d\d-\d\d)\b.*")


class Hold(NamedTuple):
    """Days of one table, or of all that are kept to train on; ``why`` names who needs them."""

    table: str | None
    days: tuple[date, ...]
    why: str


def find_holds(lake: Lake) -> list[Hold]:
    """Raises ``ValidationError`` for a file that cannot be read: it may hold anything."""
    return [*_splits(lake), *_exports(lake), *_named(lake)]


def _splits(lake: Lake) -> Iterator[Hold]:
    yield from _read(lake, "splits.json", _of_split)


def _of_split(found: Mapping[str, Any]) -> Hold:
    days = {date.fromisoformat(day) for part in found["parts"].values() for day in part["days"]}
    return Hold(_table(found), tuple(sorted(days)), "splits.json")


def _exports(lake: Lake) -> Iterator[Hold]:
    for entry in lake.store.list("exports"):
        if found := _RANGE.fullmatch(entry.path):
            try:
                first, last = (date.fromisoformat(day) for day in found.groups())
                if first > last:
                    raise ValueError(f"{first} is after {last}")
            except ValueError as error:
                raise ValidationError(
                    f"{lake.store.uri(entry.path)}: its days are not known ({error}); expected "
                    "NAME-FIRST-LAST, since nothing may go that is still needed. Rename it."
                ) from None
            yield Hold(None, tuple(day_range(first, last)), entry.path)


def _named(lake: Lake) -> Iterator[Hold]:
    for entry in lake.store.list("holds"):
        for found in _read(lake, entry.path, _of_file):
            why = f"{entry.path}: {found.why}" if found.why else entry.path
            yield found._replace(why=why)


def _of_file(found: Mapping[str, Any]) -> Hold:
    days = tuple(date.fromisoformat(day) for day in found["days"])
    return Hold(_table(found), days, found.get("why", ""))


def _table(found: Mapping[str, Any]) -> str | None:
    table: str | None = found.get("table")
    if table is not None and table not in SPECS:
        raise ValueError(f"{table} is no table")
    return table


def _read(lake: Lake, path: str, understood: Callable[[Mapping[str, Any]], Hold]) -> Iterator[Hold]:
    try:
        found = understood(json.loads(lake.store.read(path)))
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise ValidationError(
            f"{lake.store.uri(path)}: the file cannot be used ({what}); expected JSON that says "
            "which days it needs, since nothing may go that is still needed. Correct or remove it."
        ) from None
    yield found
