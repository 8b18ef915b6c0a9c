"""Which days a command is about, and which of them are to be built."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from training_assets.errors import SettingsError
from training_assets.lake import day_range, days_in_words
from training_assets.provenance import Provenance, window_days
from training_assets.schemas import RAW_INTERACTIONS, RAW_TABLES, Table
from training_assets.sources import action_sources, further_sources
from training_assets.tables import SPECS, TableSpec

_DEFAULT_DAYS: Final = 14
_ALL: Final = tuple(SPECS.values())


@dataclass(frozen=True)
class Plan:
    """What a run has to build: days of single tables first, then days of all its tables.

    ``before`` are days of the look-back of ``days``, by the table that is read.
    """

    before: tuple[tuple[TableSpec, tuple[date, ...]], ...]
    days: tuple[date, ...]


def span(first: date, last: date) -> list[date]:
    """All days of a range as it was asked for; raises ``SettingsError`` for one that is none."""
    if last < first:
        raise SettingsError(
            f"--start-date: {first} is after --end-date {last}; expected it not to be. Swap them."
        )
    return day_range(first, last)


def last_partition() -> date:
    """The last day that is over everywhere a day is counted in UTC: yesterday."""
    return datetime.now(UTC).date() - timedelta(days=1)


def requested_days(
    provenance: Provenance, asked_by: Table, start: date | None, end: date | None
) -> list[date]:
    """From ``start`` to ``end``; by default the last 14 days up to the last raw day of a table.

    Where there is no such table at all, it is the last day of any source of actions.
    """
    over = last_partition()
    if end and end > over:
        raise SettingsError(
            f"--end-date: {end} is not over yet; expected {over} (UTC) at the latest. "
            "Name an earlier day, or none."
        )
    asked = [asked_by] if provenance.source_days(asked_by).days else _actions(provenance)
    near = {day for source in asked for day in provenance.source_days(source).near}
    shown = sorted(day for day in near if day <= over)
    if not shown and not (start and end):
        raise SettingsError(
            f"run: {provenance.lake.raw.uri(asked_by.name)} has no days up to {over}; expected one "
            f"folder dt=… a day. Deliver {asked_by.name}, or name --start-date and --end-date."
        )
    last = end or shown[-1]
    default = last - timedelta(days=_DEFAULT_DAYS - 1)
    first = start or max(default, min(shown[0], last) if shown else default)
    return span(first, last)


def _actions(provenance: Provenance) -> list[Table]:
    return [*action_sources(provenance.lake), RAW_INTERACTIONS]


def left_out_days(provenance: Provenance) -> list[str]:
    """A sentence for each raw table with days that no run without dates looks at."""
    over, sentences = last_partition(), []
    for source in _raw_tables(provenance):
        found = provenance.source_days(source)
        if early := [day for day in found.near if day > over]:
            sentences.append(
                f"raw/{source.name}: {days_in_words(early)} is not over yet; left for later"
            )
        if found.far:
            sentences.append(
                f"raw/{source.name}: {days_in_words(found.far)} is far from all other days; "
                "left out, and nothing begins there"
            )
    return sentences


def absent_sources(provenance: Provenance) -> list[str]:
    """Raw tables without any day, which count as absent."""
    return [s.name for s in _raw_tables(provenance) if not provenance.source_days(s).days]


def _raw_tables(provenance: Provenance) -> tuple[Table, ...]:
    return (*RAW_TABLES.values(), *further_sources(provenance.lake))


def plan_run(
    provenance: Provenance,
    days: Sequence[date],
    *,
    force: bool,
    specs: Sequence[TableSpec] = _ALL,
) -> Plan:
    """What must be built so that the tables, by default all, are up to date on the days."""
    before = [
        (spec, tuple(stale))
        for spec, looked_back in _needed_before(provenance, days, specs)
        if (stale := provenance.outdated(spec.built_from, looked_back))
    ]
    if force or before:
        return Plan(tuple(before), tuple(days))
    of_table = {spec.name: provenance.outdated(spec.built_from, days) for spec in specs}
    wanted = {day for found in of_table.values() for day in found}
    read = {u.name for spec in specs for u in spec.built_from.upstream if u.looks_back}
    for name in read & of_table.keys():
        if outdated := of_table[name]:
            # Later days read these; whether they differ is known only after the build.
            wanted |= {day for day in days if day > outdated[0]}
    return Plan((), tuple(sorted(wanted)))


def _needed_before(
    provenance: Provenance, days: Sequence[date], specs: Sequence[TableSpec]
) -> list[tuple[TableSpec, list[date]]]:
    """What is looked back to, what that is made of, and all deliveries of what accumulates."""
    found = {spec.name: before for spec, before in _look_backs(provenance, days, specs)}
    for name in list(found):
        for upstream in SPECS[name].built_from.upstream:
            if upstream.of.days == "from first":
                found[upstream.name] = sorted({*found.get(upstream.name, []), *found[name]})
    for spec in specs:
        if spec.built_from.days == "delivered":
            known = [provenance.source_days(s).near for s in provenance.sources_of(spec.built_from)]
            found[spec.name] = sorted({day for near in known for day in near if day < days[0]})
    return [(spec, found[name]) for name, spec in SPECS.items() if name in found]


def _look_backs(
    provenance: Provenance, days: Sequence[date], specs: Sequence[TableSpec]
) -> list[tuple[TableSpec, list[date]]]:
    """Tables that others look back to, and their days before ``days`` that these look back to."""
    read = {
        upstream.name
        for spec in specs
        for upstream in spec.built_from.upstream
        if upstream.looks_back and not upstream.is_optional
    }
    found = []
    for spec in (spec for name, spec in SPECS.items() if name in read):
        expected = provenance.expected_days(spec.built_from, days[0])
        found.append((spec, window_days(provenance.settings, expected, days[0])))
    return found
