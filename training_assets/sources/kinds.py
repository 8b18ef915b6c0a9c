"""Which kinds of action come from the event stream, where a shop also has sources of single kinds.

A click that stands in raw/clicks and in raw/interactions is one click. So the stream gives a day
only those kinds of which no source of their own has begun by then; views and likes, for most shops.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date

from training_assets.schemas import ACTION_TYPES, Table


def first_by_kind(
    sources: Iterable[Table], first_of: Callable[[Table], date | None]
) -> dict[int, date | None]:
    """By code of a kind, the first day of any of its own sources; None where none has begun."""
    found: dict[int, list[date]] = {}
    for source in sources:
        if source.action_type is not None:
            first = first_of(source)
            found.setdefault(source.action_type, []).extend([first] if first else [])
    return {code: min(firsts, default=None) for code, firsts in found.items()}


def kinds_taken(
    mode: str, day: date, begins: date | None, firsts: Mapping[int, date | None]
) -> tuple[int, ...]:
    """Codes of the kinds that the day has from the stream, ascending; returns come with orders.

    ``begins`` is the stream's first day, ``firsts`` those of the sources of single kinds. ``mode``:
    "missing" leaves out kinds whose own source has begun, "all" leaves out none, "none" all.
    """
    if mode == "none" or begins is None or begins > day:
        return ()
    has_own = {code for code, first in firsts.items() if first is not None and first <= day}
    left_out = has_own if mode == "missing" else set()
    return tuple(sorted(set(ACTION_TYPES) - left_out))
