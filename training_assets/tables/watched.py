"""Every table under watch: four checks more, and a profile of each day beside its figures."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

from training_assets.checks import CheckContext
from training_assets.monitoring import Watched, watches_of
from training_assets.tables.spec import TableSpec


def watched_tables(specs: Iterable[TableSpec]) -> list[Watched]:
    """The tables as the watches know them."""
    return [Watched(spec.built_from, spec.watched_elsewhere) for spec in specs]


def watched(spec: TableSpec) -> TableSpec:
    """The same with the watches of ``monitoring``; what they compare is recorded with the day."""
    watch = Watched(spec.built_from, spec.watched_elsewhere)

    def metrics(context: CheckContext) -> dict[date, dict[str, Any]]:
        found = spec.metrics(context)
        profiles = watch.profiles(context)
        return {day: {**found[day], "profile": profiles[day].to_json()} for day in found}

    return replace(spec, checks=(*spec.checks, *watches_of(watch)), metrics=metrics)
