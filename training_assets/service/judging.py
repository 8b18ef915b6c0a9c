"""Judges a body row by row, with the platform's own reader and rules, and keeps the verdict.

What the service accepts is exactly what the platform reads, since one code judges both.
"""

import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from training_assets.errors import TrainingAssetsError
from training_assets.schemas import SHOP_TABLES, Table
from training_assets.service.bodies import Body
from training_assets.service.duplicates import UNIQUE, SeenIds
from training_assets.service.landing import Filing, Landing, WrittenFile, rows_by_day
from training_assets.service.problems import Problem
from training_assets.service.rejects import RejectedRows
from training_assets.service.settings import ServiceSettings
from training_assets.service.shapes import Format, format_of, require_shape
from training_assets.sources import printable
from training_assets.sources.judged import Fault, Judged, judge
from training_assets.sources.rules import judge_rows

MAX_ERRORS: Final = 1000
MAX_VALUE: Final = 100
WARNINGS: Final = frozenset({"unknown_column"})
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


def judge_body(body: Body, data_type: str, settings: ServiceSettings) -> Verdict:
    """Judge and keep nothing; raises ``Problem`` for a body that cannot be read at all."""
    found = _checked_format(body, settings)
    verdict = Verdict(found)
    for _ in _judged(body, found, data_type, verdict, settings):
        pass
    return _whole(verdict)


def judge_documents(
    documents: Sequence[bytes],
    data_type: str,
    settings: ServiceSettings,
    now: datetime | None = None,
    tables: list[pa.Table] | None = None,
    *,
    refuses_repeated: bool = True,
    told: Callable[[int, str], None] | None = None,
) -> tuple[Verdict, list[int]]:
    """Judge JSON objects, one a row, as they would be in a file of lines.

    Also the numbers of the good ones, from 1; their rows are appended to ``tables``, and ``told``
    is told of each fault its row and code.
    """
    content = b"\n".join(one.replace(b"\n", b" ").replace(b"\r", b" ") for one in documents)
    file = io.BytesIO(content + b"\n")
    body = Body(file, len(content), len(content), "")
    verdict, numbers = Verdict("jsonl"), []
    for rows, own, faults in _judged(
        body, "jsonl", data_type, verdict, settings, now, refuses_repeated=refuses_repeated
    ):
        numbers += own.to_pylist()
        if told is not None:
            for fault in faults:
                told(fault.row, fault.code)
        if tables is not None:
            tables.append(rows)
    return _whole(verdict), numbers


@contextmanager
def landed_body(
    body: Body,
    data_type: str,
    upload_id: str,
    filing: Filing,
    settings: ServiceSettings,
    *,
    keeps_rejects: bool,
) -> Iterator[Verdict]:
    """The verdict with its rows in files on this machine's disk, which go at the end."""
    found = _checked_format(body, settings)
    verdict = Verdict(found)
    with tempfile.TemporaryDirectory(dir=settings.spool or None, prefix="upload-") as folder:
        landing = Landing(Path(folder), filing, upload_id, settings.max_days)
        rejected = RejectedRows(Path(folder))
        for rows, numbers, faults in _judged(body, found, data_type, verdict, settings):
            landing.add(rows, numbers)
            if keeps_rejects:
                rejected.add(faults)
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
    now: datetime | None = None,
    *,
    refuses_repeated: bool = True,
) -> Iterator[tuple[pa.Table, pa.Array, list[Fault]]]:
    """Blocks of valid rows, their numbers and the faults of others; counts them."""
    body.file.seek(0)
    now = now or datetime.now(UTC)
    seen = SeenIds() if refuses_repeated else None
    try:
        for block in judge(body.file, table_of(data_type), found, threads=settings.threads):
            rows, numbers, broken = _by_the_rules(block, data_type, now, seen)
            faults = sorted([*block.faults, *broken], key=lambda fault: fault.row)
            verdict.accepted += len(rows)
            verdict.rejected += _count(faults, verdict)
            verdict.rows = verdict.accepted + verdict.rejected
            if verdict.rows > settings.max_rows:
                raise Problem("too_large", f"There are more than {settings.max_rows} rows.")
            yield rows, pa.array(numbers, pa.int64()), faults
    except TrainingAssetsError as error:
        raise Problem("unreadable", printable(str(error))) from None


def _by_the_rules(
    block: Judged, data_type: str, now: datetime, seen: SeenIds | None
) -> tuple[pa.Table, np.ndarray, list[Fault]]:
    """Of rows that can be read those that keep the rules, their numbers, and what others break."""
    rows, numbers = block.rows, np.asarray(block.numbers)
    broken: list[tuple[int, str, Any, str, Any]] = [
        (one.row, one.column, one.code, one.message, one.value)
        for one in judge_rows(data_type, rows, now=now)
        if one.severity == "error"
    ]
    if seen is not None:
        column = UNIQUE[data_type]
        again = np.flatnonzero(seen.repeated(rows[column]))
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


def _line(block: Judged, place: int) -> int | None:
    return int(block.lines[place]) if len(block.lines) else None


def _count(faults: Iterable[Fault], verdict: Verdict) -> int:
    """Add to the verdict's counts and errors; the number of rows that are refused."""
    rows = set()
    for fault in faults:
        if fault.code in WARNINGS:
            verdict.warnings[fault.column or "", fault.code] += 1
            continue
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
