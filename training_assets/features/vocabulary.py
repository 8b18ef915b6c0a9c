"""Measures that several tables speak of: purchases, engagements, conversion."""

from typing import Final

from pyspark.sql import Column

from training_assets.features.measures import (
    ACTIONS,
    ENGAGEMENT,
    Formula,
    Given,
    count,
    first,
    last,
    mean,
    zero_if_null,
)

DT: Final = Given("row", "dt")
LOOKBACK_DAYS: Final = Given("setting", "lookback_days")
IS_VIEW_ENGAGEMENT: Final = Given("setting", "is_view_engagement")
IMPRESSIONS_GIVEN: Final = Given("setting", "impressions_given")
SETTINGS: Final = (DT, LOOKBACK_DAYS, IS_VIEW_ENGAGEMENT, IMPRESSIONS_GIVEN)

TOTAL: Final = count()
COUNTS: Final = {kind: count(kind) for kind in ACTIONS}
PURCHASES: Final = count("order", where="is_purchase")
ENGAGEMENTS: Final = count(ENGAGEMENT)
FIRST_DAY: Final = first("day")
LAST_DAY: Final = last("day")
RATING: Final = mean("rating")

# Engagements of a typical row: of few, one more says little.
_PRIOR_ENGAGEMENTS: Final = 20


def _smoothed(purchases: Column, engagements: Column) -> Column:
    over = (zero_if_null(purchases) + 1).cast("double")
    return over / (zero_if_null(engagements) + _PRIOR_ENGAGEMENTS)


SMOOTHED_CONVERSION: Final = Formula(
    f"(purchases + 1) / (engagements + {_PRIOR_ENGAGEMENTS})",
    (PURCHASES, ENGAGEMENTS),
    _smoothed,
)


def days_since(day: Column, dt: Column) -> Column:
    """Whole days from ``day`` to ``dt``, both numbers since 1970-01-01."""
    return (dt - day).cast("long")
