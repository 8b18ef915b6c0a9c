"""What a chunk does to the database, in one transaction: state, detections, files planned, ledger.

The update of ``progress`` is order, mutual exclusion and the end of repetition in one: it finds the
row only where the chunk is the next one, and whoever comes second waits for it.
"""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
from psycopg.sql import SQL, Identifier
from pyarrow import csv as arrow_csv

from training_assets.errors import ChunkError, DatabaseError
from training_assets.transactions.database import Connection, migrate, one, sql
from training_assets.transactions.inbox import Chunk, Weights
from training_assets.transactions.settings import TransactionSettings

_QUARANTINE_ROWS: Final = ("source", "row", "reason", "content")
Outcome = Literal["applied", "repeated", "waiting"]


@dataclass(frozen=True)
class Arrived:
    """Chunks that follow one another, counted as one, and what was read of them.

    ``totals`` has a row per merchant and customer, ``rejected`` one per row that cannot be taken.
    """

    chunks: Sequence[Chunk]
    sha256: Sequence[str]
    totals: pa.Table
    rejected: pa.Table

    @property
    def first(self) -> int:
        return self.chunks[0].first

    @property
    def last(self) -> int:
        return self.chunks[-1].last


def prepare(connection: Connection, settings: TransactionSettings) -> int:
    """Have the schema, and the settings that the state is made with; returns its generation.

    Raises ``DatabaseError`` where it was made with other settings.
    """
    migrate(connection)
    (generation,) = one(connection, "SELECT generation FROM progress FOR UPDATE")
    made_with: dict[str, str] = dict(
        connection.execute("SELECT name, value FROM pattern_settings").fetchall()
    )
    if not made_with:
        store_settings(connection, settings)
        return int(generation)
    for name, value in settings.limits.items():
        if made_with.get(name) != value:
            raise DatabaseError(
                f"database: {name} is {value}; expected {made_with.get(name)}, with which the "
                "state was made. Set it back, or run 'training-assets transactions rebuild'."
            )
    return int(generation)


def store_settings(connection: Connection, settings: TransactionSettings) -> None:
    connection.execute("DELETE FROM pattern_settings")
    for name, value in settings.limits.items():
        connection.execute("INSERT INTO pattern_settings VALUES (%s, %s)", (name, value))


def apply_chunks(
    connection: Connection,
    arrived: Arrived,
    settings: TransactionSettings,
    *,
    generation: int,
    started_at: datetime,
    began: float,
) -> Outcome:
    """Make chunks part of the state, once.

    ``generation`` is that of the state as ``prepare`` found it, ``began`` when the work on these
    chunks did, by the monotonic clock. Returns "waiting" where chunks before them are missing.
    Raises ``ChunkError`` where they overlap what was applied, or are other than they were then.
    """
    moved = connection.execute(
        "UPDATE progress SET next_row = %s WHERE next_row = %s AND generation = %s "
        "RETURNING next_detection",
        (arrived.last + 1, arrived.first, generation),
    ).fetchone()
    if moved is None:
        return _why_not(connection, arrived, generation)
    change_state(connection, arrived.totals, settings)
    parameters = _parameters(settings) | {"started_at": started_at, "is_weights": False}
    for script in ("rank.sql", "detect.sql"):
        connection.execute(sql(script), parameters)
    _quarantine(connection, "transactions", arrived.rejected)
    made = one(connection, "SELECT next_detection FROM progress")[0] - moved[0]
    _enter(connection, arrived, made, time.monotonic() - began)
    return "applied"


def change_state(connection: Connection, totals: pa.Table, settings: TransactionSettings) -> None:
    """Add the totals of chunks to counts, sums and genders; patterns and ledger stay as they are.

    What was touched is in temporary tables (``session_tables.sql``) until the transaction ends.
    """
    _have_session_tables(connection)
    _copy(connection, "incoming", totals)
    for script in ("apply_counts.sql", "apply_genders.sql"):
        connection.execute(sql(script), _parameters(settings))


def apply_weights(
    connection: Connection,
    weights: Weights,
    sha256: str,
    totals: pa.Table,
    rejected: pa.Table,
    settings: TransactionSettings,
    *,
    generation: int,
    started_at: datetime,
) -> bool:
    """Put a version of the weights in force, once; False where it is, or a newer one."""
    moved = connection.execute(
        "UPDATE progress SET next_weights = %s WHERE next_weights = %s AND generation = %s "
        "RETURNING next_row",
        (weights.number + 1, weights.number, generation),
    ).fetchone()
    if moved is None:
        _require_generation(connection, generation)
        return False
    _have_session_tables(connection)
    _copy(connection, "incoming_weights", totals)
    parameters = _parameters(settings) | {"started_at": started_at, "is_weights": True}
    for script in ("apply_weights.sql", "rank.sql", "detect.sql"):
        connection.execute(sql(script), parameters)
    connection.execute("DELETE FROM quarantine WHERE source = 'importance'")
    _quarantine(connection, "importance", rejected)
    rows = pc.sum(totals["weight_count"]).as_py() or 0
    connection.execute(
        "INSERT INTO applied_weights VALUES (%s, %s, %s, %s, %s, clock_timestamp())",
        (weights.number, weights.from_row, moved[0], sha256, rows + rejected.num_rows),
    )
    return True


def start_again(connection: Connection, settings: TransactionSettings, *, generation: int) -> None:
    """Empty the state, to be made under these settings; ``generation`` names its files."""
    migrate(connection)
    connection.execute("SELECT FROM progress FOR UPDATE")
    connection.execute(
        "TRUNCATE applied_chunks, applied_weights, quarantine, merchant_transaction_counts, "
        "customer_merchant_stats, customers, merchant_gender_stats, customer_importance, "
        "merchant_count_histogram, upgrade_thresholds, true_patterns, detections, detection_files"
    )
    connection.execute(
        "UPDATE progress SET next_row = 0, next_weights = 0, next_detection = 1, "
        "next_unfiled = 1, generation = %s",
        (generation,),
    )
    store_settings(connection, settings)


def _require_generation(connection: Connection, generation: int) -> None:
    (found,) = one(connection, "SELECT generation FROM progress")
    if found != generation:
        raise DatabaseError(
            "database: the state was started again by another process; expected the one that this "
            "process began with. Start this process again."
        )


def _why_not(connection: Connection, arrived: Arrived, generation: int) -> Outcome:
    _require_generation(connection, generation)
    (next_row,) = one(connection, "SELECT next_row FROM progress")
    if arrived.first > next_row:
        return "waiting"
    for chunk, sha256 in zip(arrived.chunks, arrived.sha256, strict=True):
        require_same(connection, chunk, sha256)
    return "repeated"


def require_same(connection: Connection, chunk: Chunk, sha256: str) -> None:
    """Raise ``ChunkError`` unless this very chunk was applied."""
    known = connection.execute(
        "SELECT first_row, last_row, sha256 FROM applied_chunks "
        "WHERE first_row <= %s AND last_row >= %s ORDER BY first_row LIMIT 1",
        (chunk.last, chunk.first),
    ).fetchone()
    if known is None or known[:2] != (chunk.first, chunk.last):
        raise ChunkError(
            f"{chunk.entry.path}: its rows overlap the chunk of rows {known[0] if known else 0} to "
            f"{known[1] if known else 0}, which was applied; expected the chunks as they were "
            "applied. Take it away if the feed did not make it, or run "
            "'training-assets transactions rebuild'."
        )
    if known[2] != sha256:
        raise ChunkError(
            f"{chunk.entry.path}: its SHA-256 is {sha256[:12]}…; expected {known[2][:12]}…, as "
            "when it was applied. Put it back, or run 'training-assets transactions rebuild'."
        )
    connection.execute(
        "UPDATE applied_chunks SET object_version = %s "
        "WHERE first_row = %s AND object_version <> %s",
        (chunk.object_version, chunk.first, chunk.object_version),
    )


def _enter(connection: Connection, arrived: Arrived, made: int, seconds: float) -> None:
    """The ledger's rows; what was found in several chunks together is of the last one."""
    rejected = arrived.rejected["row"]
    for chunk, sha256 in zip(arrived.chunks, arrived.sha256, strict=True):
        is_last = chunk is arrived.chunks[-1]
        inside = pc.and_(
            pc.greater_equal(rejected, chunk.first), pc.less_equal(rejected, chunk.last)
        )
        connection.execute(
            "INSERT INTO applied_chunks VALUES "
            "(%s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp(), %s)",
            (
                chunk.first,
                chunk.last,
                sha256,
                chunk.object_version,
                chunk.last - chunk.first + 1,
                pc.sum(inside).as_py() or 0,
                made if is_last else 0,
                datetime.fromtimestamp(chunk.entry.modified_ns / 1e9, UTC),
                seconds / len(arrived.chunks),
            ),
        )


def _have_session_tables(connection: Connection) -> None:
    (has_them,) = one(connection, "SELECT to_regclass('pg_temp.incoming') IS NOT NULL")
    if not has_them:
        connection.execute(sql("session_tables.sql"))


def _quarantine(connection: Connection, source: str, rejected: pa.Table) -> None:
    if rejected.num_rows:
        content = pc.replace_substring(rejected["content"], "\x00", "\\x00")
        columns = [pa.array([source] * rejected.num_rows), rejected["row"]]
        columns += [rejected["reason"], content]
        table = pa.table(columns, names=list(_QUARANTINE_ROWS))
        _copy(connection, "quarantine", table)


def _copy(connection: Connection, table: str, rows: pa.Table) -> None:
    names = SQL(", ").join(map(Identifier, rows.column_names))
    out = io.BytesIO()
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="needed")
    arrow_csv.write_csv(rows, out, options)
    statement = SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(Identifier(table), names)
    with connection.cursor().copy(statement) as copy:
        copy.write(out.getvalue())


def _parameters(settings: TransactionSettings) -> dict[str, Any]:
    top, bottom = Fraction(settings.upgrade_top), Fraction(settings.upgrade_bottom)
    return {
        "upgrade_min_transactions": settings.upgrade_min_transactions,
        "top": top.numerator,
        "top_parts": top.denominator,
        "bottom": bottom.numerator,
        "bottom_parts": bottom.denominator,
        "child_max_average": settings.child_max_average,
        "child_min_transactions": settings.child_min_transactions,
        "women_min": settings.women_min,
        "file_rows": settings.file_rows,
        "emits_changes": settings.emit == "changes",
    }
