"""Training samples: positives of a day with negatives, without the features that are joined."""

from typing import Final

from training_assets.schemas.types import Column, Table

_TIME: Final = "of the positive, or of the one that a negative is drawn for"

TRAINING_SAMPLES: Final = Table(
    name="training_samples",
    grain="one customer and item of the day: a positive, or a negative that is drawn for one",
    key=("customer_id", "item_number"),
    columns=(
        Column("dt", "date", "Day of the positives (UTC)."),
        Column("user_id", "string", "The customer, as delivered."),
        Column("item_id", "string", "The item, as delivered."),
        Column("customer_id", "long", "The customer; of text ids, see customer_ids."),
        Column("item_number", "int", "The item; of text ids, see item_ids."),
        Column("label", "double", "1.0 a positive, 0.0 a negative."),
        Column(
            "sampling_probability",
            "double",
            "Weight of the negative / weight of all that the customer could be given; null for "
            "positives.",
            is_optional=True,
        ),
        Column(
            "log_q",
            "double",
            "ln(k * sampling_probability) for the k negatives of the customer that day, to be "
            "subtracted from a logit; null for positives.",
            is_optional=True,
        ),
        Column(
            "seen_before", "boolean", "Whether the customer had acted on the item before the day."
        ),
        Column("positive_item_id", "string", f"The item {_TIME}."),
        Column("occurred_at", "timestamp", f"First time {_TIME}.", is_optional=True),
        Column("session_id", "string", f"Visit {_TIME}.", is_optional=True),
        Column("session_position", "int", f"Place in the session {_TIME}.", is_optional=True),
        Column("time_of_day", "int", f"UTC hour, 0 to 23, {_TIME}.", is_optional=True),
        Column("day_of_week", "int", f"1 Monday to 7 Sunday, {_TIME}.", is_optional=True),
    ),
)

# What says which row it is, and what it is for; all other columns may be given to a model.
SAMPLE_NAMES: Final = (
    "dt",
    "user_id",
    "item_id",
    "customer_id",
    "item_number",
    "label",
    "sampling_probability",
    "log_q",
    "positive_item_id",
)
