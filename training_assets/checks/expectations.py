"""Whether a day is what one would expect: enough of it valid, and no gaps before it."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from training_assets.checks.context import CheckContext, CheckOutcome, Metric, Severity
from training_assets.checks.counts import counts_by_type
from training_assets.checks.structure import facts_of
from training_assets.lake import day_range, days_in_words
from training_assets.schemas import UNIFIED_ACTIONS, Table
from training_assets.sources import action_sources, source_days

USUAL_VALID_SHARE: Final = 0.99


def check_valid_share(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Valid rows of each source against those that were set aside."""
    return {day: _valid_share(context, day) for day in context.days}


def _valid_share(context: CheckContext, day: date) -> CheckOutcome:
    metrics: dict[str, Metric] = {}
    problems = []
    severity: Severity = "warn"
    for source in context.sources:
        good, bad = _valid_rows(context, source, day), context.rejected_rows(source, day)
        if not good + bad:
            continue
        share = good / (good + bad)
        metrics[f"{source.name}_valid_share"] = round(share, 6)
        if share < USUAL_VALID_SHARE or not good:
            problems.append(f"{source.name} has {good} of {good + bad} valid ({_share(good, bad)})")
        if share < context.settings.min_valid_share or not good:
            severity = "error"
    least = context.settings.min_valid_share
    text = (
        f"Few valid rows on {day}: {'; '.join(problems)}; expected {USUAL_VALID_SHARE * 100:g} % "
        f"or more, and at least {least * 100:g} %."
    )
    if not problems:
        return CheckOutcome(True, metrics)
    return CheckOutcome(False, metrics, text, severity)


def _share(good: int, bad: int) -> str:
    """Rounded down: 98.996 % is not 99 %."""
    return f"{good * 1000 // (good + bad) / 10:g} %"


def _valid_rows(context: CheckContext, source: Table, day: date) -> int:
    if context.table is UNIFIED_ACTIONS:
        if sum(other.action_type == source.action_type for other in context.sources) > 1:
            # What the rows say is their kind, not their source; that none is lost is checked apart.
            return context.raw_rows(source, day) - context.rejected_rows(source, day)
        return counts_by_type(context)[day][source.action_type]
    return sum(file.rows for file in facts_of(context)[day])


def check_history_window(context: CheckContext) -> Mapping[date, CheckOutcome]:
    """Days of the look-back window that are not in ``unified_actions``.

    The window is taken to begin no earlier than the first day that the lake has any actions of.
    """
    published = set(context.lake.days(UNIFIED_ACTIONS.name))
    sources = action_sources(context.lake)
    begins = [first for s in sources if (first := source_days(context.lake, s).first)]
    begin = min([*begins, *published], default=None)
    outcomes = {}
    for day in context.days:
        window = _window(day, begin, context.settings.lookback_days)
        missing = [d for d in window if d not in published]
        metrics: dict[str, Metric] = {
            "window_start": str(min(window, default=day)),
            "window_days": len(window),
            "missing_days": len(missing),
        }
        text = (
            f"{len(missing)} of {len(window)} days of the look-back window of {day} are not in "
            f"unified_actions: {days_in_words(missing)}."
        )
        outcomes[day] = CheckOutcome(not missing, metrics, text if missing else "")
    return outcomes


def _window(day: date, begin: date | None, lookback_days: int | None) -> list[date]:
    """Days before ``day``, of the look-back, from ``begin`` on."""
    if begin is None or begin >= day:
        return []
    known = (day - begin).days
    num_days = known if lookback_days is None else min(known, lookback_days)
    return day_range(day - timedelta(days=num_days), day - timedelta(days=1))
