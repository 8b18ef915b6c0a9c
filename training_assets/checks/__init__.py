"""What must hold of each table, and the one place that runs it.

Each check compares files on disk, staged or published, with something that the build did not make.
The error-level ones are run on every staged day, and keep it from being published; all can be run
over published days at any time.

May import provenance, kernels and what is below them; knows no Dagster. Begin with this module,
then ``context.py``.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Final, Literal

from pyspark import cloudpickle

from training_assets.checks import comparisons, counts, history, rows, structure, up_to_date
from training_assets.checks.context import Check, CheckContext, CheckOutcome, CheckResult, Metric
from training_assets.engine import require_engine
from training_assets.errors import TrainingAssetsError
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, UNIFIED_ACTIONS

__all__ = ["CHECKS", "Check", "CheckContext", "CheckOutcome", "CheckResult", "Metric", "run_checks"]

# Workers of a cluster need not have this package; see ``kernels``.
cloudpickle.register_pickle_by_value(comparisons)

_REBUILD = "Materialize the day again; if it fails again, the code that builds it is at fault."

_DESCRIPTIONS: Final = {
    "schema": "The files hold exactly the declared columns, in order, with the declared types. A "
    f"failure means that readers will break or misread. {_REBUILD}",
    "sequence_length": "Both arrays of every row have the declared length. A failure means batches "
    f"cannot be stacked. {_REBUILD}",
    "padding": "Zeros stand only at the old end, in both arrays alike, and every action before "
    "them has an item and a known type. A failure means a model would attend to padding or miss "
    f"actions. {_REBUILD}",
    "leakage": "Every history is exactly the newest eligible actions from days strictly before the "
    "impression's, found independently from unified_actions. A failure means a model would train "
    f"on the future, or on another customer; do not train on the day. {_REBUILD}",
    "order_and_ties": "Actions stand newest first, ties by item id and then type. A failure means "
    f"recency is wrong and truncation is not reproducible. {_REBUILD}",
    "row_counts": "Nothing is lost or added: every row that came in is in the table, or in the "
    "quarantine with its reason. A failure means examples are missing or counted twice, or that "
    "raw files changed since the day was built. Materialize the day again.",
    "history_window": "All days of the look-back window are materialized in unified_actions. A "
    "warning means histories lack the listed days; materialize those, then this day again.",
    "volume": "Each source has at least 80 % of its median of the 7 days before. A warning means "
    "a delivery may be incomplete; look at the raw files of the day.",
    "up_to_date": "The day was built from the raw files, the upstream days, the settings and the "
    "versions of now. A warning says what changed since. Run `training-assets rebuild`, or start "
    "the sensor outdated_days.",
}

# Where a check means something else for one table than for the others.
_OWN_DESCRIPTIONS: Final = {
    (TRAINING_INPUT.name, "leakage"): "Every row carries exactly the history of its customer and "
    "day from customer_history, which has a leakage check of its own against unified_actions. A "
    f"failure means a model would train on other actions; do not train on the day. {_REBUILD}",
}

_WARNINGS: Final = ("history_window", "volume", "up_to_date")

_Evaluate = Callable[[CheckContext], Mapping[date, CheckOutcome]]


def _check(name: str, table: str, evaluate: _Evaluate) -> Check:
    severity: Literal["error", "warn"] = "warn" if name in _WARNINGS else "error"
    description = _OWN_DESCRIPTIONS.get((table, name), _DESCRIPTIONS[name])
    return Check(name, table, severity, description, evaluate)


def _checks(table: str, evaluations: Mapping[str, _Evaluate]) -> tuple[Check, ...]:
    return tuple(_check(name, table, evaluate) for name, evaluate in evaluations.items())


CHECKS: Final[Mapping[str, tuple[Check, ...]]] = {
    UNIFIED_ACTIONS.name: _checks(
        UNIFIED_ACTIONS.name,
        {
            "schema": structure.check_schema,
            "row_counts": counts.check_action_counts,
            "volume": counts.check_volume,
            "up_to_date": up_to_date.check_up_to_date,
        },
    ),
    CUSTOMER_HISTORY.name: _checks(
        CUSTOMER_HISTORY.name,
        {
            "schema": structure.check_schema,
            "sequence_length": structure.check_sequence_length,
            "padding": structure.check_padding,
            "leakage": history.check_leakage,
            "order_and_ties": history.check_order_and_ties,
            "row_counts": counts.check_customer_counts,
            "history_window": counts.check_history_window,
            "up_to_date": up_to_date.check_up_to_date,
        },
    ),
    TRAINING_INPUT.name: _checks(
        TRAINING_INPUT.name,
        {
            "schema": structure.check_schema,
            "sequence_length": rows.check_sequence_length,
            "padding": rows.check_padding,
            "leakage": rows.check_leakage,
            "order_and_ties": rows.check_order_and_ties,
            "row_counts": counts.check_impression_counts,
            "up_to_date": up_to_date.check_up_to_date,
        },
    ),
}


def run_checks(context: CheckContext, names: set[str] | None = None) -> Iterator[CheckResult]:
    """All checks of the context's table on its days, or those of ``names``.

    A day whose schema is wrong cannot be read as declared, so only that check speaks of it. A
    check that cannot be made on a day, whatever the engine says, has failed there.
    """
    readable = context
    for check in CHECKS[context.table.name]:
        outcomes = _evaluate(check, readable)
        if names is None or check.name in names:
            for day, outcome in sorted(outcomes.items()):
                yield CheckResult(check, day, outcome.passed, outcome.metrics, outcome.message)
        if check.name == "schema":
            good = [day for day, outcome in outcomes.items() if outcome.passed]
            if not good:
                return
            if len(good) < len(context.days):
                readable = context.of_days(good)


def _evaluate(check: Check, context: CheckContext) -> Mapping[date, CheckOutcome]:
    """The check's outcomes; one that cannot be reached for a day is a failure of that day."""
    try:
        return check.evaluate(context)
    except Exception as error:
        require_engine(context.spark, error)
        if context.is_apart and len(context.days) == 1:
            day = context.days[0]
            return {day: CheckOutcome(False, {}, f"{day} cannot be checked: {_reason(error)}")}
        # One bad file fails a pass over many days: only then, day by day, to clear the others.
        alone = [_evaluate(check, context.apart((day,))) for day in context.days]
        return {day: outcome for outcomes in alone for day, outcome in outcomes.items()}


def _reason(error: Exception) -> str:
    """The whole of a message of ours; of an engine's the first line, without its stack trace."""
    text = str(error).strip()
    if isinstance(error, TrainingAssetsError) or not text:
        return text or type(error).__name__
    return text.splitlines()[0][:500]
