"""Rows of checks in Dagster's tables, of many days by one statement.

Dagster writes an event of a check's outcome in three statements, and serializes what a check is
planned for once per day, with all days in it. The rows here are the same; a test compares them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from sqlalchemy import bindparam, select
from sqlalchemy.engine import Connection

_Row = Mapping[str, Any]
_OF_OUTCOME = ("asset_key", "check_name", "run_id", "partition")


def insert_events(connection: Connection, rows: Sequence[_Row]) -> list[int]:
    """Events as they come; their numbers in the same order."""
    events = SqlEventLogStorageTable
    insert = events.insert().returning(events.c.id, sort_by_parameter_order=True)
    return [number for (number,) in connection.execute(insert, list(rows))]


def insert_planned(
    connection: Connection, event: EventLogEntry, row: _Row, event_id: int | None
) -> None:
    """That a check is planned: a row for each of its days, with all of the event in each."""
    planned = _data(event)
    subset = planned.partitions_subset
    shared = {
        "asset_key": planned.asset_key.to_string(),
        "check_name": planned.check_name,
        "run_id": event.run_id,
        "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
        **_event_columns(row, event_id),
    }
    partitions = subset.get_partition_keys() if subset else [None]
    rows = [{**shared, "partition": partition} for partition in partitions]
    connection.execute(AssetCheckExecutionsTable.insert(), rows)


def set_outcomes(
    connection: Connection,
    events: Sequence[EventLogEntry],
    rows: Sequence[_Row],
    event_ids: Sequence[int],
) -> None:
    """The outcome of each check in the row that it was planned in, or in a row of its own."""
    outcomes = [
        _outcome(event, row, event_id)
        for event, row, event_id in zip(events, rows, event_ids, strict=True)
    ]
    table = AssetCheckExecutionsTable
    update = table.update().values({name: bindparam(name) for name in outcomes[0]})
    for name in _OF_OUTCOME:
        wanted: Any = bindparam(f"of_{name}")
        # Of two nulls it holds, too: of a check of no partition.
        update = update.where(table.c[name].is_not_distinct_from(wanted))
    keys = [{f"of_{name}": outcome[name] for name in _OF_OUTCOME} for outcome in outcomes]
    updates = [outcome | key for outcome, key in zip(outcomes, keys, strict=True)]
    if connection.execute(update, updates).rowcount == len(outcomes):
        return
    columns = [table.c[name] for name in _OF_OUTCOME]
    runs = {event.run_id for event in events}
    found = connection.execute(select(*columns).where(table.c.run_id.in_(runs)))
    planned = {tuple(row) for row in found}
    new = [o for o in outcomes if tuple(o[name] for name in _OF_OUTCOME) not in planned]
    if new:
        connection.execute(table.insert(), new)


def _outcome(event: EventLogEntry, row: _Row, event_id: int) -> dict[str, Any]:
    evaluation = _data(event)
    status = AssetCheckExecutionRecordStatus
    target = evaluation.target_materialization_data
    return {
        "asset_key": evaluation.asset_key.to_string(),
        "check_name": evaluation.check_name,
        "run_id": event.run_id,
        "partition": evaluation.partition,
        "execution_status": (status.SUCCEEDED if evaluation.passed else status.FAILED).value,
        "materialization_event_storage_id": target.storage_id if target else None,
        **_event_columns(row, event_id),
    }


def _event_columns(row: _Row, event_id: int | None) -> dict[str, Any]:
    return {
        "evaluation_event": row["event"],
        "evaluation_event_timestamp": row["timestamp"],
        "evaluation_event_storage_id": event_id,
    }


def _data(event: EventLogEntry) -> Any:
    return event.get_dagster_event().event_specific_data
