"""What can be seen in files alone: that they are whole, as declared, and the shape of arrays.

A row is charged to the first check that it breaks, in the order length, padding, leakage, order,
so that one fault is one failed check.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

import pyarrow as pa

from training_assets.checks.context import CheckContext, CheckOutcome
from training_assets.checks.facts import FACTS_DDL, Facts, examine

_MAX_SHOWN: Final = 5


def check_schema(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """The day's files are the bytes that were written, with the columns of ``schemas``."""
    return {day: _schema_outcome(day, facts) for day, facts in facts_of(context).items()}


def check_history_length(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Histories whose arrays differ in length, or are longer than ``history_length``."""
    limit = context.settings.history_length
    counts = {
        day: (sum(f.rows for f in facts), sum(f.wrong_lengths for f in facts))
        for day, facts in facts_of(context).items()
    }
    return outcomes_on_rows(counts, f"arrays that are not equal and within 0..{limit}")


def check_history_padding(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Histories with a zero, a null or an unknown type in them."""
    counts = {
        day: (sum(f.rows for f in facts), sum(f.holes for f in facts))
        for day, facts in facts_of(context).items()
    }
    return outcomes_on_rows(counts, "a zero, a null or an unknown type in their arrays")


def facts_of(context: CheckContext) -> dict[date, list[Facts]]:
    """Facts of each file of the days, which are read once for all checks and metrics."""
    known: dict[date, list[Facts]] = context.memo.setdefault("facts", {})
    if missing := [day for day in context.days if day not in known]:
        known |= _examine(context, missing)
    return {day: known[day] for day in context.days}


def _examine(context: CheckContext, days: list[date]) -> dict[date, list[Facts]]:
    table, length = context.table, context.settings.history_length

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return examine(batches, table, length)

    found: dict[date, list[Facts]] = {day: [] for day in days}
    rows = context.on_files(table, days, work, FACTS_DDL).collect()
    for row in sorted(rows, key=lambda row: str(row["uri"])):
        found[row["dt"]].append(Facts(*row))
    return found


def outcomes_on_rows(
    counts: Mapping[date, tuple[int, int]], problem: str
) -> dict[date, CheckOutcome]:
    """Verdicts from (rows, broken rows) by day; ``problem`` completes "N of M rows have …"."""
    outcomes = {}
    for day, (rows, broken) in counts.items():
        text = f"{broken} of {rows} rows on {day} have {problem}." if broken else ""
        outcomes[day] = CheckOutcome(not broken, {"rows": rows, "broken_rows": broken}, text)
    return outcomes


def _schema_outcome(day: date, facts: list[Facts]) -> CheckOutcome:
    problems = [problem for file in facts for problem in file.problems]
    if not facts:
        problems = ["there is no Parquet file"]
    metrics = {"files": len(facts), "differences": len(problems)}
    text = f"On {day}: {'; '.join(problems[:_MAX_SHOWN])}." if problems else ""
    return CheckOutcome(not problems, metrics, text)
