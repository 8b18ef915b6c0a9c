"""Profiles of days: of published ones as recorded, of those under check from their files."""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from training_assets.checks import CheckContext
from training_assets.lake import Lake
from training_assets.monitoring.profile import Profile
from training_assets.monitoring.profile_files import PROFILES_DDL, profile_files

_MEMO = "profiles"


def profiles_of(context: CheckContext, left_out: Sequence[str] = ()) -> dict[date, Profile]:
    """Of the days under check; those that are published have theirs beside them.

    The files of the others, and of days that an older version published, are read once.
    """
    known: dict[date, Profile] = context.memo.setdefault(_MEMO, {})
    missing = [day for day in context.days if day not in known]
    if missing and context.written is None:
        known |= recorded_profiles(context.lake, context.table.name, missing)
        missing = [day for day in missing if day not in known]
    if missing:
        known |= _profile(context, missing, tuple(left_out))
    return {day: known[day] for day in context.days}


def profiles_before(context: CheckContext, days: Sequence[date]) -> dict[date, Profile]:
    """Of other days: those of the same run as they are being built, else as published."""
    fresh: dict[date, Profile] = context.memo.setdefault(_MEMO, {})
    published: dict[date, Profile | None] = context.memo.setdefault("recorded profiles", {})
    missing = [day for day in days if day not in fresh and day not in published]
    if missing:
        found = recorded_profiles(context.lake, context.table.name, missing)
        published |= {day: found.get(day) for day in missing}
    both = ((day, fresh.get(day) or published.get(day)) for day in sorted(set(days)))
    return {day: profile for day, profile in both if profile is not None}


def recorded_profiles(lake: Lake, table: str, days: Sequence[date]) -> dict[date, Profile]:
    """Of the published ones of the days that have one; an older version recorded none."""
    snapshot = lake.snapshot(table)
    found = snapshot.profiles([day for day in days if day in snapshot.files])
    return {day: Profile.of_json(profile) for day, profile in found.items()}


def _profile(
    context: CheckContext, days: Sequence[date], left_out: Sequence[str]
) -> dict[date, Profile]:
    table = context.table

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return profile_files(batches, table, left_out)

    found: dict[date, list[Any]] = {day: [] for day in days}
    for row in context.on_files(table, days, work, PROFILES_DDL).collect():
        found[row["dt"]].append(json.loads(row["profile"]))
    return {day: _together(parts) for day, parts in found.items()}


def _together(parts: list[Any]) -> Profile:
    """A day of its files, in whatever order they come."""
    if len(parts) == 1:
        return Profile.of_json(parts[0])
    return Profile.sum([Profile.of_json(one) for one in sorted(parts, key=json.dumps)])
