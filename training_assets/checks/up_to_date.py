"""Whether a day is still what its inputs give."""

from collections.abc import Mapping
from datetime import date

from training_assets.checks.context import CheckContext, CheckOutcome, Evaluate
from training_assets.provenance import BuiltFrom, Provenance, outdated_day


def up_to_date(built: BuiltFrom) -> Evaluate:
    """The check of a table that is built from these."""

    def check_up_to_date(context: CheckContext) -> Mapping[date, CheckOutcome]:
        return _check(context, built)

    return check_up_to_date


def _check(context: CheckContext, built: BuiltFrom) -> dict[date, CheckOutcome]:
    """The day's manifest names the raw files, upstream days, settings and versions of now.

    A day that is being built was just built from them.
    """
    if context.written is not None:
        return {day: CheckOutcome(True, {"reasons": 0}) for day in context.days}
    provenance = Provenance(context.lake, context.settings)
    provenance.look_ahead(built, context.days)
    outcomes = {}
    for day in context.days:
        late = outdated_day(provenance, built, day)
        reasons = late.reasons if late else ()
        why = "; ".join(reasons).removesuffix(".")
        text = f"{context.table.name} of {day} is out of date: {why}."
        outcomes[day] = CheckOutcome(not late, {"reasons": len(reasons)}, text if late else "")
    return outcomes
