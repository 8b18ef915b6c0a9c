"""The rows of training_input against customer_history, which has checks of its own.

Each history is judged by its shape and padded on the workers anew. A row that is equal to it is
right in length, padding, content and order; any other is charged to the first check that it breaks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

from training_assets.checks.compare_rows import (
    GROUPS_DDL,
    HOLES,
    JUDGED_DDL,
    LENGTH,
    MISORDERED,
    NUM_EXAMPLES,
    WRONG,
    judge_rows,
)
from training_assets.checks.context import CheckContext, CheckOutcome
from training_assets.checks.structure import facts_of, outcomes_on_rows
from training_assets.schemas import CUSTOMER_HISTORY


def check_rows_length(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows whose arrays are not exactly ``history_length`` long."""
    limit = context.settings.history_length
    return _outcomes(context, LENGTH, f"arrays that are not exactly {limit} long")


def check_rows_padding(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows with zeros, nulls or unknown types before the padding, or anything else in it."""
    problem = "a zero, a null or an unknown type before the padding, or something else in it"
    return _outcomes(context, HOLES, problem)


def check_rows_leakage(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows that carry other actions than the history of their customer and day."""
    return _outcomes(context, WRONG, "other actions than the history of their customer and day")


def check_rows_order(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Rows that carry the right actions in another order."""
    return _outcomes(context, MISORDERED, "the right actions in the wrong order")


@dataclass
class _Finding:
    rows: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    examples: dict[str, set[int]] = field(default_factory=dict)

    def add(self, kind: str, rows: int, examples: list[int]) -> None:
        self.rows += rows
        self.broken[kind] = self.broken.get(kind, 0) + rows
        self.examples.setdefault(kind, set()).update(examples)

    def examples_of(self, kind: str) -> str:
        return ", ".join(map(str, sorted(self.examples[kind])[:NUM_EXAMPLES]))


def _outcomes(context: CheckContext, kind: str, problem: str) -> dict[date, CheckOutcome]:
    found = _findings(context)
    counts = {day: (f.rows, f.broken.get(kind, 0)) for day, f in found.items()}
    outcomes = outcomes_on_rows(counts, problem)
    for day, outcome in outcomes.items():
        if not outcome.passed:
            customers = found[day].examples_of(kind)
            text = f"{outcome.message[:-1]}, for example of customers {customers}."
            outcomes[day] = CheckOutcome(False, outcome.metrics, text)
    return outcomes


def _findings(context: CheckContext) -> dict[date, _Finding]:
    """All four checks speak of one comparison, made once."""
    if "rows" not in context.memo:
        context.memo["rows"] = _judge(context)
    found: dict[date, _Finding] = context.memo["rows"]
    return found


def _judge(context: CheckContext) -> dict[date, _Finding]:
    histories = context.files(CUSTOMER_HISTORY, context.days)
    groups: list[tuple[int, date, str, int]] = []
    for day, facts in facts_of(context).items():
        for file in facts:
            groups += [(len(groups) + n, day, file.uri, n) for n in range(file.row_groups)]
    found = {day: _Finding() for day in context.days}
    if not groups:
        return found
    length = context.settings.history_length

    def judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return judge_rows(batches, histories, length)

    judged = context.on_workers(groups, GROUPS_DDL, len(groups), judge, JUDGED_DDL)
    for day, kind, rows, examples in judged.collect():
        found[day].add(kind, rows, examples)
    return found
