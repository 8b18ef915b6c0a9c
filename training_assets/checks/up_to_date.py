"""Whether a day is still what its inputs give."""

from collections.abc import Mapping
from datetime import date

from training_assets.checks.context import CheckContext, CheckOutcome
from training_assets.provenance import Provenance, outdated_day


def check_up_to_date(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """The day's manifest names the raw files, upstream days, settings and versions of now.

    A day that is being built was just built from them.
    """
    if context.staging is not None:
        return {day: CheckOutcome(True, {"reasons": 0}) for day in context.days}
    provenance = Provenance(context.lake, context.settings)
    outcomes = {}
    for day in context.days:
        late = outdated_day(provenance, context.table, day)
        reasons = late.reasons if late else ()
        text = f"{context.table.name} of {day} is out of date: {'; '.join(reasons)}."
        outcomes[day] = CheckOutcome(not late, {"reasons": len(reasons)}, text if late else "")
    return outcomes
