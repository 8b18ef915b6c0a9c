"""Whether a day is still what its inputs give."""

from collections.abc import Mapping
from datetime import date

from training_assets.checks.evidence import Evidence, Verdict
from training_assets.freshness import Freshness
from training_assets.late import outdated_day


def check_up_to_date(evidence: Evidence) -> Mapping[date, Verdict]:
    """The day's manifest names the raw files, upstream days, settings and versions of now.

    A day that is being built was just built from them.
    """
    if evidence.staging is not None:
        return {day: Verdict(True, {"reasons": 0}) for day in evidence.days}
    freshness = Freshness(evidence.lake, evidence.settings)
    verdicts = {}
    for day in evidence.days:
        late = outdated_day(freshness, evidence.table, day)
        reasons = late.reasons if late else ()
        text = f"{evidence.table.name} of {day} is out of date: {'; '.join(reasons)}."
        verdicts[day] = Verdict(not late, {"reasons": len(reasons)}, text if late else "")
    return verdicts
