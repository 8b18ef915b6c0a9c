"""What would go, why, and how many bytes that is; and what is held back, and by whom.

Tables are planned from the last one to the first: a day is held while a day that stays is built
from it, so that what stays never becomes out of date.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from training_assets.errors import SettingsError
from training_assets.lake import Lake, LocalStore
from training_assets.lake.files import DAY_PREFIX, day_of_folder
from training_assets.provenance import readers_of
from training_assets.retention.holds import Hold, find_holds
from training_assets.retention.settings import RetentionSettings
from training_assets.schemas import RAW_INTERACTIONS, RAW_TABLES, Table
from training_assets.settings import Settings
from training_assets.sources import further_sources, source_days
from training_assets.sources.archive import archive_of, archived_days
from training_assets.sources.layout import day_of as layout_day
from training_assets.sources.layout import prefixes
from training_assets.sources.table_formats import roots_of
from training_assets.tables import SPECS, TableSpec

READ_LOGS: Final = "logs/reads"
# Raw items and users stay: later days of theirs are judged by all earlier deliveries.
_RAW: Final = (*RAW_TABLES.values(), RAW_INTERACTIONS)
Action = Literal["delete days", "delete raw", "archive raw", "delete logs"]


@dataclass(frozen=True)
class Step:
    """Days of one thing that go; ``bytes`` are those that they have now."""

    action: Action
    name: str
    days: tuple[date, ...]
    bytes: int
    why: str


@dataclass(frozen=True)
class Held:
    """Days that are old enough to go, and stay."""

    name: str
    days: tuple[date, ...]
    why: str


@dataclass(frozen=True)
class Plan:
    """All that would be done, in the order in which it may be done."""

    steps: tuple[Step, ...]
    held: tuple[Held, ...]

    @property
    def bytes(self) -> int:
        return sum(step.bytes for step in self.steps)


def plan_retention(
    lake: Lake, settings: Settings, retention: RetentionSettings, today: date
) -> Plan:
    """Raises ``SettingsError`` for settings that contradict each other, naming them."""
    retention.require_consistent(settings, SPECS)
    _require_past(lake, today)
    holds = find_holds(lake)
    steps: list[Step] = []
    held: list[Held] = []
    staying: dict[str, list[date]] = {}
    for spec in reversed(SPECS.values()):
        kept = retention.kept_days(spec)
        why = f"{retention.name_of(spec)} {kept}"
        old = [day for day in lake.days(spec.name) if day < today - timedelta(days=kept)]
        needed = _needed(lake, settings, spec, old, staying) | _held(spec, old, holds)
        held += _held_in_words(spec.name, needed)
        gone = [day for day in old if day not in needed]
        staying[spec.name] = [day for day in lake.days(spec.name) if day not in set(gone)]
        if gone:
            steps.append(Step("delete days", spec.name, tuple(gone), _size(lake, spec, gone), why))
    for table in (*_RAW, *further_sources(lake)):
        found, needed = _raw(lake, retention, today, table, staying)
        steps += found
        held += _held_in_words(f"raw/{table.name}", needed)
    steps += _read_logs(lake, retention, today)
    return Plan(tuple(steps), tuple(held))


def _require_past(lake: Lake, today: date) -> None:
    """A clock that is years ahead, or data of years ago, would let go of everything."""
    published = [day for name in SPECS for day in lake.days(name)]
    raw = [day for table in _RAW for day in source_days(lake, table).days]
    newest = max(published or raw, default=None)
    if newest and (today - newest).days > 366:
        raise SettingsError(
            f"retention: today is {today} and the newest {'published' if published else 'raw'} "
            f"day {newest}; expected less than a year between them, since nearly all would go. "
            "Correct the clock, or publish newer days first."
        )


def _needed(
    lake: Lake,
    settings: Settings,
    spec: TableSpec,
    old: Sequence[date],
    staying: Mapping[str, list[date]],
) -> dict[date, str]:
    """Old days of the table from which days of other tables that stay are built."""
    needed: dict[date, str] = {}
    published = lake.days(spec.name)
    for reader in SPECS.values():
        for upstream in reader.built_from.upstream:
            if upstream.name != spec.name:
                continue
            days = staying.get(reader.name, [])
            for day in old:
                reads = upstream.has_day and day in days
                looked_at = readers_of(settings, upstream, days, published, [day])
                if reads or (upstream.looks_back and looked_at):
                    needed.setdefault(day, f"days of {reader.name} that stay are built from them")
    return needed


def _held(spec: TableSpec, old: Sequence[date], holds: Sequence[Hold]) -> dict[date, str]:
    held: dict[date, str] = {}
    for hold in holds:
        is_meant = hold.table == spec.name or (hold.table is None and spec.kept == "training")
        for day in set(old) & set(hold.days) if is_meant else ():
            held.setdefault(day, f"{hold.why} needs them")
    return held


def _held_in_words(name: str, needed: Mapping[date, str]) -> list[Held]:
    reasons = sorted(set(needed.values()))
    return [
        Held(name, tuple(sorted(day for day in needed if needed[day] == why)), why)
        for why in reasons
    ]


def _size(lake: Lake, spec: TableSpec, days: Iterable[date]) -> int:
    files = lake.snapshot(spec.name).files
    return sum(file.size for day in days for file in files[day])


# --- raw ------------------------------------------------------------------------------------------


def _raw(
    lake: Lake,
    retention: RetentionSettings,
    today: date,
    table: Table,
    staying: Mapping[str, list[date]],
) -> tuple[list[Step], dict[date, str]]:
    tables = roots_of(e.path.partition("/")[2] for e in lake.raw.list(table.name))
    if "" in tables:
        # Its days go by the hand that writes the Delta table: its log would still name the files.
        return [], {}
    last = today - timedelta(days=retention.keep_raw_days)
    sizes = raw_sizes(lake, table)
    # What lies in a flat file has no folder, and stays with the file.
    old = [day for day in source_days(lake, table).days if day < last and day in sizes]
    needed = {
        day: f"{spec.name} of these days stays and is built from them"
        for spec in SPECS.values()
        if table in spec.built_from.sources_in(lake)
        for day in set(old) & set(staying[spec.name])
    }
    gone = [day for day in old if day not in needed]
    steps = []
    if gone:
        why = f"keep_raw_days {retention.keep_raw_days}"
        bytes_ = sum(sizes[day] for day in gone)
        steps.append(Step("delete raw", table.name, tuple(gone), bytes_, why))
    if isinstance(lake.raw, LocalStore):
        cold = today - timedelta(days=retention.cold_after_days)
        hot = raw_sizes(lake, table, with_archive=False)
        for root in tables:
            hot.pop(layout_day(prefixes(table), root.partition("/")[0]) or date.min, None)
        days = [day for day in sorted(hot) if day < cold and day not in set(gone)]
        if days:
            why = f"cold_after_days {retention.cold_after_days}"
            bytes_ = sum(hot[day] for day in days)
            steps.append(Step("archive raw", table.name, tuple(days), bytes_, why))
    return steps, needed


def raw_sizes(lake: Lake, table: Table, *, with_archive: bool = True) -> dict[date, int]:
    """Bytes of each day of a raw table that has a folder of its own."""
    sizes: dict[date, int] = {}
    if isinstance(lake.raw, LocalStore):
        base = lake.raw.root / table.name
        for folder in base.iterdir() if base.is_dir() else ():
            if folder.is_dir() and not folder.is_symlink():
                _note(table, folder.name, 0, sizes)
        if with_archive:
            archive = archive_of(lake.raw, table.name)
            for day in archived_days(archive):
                bytes_ = sum(entry.size for entry in archive.list(f"{DAY_PREFIX}{day}"))
                sizes[day] = sizes.get(day, 0) + bytes_
    for entry in lake.raw.list(table.name):
        parts = entry.path.split("/")
        if len(parts) > 2:
            _note(table, parts[1], entry.size, sizes)
    return sizes


def _note(table: Table, folder: str, size: int, sizes: dict[date, int]) -> None:
    for prefix in prefixes(table):
        name = folder.replace(prefix, DAY_PREFIX, 1) if folder.startswith(prefix) else ""
        if day := day_of_folder(name):
            sizes[day] = sizes.get(day, 0) + size
            return


def _read_logs(lake: Lake, retention: RetentionSettings, today: date) -> list[Step]:
    last = today - timedelta(days=retention.keep_read_logs_days)
    sizes: dict[date, int] = {}
    for entry in lake.store.list(READ_LOGS):
        folder = entry.path.removeprefix(f"{READ_LOGS}/").partition("/")[0]
        if (day := day_of_folder(folder)) and day < last:
            sizes[day] = sizes.get(day, 0) + entry.size
    if not sizes:
        return []
    why = f"keep_read_logs_days {retention.keep_read_logs_days}"
    return [Step("delete logs", READ_LOGS, tuple(sorted(sizes)), sum(sizes.values()), why)]
