"""What features are computed from besides actions and catalogue.

The columns of the feature tables themselves are declared in ``features``; a shop adds its own.
"""

from typing import Final

from training_assets.schemas.types import Column, Table

ITEMS_SHOWN: Final = Table(
    name="items_shown",
    grain="one item that was shown on the day",
    key=("item_id",),
    columns=(
        Column("dt", "date", "Day on which it was shown (UTC)."),
        Column("item_id", "int", "The item."),
        Column("times", "long", "How many times it stood in a ranking."),
    ),
)
