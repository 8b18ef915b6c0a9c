"""The command that lists days that failed: of the newest failed runs, in this process or the UI."""

import json
from datetime import date
from typing import Any, Final

import click
import dagster as dg
from rich.table import Table as Grid

from training_assets.cli.console import as_text, console, open_lake
from training_assets.cli.instance import open_instance
from training_assets.pipeline import FAILED_DAYS, FailedDay
from training_assets.provenance import Provenance
from training_assets.settings import Settings
from training_assets.tables import SPECS

_MAX_RUNS: Final = 20


@click.command()
@click.option("--table", type=click.Choice(list(SPECS)), help="One table; all by default.")
def failures(table: str | None) -> None:
    """List every day that failed and has not been built since, with its reason."""
    with open_instance() as (instance, _):
        found = _newest(instance)
    grid = Grid("table", "day", "reason")
    for name in [table] if table else SPECS:
        failed = {each.day: each for each in found if each.table == name}
        left = _still_outdated(name, sorted(failed))
        for day in left:
            grid.add_row(name, str(day), as_text(failed[day].problem))
    if grid.row_count:
        console.print(grid)
    else:
        console.print("No day failed that has not been built since.")


def _newest(instance: dg.DagsterInstance) -> list[FailedDay]:
    """What the newest failed runs say; the newest of a table's day comes last."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=_MAX_RUNS)
    return [each for run in reversed(runs) for each in _failed_days(instance, run.run_id)]


def _failed_days(instance: dg.DagsterInstance, run_id: str) -> list[FailedDay]:
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    found = []
    for record in records:
        event = record.event_log_entry.dagster_event
        told = event.step_failure_data.user_failure_data if event else None
        value = told.metadata.get(FAILED_DAYS) if told else None
        for each in _listed(value):
            day = date.fromisoformat(each["day"])
            found.append(FailedDay(each["table"], day, each["problem"]))
    return found


def _listed(value: dg.MetadataValue[Any] | None) -> list[dict[str, str]]:
    if value is None:
        return []
    data = value.value
    return list(json.loads(data) if isinstance(data, str) else data)


def _still_outdated(name: str, days: list[date]) -> list[date]:
    if not days:
        return []
    provenance = Provenance(open_lake(), Settings.from_env())
    return provenance.outdated(SPECS[name].built_from, days)
