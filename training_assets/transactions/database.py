"""Connections to the database of the patterns, its schema, and its settings.

TRAINING_ASSETS_DATABASE is postgresql://… for a server (15 or newer), or a folder for one of our
own. No message repeats what a connection string holds.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, LiteralString, TypeVar, cast

import psycopg
from psycopg.rows import tuple_row

from training_assets.errors import DatabaseError
from training_assets.locations import canonical
from training_assets.transactions.server import Server
from training_assets.transactions.settings import TransactionSettings

Connection = psycopg.Connection[tuple[Any, ...]]
Result = TypeVar("Result")
_MIN_VERSION: Final = 150_000
_PATIENCE_SECONDS: Final = 60.0
# Of a server that was never reached: it is rather the wrong address.
_FIRST_PATIENCE_SECONDS: Final = 5.0
# What a server refuses for a while; anything else that it refuses, it refuses for good.
_PASSING: Final = (
    "starting up",
    "shutting down",
    "recovery",
    "not yet accepting",
    "terminating connection",
    "too many",
    "remaining connection",
)
_LOST: Final = (psycopg.OperationalError, psycopg.InterfaceError)
# A sample of 300 rows is enough for temporary tables, which are analyzed in every chunk.
_SESSION: Final = (
    "-c jit=off -c work_mem=64MB -c timezone=UTC -c client_min_messages=warning "
    "-c default_statistics_target=1"
)
_SQL: Final = resources.files("training_assets.transactions") / "sql"
# One number for all that migrates; taken from the name of the package.
_MIGRATION_LOCK: Final = 7_274_611_605
_DEFAULT_FOLDER: Final = "data/transactions/temp/postgres"


class Database:
    """One connection, opened when needed and opened again when it is lost."""

    def __init__(self, location: str) -> None:
        self._is_server = location.startswith(("postgresql://", "postgres://"))
        self._location = location
        self._own = None if self._is_server else Server(Path(location))
        self._connection: Connection | None = None
        self._was_reached = False
        # Spark calls from a thread of its own, and a connection has one transaction at a time.
        self._lock = threading.RLock()

    @classmethod
    def of(cls, settings: TransactionSettings) -> "Database":
        return cls(database_location(settings))

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """``work`` in one transaction; again, on a new connection, when the server was lost.

        So ``work`` must find out by itself what an earlier try had committed. Raises
        ``DatabaseError`` when it stays away for a minute, was never there, or refuses for good.
        """
        patience = _PATIENCE_SECONDS if self._was_reached else _FIRST_PATIENCE_SECONDS
        deadline = time.monotonic() + patience
        pause = 0.05
        while True:
            try:
                with self._lock:
                    connection = self._open()
                    with connection.transaction():
                        return work(connection)
            except _LOST as error:
                self.close()
                if time.monotonic() > deadline or _is_for_good(error):
                    raise DatabaseError(
                        f"database {self.name}: no connection ({self._told(error)}); expected a "
                        "PostgreSQL server that answers. Start it, or correct "
                        "TRAINING_ASSETS_DATABASE."
                    ) from None
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    @property
    def name(self) -> str:
        """How messages name it: a folder, or the host alone."""
        if not self._is_server:
            return self._location
        return f"at {psycopg.conninfo.conninfo_to_dict(self._location).get('host', 'this host')}"

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*_LOST):
                connection.close()

    def leave(self) -> None:
        """Close, and stop a server of our own that nobody else uses."""
        self.close()
        if self._own is not None:
            self._own.leave()

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            address = self._own.start() if self._own else self._location
            self._connection = psycopg.connect(
                address,
                autocommit=True,
                connect_timeout=10,
                options=_SESSION,
                application_name="training_assets",
                row_factory=tuple_row,
                # Scripts of several statements with parameters, which a server cannot prepare.
                cursor_factory=psycopg.ClientCursor,
            )
            self._was_reached = True
            if self._connection.info.server_version < _MIN_VERSION:
                raise DatabaseError(
                    f"database {self.name}: it is PostgreSQL "
                    f"{self._connection.info.server_version // 10_000}; expected 15 or newer. Use "
                    "a newer server."
                )
        return self._connection

    def _told(self, error: Exception) -> str:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        if self._is_server:
            parts = psycopg.conninfo.conninfo_to_dict(self._location)
            for part in ("password", "passfile", "sslpassword"):
                if parts.get(part):
                    text = text.replace(str(parts[part]), "***")
        return text


def _is_for_good(error: Exception) -> bool:
    text = str(error)
    return "FATAL" in text and not any(words in text for words in _PASSING)


def database_location(settings: TransactionSettings) -> str:
    """The setting; else a folder within the workdir, or beside it where that is no folder."""
    if settings.database:
        return settings.database
    workdir = canonical(settings.workdir, "transactions")
    return _DEFAULT_FOLDER if "://" in workdir else str(Path(workdir) / "temp" / "postgres")


def migrate(connection: Connection) -> None:
    """Bring the schema to the version that this code knows; raises ``DatabaseError`` if newer."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY, "
        "migrated_at timestamptz NOT NULL DEFAULT now())"
    )
    (version,) = one(connection, "SELECT coalesce(max(version), 0) FROM schema_version")
    steps = sorted(file.name for file in _SQL.iterdir() if file.name.startswith("migration_"))
    if version > len(steps):
        raise DatabaseError(
            f"database: its schema has version {version}; expected at most {len(steps)}. Use the "
            "version of training-assets that made it, or a newer one."
        )
    for number, name in enumerate(steps[version:], version + 1):
        connection.execute(sql(name))
        connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (number,))


@cache
def sql(name: str) -> LiteralString:
    """The text of a statement kept in ``sql/``."""
    return cast(LiteralString, (_SQL / name).read_text("utf-8"))


def one(connection: Connection, statement: LiteralString, parameters: Any = None) -> Any:
    """The only row of an answer."""
    row = connection.execute(statement, parameters).fetchone()
    if row is None:
        raise DatabaseError(
            "database: a row is missing; run 'training-assets transactions rebuild'."
        )
    return row
