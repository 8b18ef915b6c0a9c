"""The one place that runs checks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from training_assets.checks.context import Check, CheckContext, CheckOutcome, CheckResult
from training_assets.engine import require_engine
from training_assets.errors import TrainingAssetsError

# What a worker raised, in the stack trace that an engine makes of it.
_OURS: Final = re.compile(r"\b(?:DamagedFileError|SchemaError|RawDataError): (.*)")


def run_checks(
    context: CheckContext, checks: Sequence[Check], names: set[str] | None = None
) -> Iterator[CheckResult]:
    """The checks of the context's table on its days, or those of ``names``.

    A day whose schema is wrong cannot be read as declared, so only that check speaks of it. A
    check that cannot be made on a day, whatever the engine says, has failed there.
    """
    readable = context
    for check in checks:
        outcomes = _evaluate(check, readable)
        if names is None or check.name in names:
            for day, outcome in sorted(outcomes.items()):
                yield _result(check, day, outcome)
        if check.name == "schema":
            good = [day for day, outcome in outcomes.items() if outcome.passed]
            if not good:
                return
            if len(good) < len(context.days):
                readable = context.of_days(good)


def _result(check: Check, day: date, outcome: CheckOutcome) -> CheckResult:
    return CheckResult(
        check, day, outcome.passed, outcome.metrics, outcome.message, outcome.severity
    )


def _evaluate(check: Check, context: CheckContext) -> Mapping[date, CheckOutcome]:
    """The check's outcomes; one that cannot be reached for a day is a failure of that day."""
    try:
        return check.evaluate(context)
    except Exception as error:
        require_engine(context.spark, error)
        if len(context.days) == 1:
            day = context.days[0]
            return {day: CheckOutcome(False, {}, f"{day} cannot be checked: {_reason(error)}")}
        # One bad file fails a pass over many days: only then, day by day, to clear the others.
        alone = [_evaluate(check, context.alone(day)) for day in context.days]
        return {day: outcome for outcomes in alone for day, outcome in outcomes.items()}


def _reason(error: Exception) -> str:
    """The whole of a message of ours; of an engine's the first line, without its stack trace."""
    text = str(error).strip()
    if isinstance(error, TrainingAssetsError) or not text:
        return text or type(error).__name__
    found = _OURS.search(text)
    return found[1] if found else text.splitlines()[0][:500]
