"""Judges a body row by row, with the platform's own reader and rules, and keeps the verdict.

What the service accepts is exactly what the platform reads, since one code judges both.
"""

import tempfile
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pyarrow as pa

from training_assets.errors import TrainingAssetsError
from training_assets.schemas import SHOP_TABLES, Table
from training_assets.service.bodies import Body
from training_assets.service.duplicates import UNIQUE, SeenIds, SeenTogether
from training_assets.service.known_names import kept
from training_assets.service.landing import Filing, Landing, WrittenFile, rows_by_day
from training_assets.service.problems import Problem
from training_assets.service.rejects import RejectedRows
from training_assets.service.settings import ServiceSettings
from training_assets.service.shapes import Format, format_of, require_shape
from training_assets.service.terms import PLAIN, Deliveries
from training_assets.sources import printable
from training_assets.sources.cleaning import as_read
from training_assets.sources.judged import Code, Fault, Judged, judge, judge_of_objects
from training_assets.sources.rules import Terms, judge_rows

MAX_ERRORS: Final = 1000
MAX_VALUE: Final = 100
TIME_COLUMNS: Final = {"interactions": "timestamp"}


@dataclass
class Verdict:
    """What became of the rows of a body; ``errors`` are the first ``MAX_ERRORS``."""

    format: Format
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    warnings: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: list[dict[str, Any]] = field(default_factory=list)
    files: list[WrittenFile] = field(default_factory=list)
    rejects: list[Path] = field(default_factory=list)

    def warn(self, ignored: Sequence[str]) -> None:
        """Tell of columns that nothing reads."""
        for name in ignored[:MAX_ERRORS]:
            self.warnings[printable(name)[:MAX_VALUE], "unknown_column"] += 1

    @property
    def days(self) -> dict[str, int]:
        return rows_by_day(self.files)

    @property
    def report(self) -> dict[str, Any]:
        """As a client sees it."""
        return {
            "rows": self.rows,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "counts": counted(self.counts),
            "warnings": counted(self.warnings),
            "errors": self.errors,
            "truncated": sum(self.counts.values()) > len(self.errors),
        }


def counted(counts: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    """Counts by column and code, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [{"column": column, "code": code, "count": n} for (column, code), n in ordered]


def table_of(data_type: str) -> Table:
    """Raises ``Problem`` 404 with the known ones."""
    table = SHOP_TABLES.get(data_type)
    if table is None:
        raise Problem(
            "unknown_data_type",
            "The data type is unknown; expected one of those known.",
            known=sorted(SHOP_TABLES),
        )
    return table


def judge_body(
    body: Body, data_type: str, settings: ServiceSettings, by: Deliveries = PLAIN
) -> Verdict:
    """Judge and keep nothing; raises ``Problem`` for a body that cannot be read at all."""
    found = _checked_format(body, settings)
    verdict = Verdict(found)
    for _ in _judged(body, found, data_type, verdict, settings, by, SeenIds()):
        pass
    return _whole(verdict)


class Ruled(NamedTuple):
    """Valid rows, their numbers, and what is wrong with the others."""

    rows: pa.Table
    numbers: np.ndarray
    faults: list[Fault]


class Documents(NamedTuple):
    """Rows, and all names of its objects: those of the table where they mean it.

    A row is an object as JSON has it, or the text of what may be one.
    """

    rows: Sequence[dict[str, Any] | bytes]
    names: Collection[str]


def judge_documents(
    documents: Documents,
    data_type: str,
    by: Deliveries = PLAIN,
    now: datetime | None = None,
    seen: SeenIds | SeenTogether | None = None,
) -> Ruled:
    """Judge rows as in a file of lines; raises ``Problem`` where none of them can be judged."""
    # Each is a line of its own, and a blank one would be none.
    rows = [row if isinstance(row, dict) else _in_line(row) for row in documents.rows]
    now = now or datetime.now(UTC)
    with _told():
        judged = _of_objects(data_type, tuple(documents.names), by.time_zone)
        return _ruled(judged(rows), data_type, now, by.terms, seen)


@kept
def _of_objects(
    data_type: str, names: tuple[str, ...], time_zone: str
) -> Callable[[Sequence[dict[str, Any] | bytes]], Judged]:
    return judge_of_objects(table_of(data_type), names, time_zone=time_zone)


def _in_line(text: bytes) -> bytes:
    line = text.replace(b"\n", b" ").replace(b"\r", b" ")
    return line if line.strip() else b"null"


def judge_together(
    requests: Sequence[Documents], data_type: str, by: Deliveries = PLAIN
) -> list[tuple[Verdict, list[int]]]:
    """Judge the documents of several requests at once; of each its verdict and its good rows.

    Numbers are from 1 in each request. What it takes hardly grows with the number of rows.
    """
    stops = np.cumsum([1, *(len(one.rows) for one in requests)]).tolist()
    starts = stops[:-1]
    together = Documents(
        [row for one in requests for row in one.rows],
        dict.fromkeys(chain.from_iterable(one.names for one in requests)),
    )
    ruled = judge_documents(together, data_type, by, seen=SeenTogether(starts))
    broken: dict[int, list[Fault]] = defaultdict(list)
    for fault in ruled.faults:
        owner = bisect_right(starts, fault.row) - 1
        row = fault.row - starts[owner] + 1
        broken[owner].append(fault._replace(row=row, line=row))
    places = np.searchsorted(ruled.numbers, stops).tolist()
    known = set(table_of(data_type).column_names)
    found = []
    for owner, (one, start) in enumerate(zip(requests, starts, strict=True)):
        good = ruled.numbers[places[owner] : places[owner + 1]]
        verdict = Verdict("jsonl", accepted=len(good))
        if owner in broken:
            verdict.rejected = _count(broken[owner], verdict)
        verdict.rows = verdict.accepted + verdict.rejected
        verdict.warn([name for name in one.names if name not in known])
        found.append((verdict, (good - (start - 1)).tolist()))
    return found


@contextmanager
def landed_body(
    body: Body,
    data_type: str,
    upload_id: str,
    filing: Filing,
    settings: ServiceSettings,
    by: Deliveries = PLAIN,
    *,
    keeps_rejects: bool,
) -> Iterator[Verdict]:
    """The verdict with its rows in files on this machine's disk, which go at the end."""
    found = _checked_format(body, settings)
    verdict = Verdict(found)
    with tempfile.TemporaryDirectory(dir=settings.spool or None, prefix="upload-") as folder:
        landing = Landing(Path(folder), filing, upload_id, settings.max_days)
        rejected = RejectedRows(Path(folder))
        for ruled in _judged(body, found, data_type, verdict, settings, by, SeenIds()):
            landing.add(ruled.rows, pa.array(ruled.numbers, pa.int64()))
            if keeps_rejects:
                rejected.add(ruled.faults)
        _whole(verdict)
        verdict.files = landing.finish()
        if keeps_rejects and verdict.accepted:
            verdict.rejects = rejected.finish(body.file, found)
        yield verdict


def _checked_format(body: Body, settings: ServiceSettings) -> Format:
    found = format_of(body)
    require_shape(body, found, settings)
    return found


def _judged(
    body: Body,
    found: Format,
    data_type: str,
    verdict: Verdict,
    settings: ServiceSettings,
    by: Deliveries,
    seen: SeenIds,
) -> Iterator[Ruled]:
    """What is in a body, block by block; counts it."""
    body.file.seek(0)
    now = datetime.now(UTC)
    with _told():
        for block in judge(
            body.file,
            table_of(data_type),
            found,
            time_zone=by.time_zone,
            threads=settings.threads,
            ignored=verdict.warn,
        ):
            ruled = _ruled(block, data_type, now, by.terms, seen)
            verdict.accepted += len(ruled.rows)
            verdict.rejected += _count(ruled.faults, verdict)
            verdict.rows = verdict.accepted + verdict.rejected
            if verdict.rows > settings.max_rows:
                raise Problem("too_large", f"There are more than {settings.max_rows} rows.")
            yield ruled


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except TrainingAssetsError as error:
        raise Problem("unreadable", for_clients(error)) from None


def _ruled(
    block: Judged, data_type: str, now: datetime, terms: Terms, seen: SeenIds | SeenTogether | None
) -> Ruled:
    rows, numbers, broken = _by_the_rules(block, data_type, now, terms, seen)
    found_too = _by_the_rules_too(block, data_type, now, terms)
    faults = sorted([*block.faults, *found_too, *broken], key=lambda fault: fault.row)
    return Ruled(rows, numbers, faults)


def for_clients(error: TrainingAssetsError) -> str:
    """What is wrong, without advice on files that a client has no part in."""
    found = printable(str(error))
    fault, ends, advice = found.rpartition("; expected ")
    expected, _, advice = advice.partition(". ")
    if not ends or "sources.toml" not in advice:
        return found
    how = "Send each column once, under the name that the table has, with commas between."
    return f"{fault}{ends}{expected}. {how}"


def _by_the_rules(
    block: Judged, data_type: str, now: datetime, terms: Terms, seen: SeenIds | SeenTogether | None
) -> tuple[pa.Table, np.ndarray, list[Fault]]:
    """Of rows that can be read those that keep the rules, their numbers, and what others break."""
    rows, numbers = block.rows, np.asarray(block.numbers)
    read = _as_read(rows, data_type, terms)
    broken: list[tuple[int, str, Any, str, Any]] = [
        (one.row, one.column, one.code, one.message, one.value)
        for one in judge_rows(data_type, read, now=now, terms=terms)
        if one.severity == "error"
    ]
    if seen is not None:
        column = UNIQUE[data_type]
        again = np.flatnonzero(seen.repeated(read[column], numbers))
        values = rows[column].take(pa.array(again)).to_pylist() if len(again) else []
        broken += [
            (place, column, "duplicate_id", "stands in an earlier row", value)
            for place, value in zip(again.tolist(), values, strict=True)
        ]
    if not broken:
        return rows, numbers, []
    is_good = np.ones(len(rows), bool)
    is_good[[place for place, *_ in broken]] = False
    faults = [
        Fault(int(numbers[place]), _line(block, place), column, code, f"{column} {phrase}", value)
        for place, column, code, phrase, value in broken
    ]
    return rows.filter(pa.array(is_good)), numbers[is_good], faults


def _as_read(rows: pa.Table, data_type: str, terms: Terms) -> pa.Table:
    """As a lake's reader has them; rows are judged so, and kept as they were delivered."""
    columns = {name: rows[name].combine_chunks() for name in rows.column_names}
    return pa.table(as_read(SHOP_TABLES[data_type], columns, terms))


def _by_the_rules_too(block: Judged, data_type: str, now: datetime, terms: Terms) -> list[Fault]:
    """What is wrong with other columns of rows that have one that cannot be read."""
    if not len(block.others):
        return []
    known = {(fault.row, fault.column) for fault in block.faults}
    lines = {fault.row: fault.line for fault in block.faults}
    found = []
    read = _as_read(block.others, data_type, terms)
    for one in judge_rows(data_type, read, now=now, terms=terms):
        row = int(block.other_numbers[one.row])
        if one.severity == "error" and (row, one.column) not in known:
            message = f"{one.column} {one.message}"
            code = cast(Code, one.code)
            found.append(Fault(row, lines[row], one.column, code, message, one.value))
    return found


def _line(block: Judged, place: int) -> int | None:
    return int(block.lines[place]) if len(block.lines) else None


def _count(faults: Iterable[Fault], verdict: Verdict) -> int:
    """Add to the verdict's counts and errors; the number of rows that are refused."""
    rows = set()
    for fault in faults:
        rows.add(fault.row)
        verdict.counts[fault.column or "", fault.code] += 1
        if len(verdict.errors) < MAX_ERRORS:
            verdict.errors.append(as_error(fault))
    return len(rows)


def as_error(fault: Fault) -> dict[str, Any]:
    """A fault as clients see it."""
    value = None if fault.value is None else printable(str(fault.value))[:MAX_VALUE]
    return {
        "row": fault.row,
        "line": fault.line,
        "column": fault.column,
        "code": fault.code,
        "message": printable(fault.message),
        "value": value,
    }


def _whole(verdict: Verdict) -> Verdict:
    if not verdict.rows:
        raise Problem("unreadable", "There are no rows.")
    return verdict
