"""Which checks each table has, and what a failure of each means."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Final

from training_assets.checks import counts, expectations, history, rows, structure, up_to_date
from training_assets.checks.context import Check, CheckContext, CheckOutcome, Severity
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, UNIFIED_ACTIONS

_REBUILD = "Materialize the day again; if it fails again, the code that builds it is at fault."

_DESCRIPTIONS: Final = {
    "schema": "The files are byte for byte what was written, and hold exactly the declared "
    "columns, in order, with the declared types. A failure means that readers will break or "
    f"misread. {_REBUILD}",
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
    "valid_share": "At least 99 % of the rows of each source are valid. A warning means that the "
    "quarantine is worth a look; below TRAINING_ASSETS_MIN_VALID_SHARE, and where rows came and "
    "none is valid, the day is not published. Correct what delivers the rows, or lower that "
    "share.",
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
    severity: Severity = "warn" if name in _WARNINGS else "error"
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
            "valid_share": expectations.check_valid_share,
            "volume": expectations.check_volume,
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
            "history_window": expectations.check_history_window,
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
            "valid_share": expectations.check_valid_share,
            "up_to_date": up_to_date.check_up_to_date,
        },
    ),
}
