"""Which published days are out of date, why in words, and what a rebuild of them may change.

    raw day D of actions changed ──> unified_actions D is out of date
                                     customer_history, training_input of D+1 … D+look-back: touched
    raw day D of impressions     ──> customer_history D and training_input D are out of date

Touched days are current, and stay so where the rebuild of D changes no bytes; whether it does is
known only after it. So days are rebuilt table by table, and looked at again before each.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from training_assets.errors import TrainingAssetsError
from training_assets.lake import days_in_words
from training_assets.provenance.declared import BuiltFrom, Upstream
from training_assets.provenance.provenance import (
    CODE_VERSION,
    Inputs,
    Provenance,
    days_read,
    short,
    unpack,
)
from training_assets.schemas import SCHEMA_VERSION
from training_assets.settings import Settings

_MAX_NAMES: Final = 5


@dataclass(frozen=True)
class OutdatedDay:
    """A day of a table that would be built from other things now than it was.

    ``is_published`` is False for a day that was never built although published days of another
    table look back to it. ``inputs`` is the hash of what it would be built from now, ``obstacle``
    the reason why it cannot be built now; one of the two is empty.
    """

    table: str
    day: date
    reasons: tuple[str, ...]
    is_published: bool = True
    inputs: str = ""
    obstacle: str = ""


@dataclass(frozen=True)
class Outdated:
    """All that is out of date, and by table the current days that a rebuild of it may change."""

    days: tuple[OutdatedDay, ...]
    touched: Mapping[str, tuple[date, ...]]

    def of(self, built: BuiltFrom) -> list[OutdatedDay]:
        return [found for found in self.days if found.table == built.table.name]

    def buildable(self, built: BuiltFrom) -> list[date]:
        """Out-of-date days of the table that can be built now, before anything else is.

        A day waits for the same day of what it reads: of an old one it would be a mixture.
        """
        waiting = {
            found.day
            for upstream in built.upstream
            if upstream.has_day
            for found in self.of(upstream.of)
        }
        return [f.day for f in self.of(built) if not f.obstacle and f.day not in waiting]


def find_outdated(
    provenance: Provenance,
    tables: Sequence[BuiltFrom],
    first: date | None = None,
    last: date | None = None,
) -> Outdated:
    """Every out-of-date day from ``first`` to ``last``, in the order of tables and days."""
    found: list[OutdatedDay] = []
    for built in tables:
        days = [d for d in provenance.lake.days(built.table.name) if _is_within(d, first, last)]
        provenance.look_ahead(built, days)
        own = [late for day in days if (late := outdated_day(provenance, built, day))]
        missing = [
            late
            for reader in tables
            for upstream in reader.upstream
            if upstream.of == built and upstream.looks_back and not upstream.is_optional
            for late in _missing_days(provenance, upstream, reader)
            if _is_within(late.day, first, last)
        ]
        found += sorted([*own, *missing], key=lambda late: late.day)
    return Outdated(tuple(found), _touched(provenance, tables, found))


def outdated_day(provenance: Provenance, built: BuiltFrom, day: date) -> OutdatedDay | None:
    """What is known of a published day that is out of date; None for one that is current."""
    try:
        recorded = provenance.manifest(built.table, day)
        damage = ""
    except TrainingAssetsError as error:
        recorded, damage = {}, str(error)
    try:
        now = provenance.inputs(built, day)
        if recorded.get("inputs") == now.hash:
            return None
        provenance.require_raw(built, day)
        provenance.require_upstream(built, day)
    except TrainingAssetsError as error:
        reason = f"it cannot be built any more: {error}"
        return OutdatedDay(built.table.name, day, (reason,), obstacle=str(error))
    reasons = [damage] if damage else _reasons(recorded, now)
    return OutdatedDay(built.table.name, day, tuple(reasons), inputs=now.hash)


def _is_within(day: date, first: date | None, last: date | None) -> bool:
    return (first is None or day >= first) and (last is None or day <= last)


def _missing_days(
    provenance: Provenance, upstream: Upstream, reader: BuiltFrom
) -> Iterator[OutdatedDay]:
    """Days that were delivered, not built, and that published days of ``reader`` look back to."""
    built, lake = upstream.of, provenance.lake
    published = lake.snapshot(upstream.name).files
    readers = lake.days(reader.table.name)
    sources = [provenance.source_days(source) for source in provenance.delivered(built)]
    delivered = {d for source in sources for d in source.days if source.first and d >= source.first}
    for day in sorted(delivered - published.keys()):
        count = len(readers_of(provenance.settings, upstream, readers, published, [day]))
        if not count:
            continue
        look_back = f"{count} days of {reader.table.name} look back to it"
        reason = f"not published, though its raw data is there and {look_back}"
        inputs = obstacle = ""
        try:
            inputs = provenance.inputs(built, day).hash
            provenance.require_raw(built, day)
        except TrainingAssetsError as error:
            inputs, obstacle = "", str(error)
            reason = f"not published, though {look_back}; it cannot be built: {error}"
        yield OutdatedDay(built.table.name, day, (reason,), False, inputs, obstacle)


def looking_back(settings: Settings, readers: Sequence[date], read: Sequence[date]) -> list[date]:
    """Those of the days of one table whose look-back has any of the days, in order, of another."""
    found = []
    for day in readers:
        start = settings.window_start(day)
        place = 0 if start is None else bisect_left(read, start)
        if place < len(read) and read[place] < day:
            found.append(day)
    return found


def readers_of(
    settings: Settings,
    upstream: Upstream,
    readers: Sequence[date],
    days: Iterable[date],
    some: Sequence[date],
) -> list[date]:
    """Those of ``readers`` that look back to some of the other table's ``days``, in order."""
    if upstream.of.days != "delivered":
        return looking_back(settings, readers, some)
    known, wanted = sorted({*days, *some}), set(some)
    return [day for day in readers if wanted & set(days_read(settings, upstream, known, day))]


def _touched(
    provenance: Provenance, tables: Sequence[BuiltFrom], found: Sequence[OutdatedDay]
) -> dict[str, tuple[date, ...]]:
    changing: dict[str, set[date]] = {}
    touched = {}
    for built in tables:
        name, late = built.table.name, [f for f in found if f.table == built.table.name]
        published, read = provenance.lake.days(built.table.name), set[date]()
        for upstream in built.upstream:
            changed = sorted(changing.get(upstream.name, ()))
            if upstream.has_day:
                read |= set(changed) & set(published)
            if upstream.looks_back:
                states = provenance.lake.days(upstream.name)
                read |= set(readers_of(provenance.settings, upstream, published, states, changed))
        changing[name] = read | {f.day for f in late if not f.obstacle}
        if built.upstream:
            touched[name] = tuple(sorted(read - {f.day for f in late}))
    return touched


# --- why, in words --------------------------------------------------------------------------------


def _reasons(recorded: Mapping[str, Any], now: Inputs) -> list[str]:
    detail = recorded.get("built_from")
    if not isinstance(detail, Mapping):
        return ["it was built by a version that did not record what it was built from"]
    versions = [
        ("schema version", recorded.get("schema_version"), SCHEMA_VERSION),
        ("code version", detail.get("code_version"), CODE_VERSION),
    ]
    settings = detail.get("settings", {})
    knobs = [(f"setting {name}", settings.get(name), now.settings[name]) for name in now.settings]
    reasons = [
        f"{name} changed from {old} to {new}" for name, old, new in versions + knobs if old != new
    ]
    raw = detail.get("raw", {})
    for name in {**now.raw, **raw}:
        reasons += _raw_reasons(raw.get(name, {}), now.raw.get(name, {}))
    # Another look-back reads other days; that they come and go is no news then.
    is_same_window = settings.get("lookback_days") == now.settings.get("lookback_days")
    for name, contents in now.upstream.items():
        before = unpack(detail.get("upstream", {}).get(name, {}))
        after = {day: short(content) for day, content in contents.items()}
        reasons += _upstream_reasons(name, before, after, is_same_window)
    return reasons or ["it was built from something else than is there now"]


def _raw_reasons(before: Mapping[str, list[Any]], after: Mapping[str, list[Any]]) -> list[str]:
    both = before.keys() & after.keys()
    changed = [name for name in both if before[name] != after[name]]
    # Nothing tells a file that was touched from one that was replaced by one of the same size.
    same = [name for name in changed if _is_file(after[name]) and before[name][0] == after[name][0]]
    others = [
        f"{name} ({_sizes(before[name], after[name])})" for name in changed if name not in same
    ]
    kinds = {
        "added": after.keys() - before.keys(),
        "removed": before.keys() - after.keys(),
        "changed": others,
        "touched or replaced by one of the same size": same,
    }
    return [f"raw files {kind}: {_listed(names)}" for kind, names in kinds.items() if names]


def _is_file(entry: Sequence[Any]) -> bool:
    # A flat file has a hash where a file of one day has its modification time, or an etag.
    return isinstance(entry[1], int) or str(entry[1]).startswith('"')


def _sizes(before: Sequence[Any], after: Sequence[Any]) -> str:
    if _is_file(after):
        return f"{before[0]:,} to {after[0]:,} bytes"
    if before[0] != after[0]:
        return f"{before[0]:,} to {after[0]:,} rows of the day"
    return f"other values in {after[0]:,} rows of the day"


def _upstream_reasons(
    name: str, before: Mapping[date, str], after: Mapping[date, str], is_same_window: bool
) -> list[str]:
    changed = [day for day in before.keys() & after.keys() if before[day] != after[day]]
    kinds: dict[str, Iterable[date]] = {"changed": changed}
    if is_same_window:
        kinds["added"] = after.keys() - before.keys()
        kinds["removed"] = before.keys() - after.keys()
    return [f"{name} {kind}: {days_in_words(days)}" for kind, days in kinds.items() if days]


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _MAX_NAMES} more" if len(ordered) > _MAX_NAMES else ""
    return ", ".join(ordered[:_MAX_NAMES]) + more
