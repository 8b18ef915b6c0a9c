"""Dagster's SQLite storage of events, which stores many of them in one transaction.

A run over many days has an event for each check of each day. Dagster opens each time three to six
connections, compiles as many statements and commits each of them: 15 ms an event, whatever is in
it. Here such events wait, half a second at most, and are then stored together, by the code and into
the files of Dagster's own storage. An instance without this class reads them as its own.

    store_event ──> waiting ──> one transaction a file: at the next event of another kind (a step
                                ends, a line is logged), before anything is read, after half a
                                second, at 1,000 events, when the instance is closed
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from dagster import DagsterEventType, DagsterInstance, EventLogEntry
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from training_assets.instance import check_rows

# Nothing waits for one of these: what follows from an event follows from the others.
_MAY_WAIT: Final = frozenset(
    {
        DagsterEventType.ASSET_CHECK_EVALUATION,
        DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_OBSERVATION,
        DagsterEventType.HANDLED_OUTPUT,
        DagsterEventType.STEP_OUTPUT,
    }
)
_AT_ONCE: Final = (
    DagsterEventType.ASSET_CHECK_EVALUATION,
    DagsterEventType.ASSET_MATERIALIZATION,
)
_MAX_WAITING: Final = 1000
_SECONDS: Final = 0.5
_MAX_ENGINES: Final = 4


def _may_wait(event: EventLogEntry) -> bool:
    # Outside of a run nothing comes after it that would have it stored.
    is_of_a_run = event.run_id not in ("", RUNLESS_RUN_ID)
    return event.is_dagster_event and is_of_a_run and event.dagster_event_type in _MAY_WAIT


def _stored_at_once(event: EventLogEntry) -> tuple[DagsterEventType, str] | None:
    """What events have in common that are stored by one statement: their type, and their run."""
    kind = event.dagster_event_type
    return (kind, event.run_id) if kind in _AT_ONCE else None


class BatchedEventLogStorage(SqliteEventLogStorage):
    """Dagster's storage of events in SQLite files of the instance's home, many at once.

    Named in ``dagster.yaml`` as ``event_log_storage``, with an empty ``config``.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        # Where the files are is known from the instance, so that its home can be moved.
        self._inst_data = inst_data
        self._waiting: list[EventLogEntry] = []
        self._waiting_lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._flush_lock = threading.RLock()
        self._flushing_thread: int | None = None
        self._held: dict[str, Connection] = {}
        self._engines: dict[str, Engine] = {}
        self._known: set[str] = set()
        self._error: Exception | None = None

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "BatchedEventLogStorage":
        return cls(inst_data)

    def register_instance(self, instance: DagsterInstance) -> None:
        folder = Path(instance.root_directory) / "history" / "runs"
        super().__init__(str(folder), self._inst_data)
        super().register_instance(instance)

    # --- events that wait -------------------------------------------------------------------------

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event soon, or now with all that wait if something may follow from it."""
        with self._waiting_lock:
            self._waiting.append(event)
            if _may_wait(event) and len(self._waiting) < _MAX_WAITING:
                if self._timer is None:
                    self._timer = threading.Timer(_SECONDS, self._flush_at_last)
                    self._timer.daemon = True
                    self._timer.start()
                return
        self.flush()

    def flush(self) -> None:
        """Store what waits. Raises what storing it raised, also if that was meanwhile."""
        if self._flushing_thread == threading.get_ident():
            return
        with self._flush_lock:
            with self._waiting_lock:
                events, self._waiting = self._waiting, []
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
            error, self._error = self._error, None
            if events:
                self._store(events)
            if error is not None:
                raise error

    def _flush_at_last(self) -> None:
        try:
            self.flush()
        except Exception as error:
            # Nobody is there to catch it; whoever comes next is told.
            self._error = error

    def _store(self, events: list[EventLogEntry]) -> None:
        try:
            with self._one_transaction():
                for kind, alike in groupby(events, _stored_at_once):
                    if kind:
                        self._store_alike(*kind, list(alike))
                        continue
                    for event in alike:
                        super().store_event(event)
            return
        except Exception:
            if len(events) == 1:
                raise
        except BaseException:
            # Interrupted: nothing was stored, and the end of the run will be.
            with self._waiting_lock:
                self._waiting = events + self._waiting
            raise
        # One of them cannot be stored; the others can.
        errors = []
        for event in events:
            try:
                self._store([event])
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _store_alike(
        self, kind: DagsterEventType, run_id: str, events: Sequence[EventLogEntry]
    ) -> None:
        """What Dagster stores of them one by one, with a statement for all instead of each."""
        rows = [self._event_to_row(event) for event in events]
        with self.run_connection(run_id) as run, self.index_connection() as index:
            check_rows.insert_events(run, rows)
            numbers = check_rows.insert_events(index, rows)
            if kind == DagsterEventType.ASSET_CHECK_EVALUATION:
                check_rows.set_outcomes(index, events, rows, numbers)
                return
            self._store_asset_event_tags(index, events, numbers)
            # An asset has one row, which says what its newest event is.
            newest = {e.get_dagster_event().asset_key: n for n, e in enumerate(events)}
            for place in newest.values():
                self._store_asset_event(index, events[place], numbers[place])

    def _store_asset_check_evaluation_planned(
        self, event: EventLogEntry, event_id: int | None
    ) -> None:
        with self.index_connection() as index:
            check_rows.insert_planned(index, event, self._event_to_row(event), event_id)

    @contextmanager
    def _one_transaction(self) -> Iterator[None]:
        """Within, each file has one connection, and all is committed at the end, or nothing."""
        with ExitStack() as stack:
            self._open, self._flushing_thread = stack, threading.get_ident()
            try:
                yield
            finally:
                self._flushing_thread = None
                self._held.clear()

    # --- connections ------------------------------------------------------------------------------

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if self._flushing_thread == threading.get_ident():
            if shard not in self._held:
                self._held[shard] = self._hold(shard)
            yield self._held[shard]
            return
        # Whoever reads finds what was stored before.
        self.flush()
        with super()._connect(shard) as connection:
            yield connection

    def _hold(self, shard: str) -> Connection:
        engine = self._engines.get(shard)
        if engine is None:
            if len(self._engines) >= _MAX_ENGINES:
                self._engines.clear()
            engine = self._engines[shard] = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=NullPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        connection = self._open.enter_context(engine.connect())
        self._open.enter_context(connection.begin())
        return connection

    def has_table(self, table_name: str) -> bool:
        return self._once(table_name, lambda: SqliteEventLogStorage.has_table(self, table_name))

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        return self._once(
            f"column {column_name}",
            lambda: SqliteEventLogStorage._has_asset_key_col_on_connection(self, conn, column_name),
        )

    def _once(self, name: str, ask: Callable[[], bool]) -> bool:
        """Tables and columns that are there stay."""
        if name not in self._known and ask():
            self._known.add(name)
        return name in self._known

    def wipe(self) -> None:
        self.flush()
        self._engines.clear()
        super().wipe()

    def dispose(self) -> None:
        self.flush()
        super().dispose()
