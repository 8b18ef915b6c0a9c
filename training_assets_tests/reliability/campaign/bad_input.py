"""Campaign: every kind of bad input, through the real pipeline, against a brute-force reference.

Each kind is planted by itself into a small lake whose days are published; see ``planting.py``.
Then EVE, which has the fault, and DAY, which has none, are built in one range, and it is measured
what came of it:

- published: the rows of every table are those of ``support/reference.py``, and each
  planted row that is not among them is in the quarantine, with its reason, file and content;
- refused: an error names the file or folder and the problem, EVE is byte for byte what it was, and
  DAY is published. Only where it cannot be told to which day something belongs, DAY is refused too.

How often a kind was tried counts its raw tables and formats.
"""

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from training_assets.engine import spark_session
from training_assets.lake import Lake, Snapshot
from training_assets.list_format import SealedParquet
from training_assets.pipeline import DayReport, build_days
from training_assets.schemas import (
    ACTION_SOURCES,
    ACTION_TYPES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings
from training_assets_tests.reliability.campaign import bad_files, bad_values
from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.reliability.campaign.planting import (
    DAY,
    EVE,
    FIRST,
    Kind,
    Plant,
    base_rows,
    write_base,
)
from training_assets_tests.support import reference
from training_assets_tests.support.raw_input import Row
from training_assets_tests.support.tables import SEQUENCE

CAMPAIGN = "bad_input"
_LENGTH, _LOOKBACK = 6, 20
_CODES = dict(zip((source.name for source in ACTION_SOURCES), ACTION_TYPES, strict=False))


def kinds() -> Iterator[Kind]:
    yield from bad_files.file_kinds()
    yield from bad_files.place_kinds()
    yield from bad_files.line_kinds()
    yield from bad_files.flat_kinds()
    yield from bad_files.day_kinds()
    yield from bad_values.column_kinds()
    yield from bad_values.nested_kinds()
    yield from bad_values.id_kinds()
    yield from bad_values.time_kinds()


def run(scratch: Path, seed: int, times: int, only: str = "") -> list[Outcome]:
    """One outcome per kind. What is planted is fixed, so ``seed`` and ``times`` change nothing."""
    with spark_session("sail") as spark:
        return try_all(spark, scratch, [kind for kind in kinds() if only in kind.name])


def try_all(spark: SparkSession, scratch: Path, chosen: Iterable[Kind]) -> list[Outcome]:
    template = scratch / "template"
    write_base(template, "old", [FIRST, EVE, DAY])
    for report in _build(spark, template, [FIRST, EVE, DAY]):
        assert report.problem is None, report.problem
    outcomes = []
    for kind in chosen:
        outcomes.append(_try(spark, template, scratch / "tried", kind))
        print(_line(outcomes[-1]), flush=True)
    return outcomes


def _line(outcome: Outcome) -> str:
    return f"{outcome.kind} ×{outcome.times}: {outcome.result}"


def _settings(root: Path) -> Settings:
    # Here most rows of a day may be bad, and the day is to be published all the same.
    return Settings(
        lake=str(root), history_length=_LENGTH, lookback_days=_LOOKBACK, min_valid_share=0
    )


def _build(spark: SparkSession, root: Path, days: Sequence[date]) -> list[DayReport]:
    return list(build_days(spark, Lake.at(root), _settings(root), list(SEQUENCE.values()), days))


@dataclass
class _Measured:
    """What was found in one lake; ``odd`` says what is not as promised."""

    words: str = ""
    lost_rows: int = 0
    torn_days: int = 0
    odd: list[str] = field(default_factory=list)


def _try(spark: SparkSession, template: Path, scratch: Path, kind: Kind) -> Outcome:
    groups = [[plant] for plant in kind.plants] if kind.error else [list(kind.plants)]
    found = []
    for plants in groups:
        shutil.rmtree(scratch, ignore_errors=True)
        root = scratch / "lake"
        shutil.copytree(template, root, symlinks=True)
        found.append(_measure(spark, root, kind, plants))
    odd = sorted({text for one in found for text in one.odd})
    words = found[0].words if not odd else f"NOT AS PROMISED: {'; '.join(odd)[:600]}"
    return Outcome(
        CAMPAIGN,
        kind.name,
        len(kind.plants),
        words,
        sum(one.lost_rows for one in found),
        sum(one.torn_days for one in found),
    )


def _measure(spark: SparkSession, root: Path, kind: Kind, plants: list[Plant]) -> _Measured:
    write_base(root, "new", [EVE, DAY])
    for plant in plants:
        plant.act(root)
    before = {(t, day): _files_of(root, t, day) for t in SEQUENCE for day in (EVE, DAY)}
    with ExitStack() as stack:
        for plant in plants:
            stack.enter_context(plant.meddle(root))
        reports = {(r.table, r.day): r for r in _build(spark, root, [EVE, DAY])}
    measured = _Measured()
    refused = _refused(kind, plants) if kind.error else set()
    for key, report in reports.items():
        if (key in refused) != (report.problem is not None):
            measured.odd.append(f"{key[0]} of {key[1]}: {report.problem or 'was published'}")
    if kind.error:
        _judge_error(kind, reports, refused, root, measured)
    expected = _expected_rows(plants, refused)
    for table, day in reports:
        if (table, day) in refused:
            is_whole = _files_of(root, table, day) == before[table, day]
        else:
            is_whole = _rows_of(Lake.at(root), table, day) == expected[table, day]
        if not is_whole:
            measured.torn_days += 1
            measured.odd.append(f"{table} of {day} is neither the old nor the new day")
    if not kind.error:
        _judge_rows(plants, Lake.at(root), measured)
    return measured


def _refused(kind: Kind, plants: Iterable[Plant]) -> set[tuple[str, date]]:
    days = (EVE, DAY) if kind.stops_all_days else (EVE,)
    tables = [UNIFIED_ACTIONS]
    if any(plant.table is IMPRESSIONS for plant in plants):
        tables = [CUSTOMER_HISTORY, TRAINING_INPUT]
    return {(table.name, day) for table in tables for day in days}


def _judge_error(
    kind: Kind,
    reports: dict[tuple[str, date], DayReport],
    refused: set[tuple[str, date]],
    root: Path,
    measured: _Measured,
) -> None:
    """The first table's error names the problem; training input says that its history failed."""
    problem = next(reports[key].problem for key in reports if key in refused) or ""
    missing = [words for words in kind.error if words not in problem]
    if missing or "Error: " in problem or "\n" in problem:
        measured.odd.append(f"unclear error: {problem}")
    text = problem.replace(f"{root}/", "").replace(str(root.parent), "/tmp")
    others = "so does the other one" if kind.stops_all_days else "the other one is published"
    measured.words = f"day refused, stands as it was; {others}: “{_short(text)}”"


def _short(text: str) -> str:
    return re.sub(r"\s+", " ", text)[:240]


def _judge_rows(plants: list[Plant], lake: Lake, measured: _Measured) -> None:
    """Rows in = rows in the table + rows set aside, and those with what they need."""
    reasons: Counter[str] = Counter()
    num_valid = 0
    for source in (*ACTION_SOURCES, IMPRESSIONS):
        of_source = [plant for plant in plants if plant.table is source]
        aside = _quarantined(lake, source)
        rows = [] if any(p.replaces for p in of_source) else base_rows("new", EVE)[source.name]
        rows = [*rows, *(row for plant in of_source for row in plant.valid)]
        expected = [reason for plant in of_source for reason in plant.reasons]
        have, want = _table_rows(lake, source) + len(aside), _rows_in(source, rows) + len(expected)
        measured.lost_rows += max(want - have, 0)
        if have > want:
            measured.odd.append(f"{have - want} rows of {source.name} more than came in")
        if Counter(row["reason"] for row in aside) != Counter(expected):
            found = sorted(Counter(row["reason"] for row in aside).items())
            measured.odd.append(f"set aside of {source.name}: {found}")
        for row in aside:
            if not row["source_file"].startswith(f"raw/{source.name}/") or not row["content"]:
                measured.odd.append(f"set aside without its file or content: {row}")
        reasons.update(expected)
        num_valid += sum(_rows_in(source, plant.valid) for plant in of_source)
    count = reasons.total()
    names = ", ".join(sorted({re.sub(r"^(customer|item|config)_id ", "", r) for r in reasons}))
    aside_words = f"{count} in the quarantine ({names})" if count else "nothing to set aside"
    measured.words = f"published: {num_valid} rows equal the reference, {aside_words}"


def _rows_in(source: Table, rows: Sequence[Row]) -> int:
    if source is IMPRESSIONS:
        return sum(len(row["impressions"] or []) for row in rows)
    return len(rows)


def _table_rows(lake: Lake, source: Table) -> int:
    """Rows of EVE's table that come from one raw table."""
    if source is IMPRESSIONS:
        return len(_read(lake, TRAINING_INPUT.name, EVE))
    rows = _read(lake, UNIFIED_ACTIONS.name, EVE)
    return sum(row["action_type"] == _CODES[source.name] for row in rows)


def _quarantined(lake: Lake, source: Table) -> list[Row]:
    owner = TRAINING_INPUT if source is IMPRESSIONS else UNIFIED_ACTIONS
    snapshot = lake.snapshot(owner.name)
    entries = snapshot.store.list(f"{snapshot.quarantine_path(EVE)}/source={source.name}")
    return _rows_in_files(snapshot.store.uri(entry.path) for entry in entries)


# --- what the tables must hold --------------------------------------------------------------------


def _expected_rows(
    plants: list[Plant], refused: set[tuple[str, date]]
) -> dict[tuple[str, date], list[Any]]:
    new = {day: base_rows("new", day) for day in (EVE, DAY)}
    for table in {plant.table for plant in plants if plant.replaces}:
        new[EVE][table.name] = []
    for plant in plants:
        new[EVE][plant.table.name] += plant.valid
    for day in new:
        if (UNIFIED_ACTIONS.name, day) in refused:
            new[day] |= {s.name: base_rows("old", day)[s.name] for s in ACTION_SOURCES}
    by_day = {FIRST: base_rows("old", FIRST), **new}
    actions = {
        name: [row for rows in by_day.values() for row in rows[name]]
        for name in ("clicks", "add_to_carts", "previous_orders")
    }
    unified = reference.unified_actions(**actions)
    rankings = [row for day in new for row in by_day[day]["impressions"]]
    shown = reference.training_input(rankings, *actions.values(), _LENGTH, _LOOKBACK)
    expected: dict[tuple[str, date], list[Any]] = {}
    for day in new:
        expected[UNIFIED_ACTIONS.name, day] = _sorted(a[1:] for a in unified if a.day == day)
        rows = [row for row in shown if row[0] == str(day)]
        expected[TRAINING_INPUT.name, day] = _sorted(rows)
        expected[CUSTOMER_HISTORY.name, day] = _sorted(
            {(row[1], tuple(filter(None, row[5])), tuple(filter(None, row[6]))) for row in rows}
        )
    return expected


def _rows_of(lake: Lake, table: str, day: date) -> list[Any]:
    rows = _read(lake, table, day)
    if table == UNIFIED_ACTIONS.name:
        names = ("customer_id", "item_id", "action_type", "occurred_at")
        return _sorted(tuple(row[name] for name in names) for row in rows)
    if table == CUSTOMER_HISTORY.name:
        lists = ("action_items", "action_types")
        return _sorted((row["customer_id"], *(tuple(row[n]) for n in lists)) for row in rows)
    return _sorted((str(day), *row.values()) for row in rows)


def _sorted(rows: Iterable[Any]) -> list[Any]:
    return sorted(rows, key=repr)


def _read(lake: Lake, table: str, day: date) -> list[Row]:
    return _rows_in_files(lake.snapshot(table).uris(day))


def _rows_in_files(uris: Iterable[str]) -> list[Row]:
    return [row for uri in uris for row in SealedParquet(uri).read().to_pylist()]


def _files_of(root: Path, table: str, day: date) -> tuple[Any, ...]:
    """What is published of a day, which its files' names tell: none is ever written again."""
    snapshot: Snapshot = Lake.at(root).snapshot(table)
    return snapshot.files.get(day, ())
