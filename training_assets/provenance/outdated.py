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
from datetime import date, timedelta
from typing import Any, Final

from training_assets.errors import TrainingAssetsError
from training_assets.lake import Lake
from training_assets.provenance.provenance import CODE_VERSION, Inputs, Provenance, short, unpack
from training_assets.schemas import (
    ACTION_SOURCES,
    CUSTOMER_HISTORY,
    SCHEMA_VERSION,
    TABLES,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings
from training_assets.sources import raw_days

_MAX_NAMES: Final = 5


@dataclass(frozen=True)
class OutdatedDay:
    """A day of a table that would be built from other things now than it was.

    ``is_published`` is False for a day of actions that was never built although published histories
    look back to it. ``inputs`` is the hash of what it would be built from now, ``obstacle`` the
    reason why it cannot be built now; one of the two is empty.
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

    def of(self, table: Table) -> list[OutdatedDay]:
        return [found for found in self.days if found.table == table.name]

    def buildable(self, table: Table) -> list[date]:
        """Out-of-date days of the table that can be built now, before anything else is.

        Training input waits for its history, because rows of an old one would be a mixture.
        """
        waiting: set[date] = set()
        if table is TRAINING_INPUT:
            waiting = {found.day for found in self.of(CUSTOMER_HISTORY)}
        return [f.day for f in self.of(table) if not f.obstacle and f.day not in waiting]


def find_outdated(
    provenance: Provenance, first: date | None = None, last: date | None = None
) -> Outdated:
    """Every out-of-date day from ``first`` to ``last``, in the order of tables and days."""
    lake = provenance.lake
    found = []
    for table in TABLES.values():
        days = [day for day in lake.days(table.name) if _is_within(day, first, last)]
        provenance.look_ahead(table, days)
        found += [late for day in days if (late := outdated_day(provenance, table, day))]
    found += [late for late in _missing_days(provenance) if _is_within(late.day, first, last)]
    order = list(TABLES)
    ordered = tuple(sorted(found, key=lambda late: (order.index(late.table), late.day)))
    return Outdated(ordered, _touched(provenance, ordered))


def outdated_day(provenance: Provenance, table: Table, day: date) -> OutdatedDay | None:
    """What is known of a published day that is out of date; None for one that is current."""
    try:
        recorded = provenance.manifest(table, day)
        damage = ""
    except TrainingAssetsError as error:
        recorded, damage = {}, str(error)
    try:
        now = provenance.inputs(table, day)
        if recorded.get("inputs") == now.hash:
            return None
        provenance.require_raw(table, day)
    except TrainingAssetsError as error:
        reason = f"it cannot be built any more: {error}"
        return OutdatedDay(table.name, day, (reason,), obstacle=str(error))
    reasons = [damage] if damage else _reasons(recorded, now)
    return OutdatedDay(table.name, day, tuple(reasons), inputs=now.hash)


def raw_action_days(lake: Lake, settings: Settings) -> list[date]:
    """Days for which every source of actions that comes in folders has one, oldest first."""
    present = [set(raw_days(lake.root, source)) for source in ACTION_SOURCES]
    if settings.missing_raw == "empty":
        return sorted(set.union(*present))
    return sorted(set.intersection(*(p for p in present if p))) if any(present) else []


def contiguous(days: Iterable[date]) -> list[list[date]]:
    """Days in groups of consecutive ones, oldest first."""
    groups: list[list[date]] = []
    for day in sorted(days):
        if groups and day - groups[-1][-1] == timedelta(days=1):
            groups[-1].append(day)
        else:
            groups.append([day])
    return groups


def days_in_words(days: Iterable[date]) -> str:
    """``2024-05-01, 2024-05-03..2024-05-05``."""
    return ", ".join(
        str(group[0]) if len(group) == 1 else f"{group[0]}..{group[-1]}"
        for group in contiguous(days)
    )


def _is_within(day: date, first: date | None, last: date | None) -> bool:
    return (first is None or day >= first) and (last is None or day <= last)


def _missing_days(provenance: Provenance) -> Iterator[OutdatedDay]:
    """Days of actions that were delivered, not built, and that published histories look back to."""
    lake, settings = provenance.lake, provenance.settings
    published = set(lake.days(UNIFIED_ACTIONS.name))
    histories = lake.days(CUSTOMER_HISTORY.name)
    for day in raw_action_days(lake, settings):
        count = len(looking_back(settings, histories, [day]))
        if day in published or not count:
            continue
        reason = (
            f"not published, though its raw data is there and {count} histories look back to it"
        )
        inputs = obstacle = ""
        try:
            inputs = provenance.inputs(UNIFIED_ACTIONS, day).hash
        except TrainingAssetsError as error:
            obstacle = str(error)
        yield OutdatedDay(UNIFIED_ACTIONS.name, day, (reason,), False, inputs, obstacle)


def looking_back(
    settings: Settings, histories: Sequence[date], actions: Sequence[date]
) -> list[date]:
    """Those of the days of histories that read any of the days of actions, which are in order."""
    found = []
    for day in histories:
        start = settings.window_start(day)
        place = 0 if start is None else bisect_left(actions, start)
        if place < len(actions) and actions[place] < day:
            found.append(day)
    return found


def _touched(provenance: Provenance, found: Sequence[OutdatedDay]) -> dict[str, tuple[date, ...]]:
    lake = provenance.lake
    late = {name: {f.day for f in found if f.table == name} for name in TABLES}
    rebuilt = sorted(f.day for f in found if f.table == UNIFIED_ACTIONS.name and not f.obstacle)
    histories = lake.days(CUSTOMER_HISTORY.name)
    read = set(looking_back(provenance.settings, histories, rebuilt))
    changing = read | {f.day for f in found if f.table == CUSTOMER_HISTORY.name and not f.obstacle}
    rows = changing & set(lake.days(TRAINING_INPUT.name))
    return {
        CUSTOMER_HISTORY.name: tuple(sorted(read - late[CUSTOMER_HISTORY.name])),
        TRAINING_INPUT.name: tuple(sorted(rows - late[TRAINING_INPUT.name])),
    }


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
    for name in now.raw:
        reasons += _raw_reasons(raw.get(name, {}), now.raw[name])
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
    # A flat file has a hash where a file of one day has its modification time.
    return isinstance(entry[1], int)


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
