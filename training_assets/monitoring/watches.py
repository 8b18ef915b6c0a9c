"""The watches of every table, as checks of its days: volume, drift, completeness, ranges.

They are made from what a table is built from and name none. Only ``ranges`` keeps a day from being
published: a value there cannot be right. The others compare with days before, which may have been
the odd ones, so they warn or fail and let the day through.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from training_assets.checks import Check, CheckContext, CheckOutcome, Metric, Severity
from training_assets.lake import Lake
from training_assets.monitoring.completeness import Base, judge_nulls
from training_assets.monitoring.drift import Drift, compare
from training_assets.monitoring.profile import Profile
from training_assets.monitoring.ranges import has_ranges, judge_ranges
from training_assets.monitoring.recorded import profiles_before, profiles_of
from training_assets.monitoring.rows_by_source import recorded_rows, rows_by_source
from training_assets.monitoring.segments import worst_segments
from training_assets.monitoring.volume import LONG_DAYS, WEEKS, Volume, judge_volume
from training_assets.monitoring.window import grows, window_features
from training_assets.provenance import BuiltFrom
from training_assets.settings import Settings

BASE_DAYS: Final = 28
# So that each day of the week is among them.
MIN_BASE_DAYS: Final = 7
_MAX_SHOWN: Final = 5

_DESCRIPTIONS: Final = {
    "volume": "Each source has about as many rows as on the same weekday of the last 4 weeks: not "
    "more than 20 % below their median and 3 robust deviations below that of the last 28 days. A "
    "warning means a delivery may be incomplete; look at the raw files of the day.",
    "drift": "Each feature is distributed as in the 28 days before. Beyond what is noise, a "
    "population stability index of 0.1 warns and of 0.25 fails, without keeping the day from being "
    "published. A model that was trained on the days before sees something else now: look at the "
    "report of the day, and train anew if the change is real.",
    "completeness": "No column has 5 points more nulls than in the 28 days before (warns); none "
    "that had values is null throughout, and each joined table is found for at least half of the "
    "rows (fails, without keeping the day from being published). Look at what delivers the column.",
    "ranges": "Shares and percentiles are within 0 and 1, counts are not negative, values are "
    "within what their columns declare; a conversion rate above 1 only warns. A failure means that "
    "what computes the column is wrong, and keeps the day from being published.",
}
WATCHES: Final = tuple(_DESCRIPTIONS)


@dataclass(frozen=True)
class Watched:
    """A table under watch; ``left_out`` are columns that are watched where they come from."""

    built_from: BuiltFrom
    left_out: tuple[str, ...] = ()

    def profiles(self, context: CheckContext) -> dict[date, Profile]:
        return profiles_of(context, self.left_out)


def watches_of(watched: Watched) -> tuple[Check, ...]:
    """One check for each watch; of ranges only where a column of the table has one."""
    judges: dict[str, Callable[[CheckContext, Watched], Mapping[date, CheckOutcome]]] = {
        "volume": _volume,
        "drift": _drift,
        "completeness": _completeness,
        "ranges": _ranges,
    }
    if not has_ranges(watched.built_from.table):
        del judges["ranges"]
    return tuple(_check(name, watched, judge) for name, judge in judges.items())


def _check(
    name: str,
    watched: Watched,
    judge: Callable[[CheckContext, Watched], Mapping[date, CheckOutcome]],
) -> Check:
    severity: Severity = "error" if name == "ranges" else "warn"

    def evaluate(context: CheckContext) -> Mapping[date, CheckOutcome]:
        return judge(context, watched)

    return Check(name, watched.built_from.table.name, severity, _DESCRIPTIONS[name], evaluate)


# --- volume ---------------------------------------------------------------------------------------


def _volume(context: CheckContext, watched: Watched) -> dict[date, CheckOutcome]:
    now = {day: rows_by_source(profile) for day, profile in watched.profiles(context).items()}
    wanted = {day for of in now for day in _days_before(of, max(LONG_DAYS, 7 * WEEKS))}
    before = now | recorded_rows(context, sorted(wanted - now.keys()))
    return {day: _volume_outcome(day, rows, before) for day, rows in now.items()}


def _volume_outcome(
    day: date, rows: Mapping[str, int], before: Mapping[date, Mapping[str, int]]
) -> CheckOutcome:
    metrics: dict[str, Metric] = {}
    problems = []
    for source, count in rows.items():
        history = {of: found[source] for of, found in before.items() if source in found}
        found = judge_volume(day, count, history)
        metrics |= _volume_metrics(source, found)
        if found.is_low:
            problems.append(f"{source}: {count} rows, expected about {found.expected:g}")
    text = f"Fewer rows than usual on {day}: {'; '.join(problems)}." if problems else ""
    return CheckOutcome(not problems, metrics, text)


def _volume_metrics(source: str, found: Volume) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {f"{source}_rows": found.rows}
    if found.expected is not None:
        metrics[f"{source}_expected"] = found.expected
    if found.plain_median is not None:
        metrics[f"{source}_median_7_days"] = found.plain_median
        metrics[f"{source}_below_7_days"] = int(found.is_low_plain)
    return metrics


# --- drift ----------------------------------------------------------------------------------------


def drift_of(
    day: date, now: Profile, before: Mapping[date, Profile], left_out: frozenset[str] = frozenset()
) -> dict[str, Drift]:
    """Each feature of a day against the 28 days before it, of which at least 7 must be known."""
    base = [before[of] for of in _days_before(day, BASE_DAYS) if of in before]
    if len(base) < MIN_BASE_DAYS:
        return {}
    # Segments would be most of what is added up, and are not asked for here.
    total = Profile.sum([Profile(p.rows, features=p.features) for p in base])
    return {
        name: compare(
            total.features[name], feature, [p.features[name] for p in base if name in p.features]
        )
        for name, feature in now.features.items()
        if name in total.features and name not in left_out
    }


def growing_features(
    lake: Lake, settings: Settings, watched: Watched, day: date, now: Profile
) -> frozenset[str]:
    """Features that are not judged yet, because the look-back of the days before was shorter."""
    if grows(lake, settings, watched.built_from, day, BASE_DAYS):
        return window_features(watched.built_from, now)
    return frozenset()


def _drift(context: CheckContext, watched: Watched) -> dict[date, CheckOutcome]:
    now = watched.profiles(context)
    before = _before(context, now)
    return {day: _drift_outcome(context, watched, day, now[day], before) for day in now}


def _drift_outcome(
    context: CheckContext,
    watched: Watched,
    day: date,
    now: Profile,
    before: Mapping[date, Profile],
) -> CheckOutcome:
    growing = growing_features(context.lake, context.settings, watched, day, now)
    found = drift_of(day, now, before, growing)
    ordered = sorted(found.items(), key=lambda pair: (-pair[1].psi, pair[0]))
    judged = [(name, drift) for name, drift in ordered if drift.verdict != "not judged"]
    drifted = [(name, drift) for name, drift in judged if drift.verdict != "passed"]
    metrics: dict[str, Metric] = {"judged_features": len(judged), "drifted_features": len(drifted)}
    metrics |= {f"psi {name}": round(drift.psi, 4) for name, drift in judged[:_MAX_SHOWN]}
    if growing:
        metrics["not_judged_while_the_look_back_fills"] = len(growing)
    if not drifted:
        return CheckOutcome(True, metrics)
    text = "; ".join(
        f"{name} has a PSI of {drift.psi:.3g} ({_moved(drift)})"
        for name, drift in drifted[:_MAX_SHOWN]
    )
    base = [before[of] for of in _days_before(day, BASE_DAYS) if of in before]
    if worst := worst_segments([name for name, _ in drifted], now, base):
        text = f"{text}; most of all in {worst}"
    fails = any(drift.verdict == "fails" for _, drift in drifted)
    return CheckOutcome(
        False,
        metrics,
        f"{len(drifted)} of {len(judged)} features on {day} are distributed otherwise than in the "
        f"{BASE_DAYS} days before: {text}.",
        "error" if fails else "warn",
    )


def _moved(drift: Drift) -> str:
    """The bin whose share changed most: ``≤ 3: 50 % before, 20 % now``."""
    shares = [
        (label, before / drift.rows_before, now / drift.rows_now)
        for label, before, now in zip(drift.labels, drift.before, drift.now, strict=True)
    ]
    label, before, now = max(shares, key=lambda share: abs(share[2] - share[1]))
    return f"{label}: {before:.1%} before, {now:.1%} now"


# --- completeness, ranges -------------------------------------------------------------------------


def _completeness(context: CheckContext, watched: Watched) -> dict[date, CheckOutcome]:
    now = watched.profiles(context)
    before = _before(context, now)
    outcomes = {}
    for day, profile in now.items():
        base = Base.of([before[of] for of in _days_before(day, BASE_DAYS) if of in before])
        outcomes[day] = judge_nulls(watched.built_from, day, profile, base)
    return outcomes


def _ranges(context: CheckContext, watched: Watched) -> dict[date, CheckOutcome]:
    table = watched.built_from.table
    return {
        day: judge_ranges(table, day, profile) for day, profile in watched.profiles(context).items()
    }


def _before(context: CheckContext, days: Mapping[date, Profile]) -> dict[date, Profile]:
    wanted = {of for day in days for of in _days_before(day, BASE_DAYS)}
    return profiles_before(context, sorted(wanted))


def _days_before(day: date, count: int) -> list[date]:
    return [day - timedelta(days=n) for n in range(1, count + 1)]
