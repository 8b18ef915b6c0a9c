"""What a failure of each check means, and what to do about it."""

from typing import Final

from training_assets.checks.context import Check, Evaluate, Severity
from training_assets.schemas import TRAINING_INPUT, TRAINING_SAMPLES, Table

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
    "sampling": "Each pair of customer and item comes once; a positive has negative_ratio "
    "negatives, and fewer only where its customer had no more items left, which the day's record "
    "counts as shortfall; log_q is ln(k * sampling_probability). A failure means that a loss "
    f"corrected by log_q is wrong. {_REBUILD}",
    "giveaway": "No column tells positives from negatives by being null, and no column alone has "
    "an AUC above 0.9. A failure means that a model would learn how samples are made and nothing "
    "of taste: leave the column out, or correct what fills it. A warning names a column to look "
    "at; of seen_before, TRAINING_ASSETS_POSITIVES=new takes what it says away.",
    "nulls": "No column lacks a value that it must have, holds what is no number, or is null "
    "throughout although it had values on the day before. A failure usually means that a join "
    "found nothing: ids of actions and catalogue that do not fit, or a source that stopped.",
    "conversion": "Purchases do not outnumber engagements. A warning means that people buy without "
    "a visit being recorded, or that TRAINING_ASSETS_ENGAGEMENT names the wrong kind of action.",
    "validation": "The rules of interactions, evaluated anew on what is published and what was set "
    "aside; the report lies beside the table. Of items and users that the catalogue does not know "
    "less than 1 % warns; from 1 % on the day is not published. Deliver the catalogue, or correct "
    "what delivers the ids.",
    "snapshot_size": "A full snapshot is not more than 20 % smaller than what was listed before. A "
    "warning means that the delivery may be cut: what it lacks stays as it was. Deliver it again.",
    "up_to_date": "The day was built from the raw files, the upstream days, the settings and the "
    "versions of now. A warning says what changed since. Run `training-assets rebuild`, or start "
    "the sensor outdated_days.",
}

_FEATURE_LEAKAGE: Final = (
    "Values are exactly what the actions and the catalogue of the days before give, recomputed by "
    "plain loops: all rows where there are few, a share by hash of the key above that. A failure "
    f"means a model would train on the future, or on another row; do not train on the day. "
    f"{_REBUILD}"
)

# Where a check means something else for one table than for the others.
_OWN_DESCRIPTIONS: Final = {
    (TRAINING_SAMPLES.name, "leakage"): "No negative was acted on by its customer in the look-back "
    "or on the day, and seen_before says what was acted on before the day; found anew from "
    f"unified_actions. A failure means that some negatives are positives. {_REBUILD}",
    (TRAINING_SAMPLES.name, "row_counts"): "Every pair of customer and item with a positive action "
    "of the day is a positive, once, and nothing else is. A failure means that examples are "
    f"missing or made up. {_REBUILD}",
    ("user_features", "leakage"): _FEATURE_LEAKAGE,
    ("item_features", "leakage"): _FEATURE_LEAKAGE,
    ("pair_features", "leakage"): _FEATURE_LEAKAGE,
    (TRAINING_INPUT.name, "leakage"): "Every row carries exactly the history of its customer and "
    "day from customer_history, which has a leakage check of its own against unified_actions. A "
    f"failure means a model would train on other actions; do not train on the day. {_REBUILD}",
}

_WARNINGS: Final = ("history_window", "snapshot_size", "up_to_date", "conversion")


def for_table(table: Table, **evaluations: Evaluate) -> tuple[Check, ...]:
    """The checks of a table, each under the name by which ``_DESCRIPTIONS`` describes it."""
    return tuple(_check(name, table.name, evaluate) for name, evaluate in evaluations.items())


def _check(name: str, table: str, evaluate: Evaluate) -> Check:
    severity: Severity = "warn" if name in _WARNINGS else "error"
    description = _OWN_DESCRIPTIONS.get((table, name), _DESCRIPTIONS[name])
    return Check(name, table, severity, description, evaluate)
