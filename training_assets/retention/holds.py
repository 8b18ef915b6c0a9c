"""Days that somebody still needs: those of splits, of exports, and those held by name.

    <lake>/splits.json                          the days of all its parts, of its table
    <lake>/exports/NAME-YYYY-MM-DD-YYYY-MM-DD…  the days of the range, of tables to train on
    <lake>/holds/NAME.json                      {"table": …, "days": ["2025-01-01", …], "why": …}

What these days are built from follows from the tables' own declarations.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final, NamedTuple

from training_assets.errors import ValidationError
from training_assets.lake import Lake, day_range

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
    found = _read(lake, "splits.json")
    if found is not None:
        parts = found.get("parts", {}).values()
        days = sorted({date.fromisoformat(day) for part in parts for day in part.get("days", ())})
        yield Hold(found.get("table"), tuple(days), "splits.json")


def _exports(lake: Lake) -> Iterator[Hold]:
    for entry in lake.store.list("exports"):
        if found := _RANGE.fullmatch(entry.path):
            first, last = (date.fromisoformat(day) for day in found.groups())
            yield Hold(None, tuple(day_range(first, last)), entry.path)


def _named(lake: Lake) -> Iterator[Hold]:
    for entry in lake.store.list("holds"):
        found = _read(lake, entry.path)
        if found is not None:
            days = tuple(date.fromisoformat(day) for day in found.get("days", ()))
            why = f"{entry.path}: {found['why']}" if found.get("why") else entry.path
            yield Hold(found.get("table"), days, why)


def _read(lake: Lake, path: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(lake.store.read(path))
        return dict(found)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ValidationError(
            f"{lake.store.uri(path)}: the file cannot be read ({error}); expected JSON that says "
            "which days it needs, since nothing may go that is still needed. Correct or remove it."
        ) from None
