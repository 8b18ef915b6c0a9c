"""What the database holds, for people: the tables by name, and what happened in figures."""

from dataclasses import dataclass
from typing import Any, Final, LiteralString

from training_assets.transactions.database import Connection, Database, migrate, one
from training_assets.transactions.export import HEADER, action, in_ist


@dataclass(frozen=True)
class View:
    columns: tuple[str, ...]
    query: LiteralString


_DETECTIONS: Final[LiteralString] = (
    "SELECT started_at, detected_at, pattern_id, is_end, customer_id, merchant_id FROM detections "
)
VIEWS: Final = {
    "merchants": View(
        ("merchant_id", "transaction_count"),
        "SELECT merchant_id, transaction_count FROM merchant_transaction_counts "
        "ORDER BY transaction_count DESC, merchant_id",
    ),
    "customers": View(
        (
            "merchant_id",
            "customer_id",
            "transaction_count",
            "sum_amount",
            "weight_sum",
            "weight_count",
        ),
        "SELECT merchant_id, customer_id, transaction_count, sum_amount, weight_sum, weight_count "
        "FROM customer_merchant_stats ORDER BY transaction_count DESC, merchant_id, customer_id",
    ),
    "genders": View(
        ("merchant_id", "gender", "customer_count"),
        "SELECT merchant_id, gender, customer_count FROM merchant_gender_stats "
        "ORDER BY merchant_id, gender",
    ),
    "detections": View(HEADER, _DETECTIONS + "ORDER BY detection_id"),
    "current": View(
        HEADER,
        "SELECT d.started_at, c.detected_at, c.pattern_id, false, c.customer_id, c.merchant_id "
        "FROM current_detections c LEFT JOIN detections d USING (detection_id) "
        "ORDER BY c.pattern_id, c.merchant_id, c.customer_id",
    ),
}


@dataclass(frozen=True)
class Summary:
    """``latency`` is from the put of a chunk to its commit, ``seconds`` the work on it alone; both
    are median and 99th percentile in seconds, of the recent chunks, None where there are none.
    """

    chunks: int
    rows: int
    quarantined: int
    by_pattern: dict[str, int]
    current: int
    files: int
    latency: tuple[float, float] | None
    seconds: tuple[float, float] | None
    recent_chunks: int
    recent_detections: int


def rows_of(database: Database, name: str) -> list[tuple[Any, ...]]:
    """The rows of a view, times in Indian Standard Time."""

    def read(connection: Connection) -> list[tuple[Any, ...]]:
        migrate(connection)
        return connection.execute(VIEWS[name].query).fetchall()

    found = database.run(read)
    if VIEWS[name].columns != HEADER:
        return found
    return [
        (in_ist(started), in_ist(detected), pattern, action(pattern, is_end), customer, merchant)
        for started, detected, pattern, is_end, customer, merchant in found
    ]


def summary(database: Database, *, since_row: int = 0) -> Summary:
    """What happened; the recent chunks are those from ``since_row`` on."""
    return database.run(lambda connection: _summary(connection, since_row))


def _summary(connection: Connection, since_row: int) -> Summary:
    chunks, rows, quarantined = one(
        connection,
        "SELECT count(*), coalesce(sum(row_count), 0), coalesce(sum(quarantined_count), 0) "
        "FROM applied_chunks",
    )
    by_pattern = connection.execute(
        "SELECT pattern_id, count(*) FROM detections WHERE NOT is_end GROUP BY 1 ORDER BY 1"
    ).fetchall()
    (current,) = one(connection, "SELECT count(*) FROM true_patterns")
    (files,) = one(connection, "SELECT count(*) FROM detection_files WHERE exported_at IS NOT NULL")
    latency, seconds, recent_chunks, recent_detections = one(
        connection,
        "SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP "
        "(ORDER BY extract(epoch FROM applied_at - put_at)::float8), "
        "percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY seconds), "
        "count(*), coalesce(sum(detection_count), 0)::bigint "
        "FROM applied_chunks WHERE first_row >= %s",
        (since_row,),
    )
    return Summary(
        chunks,
        int(rows),
        int(quarantined),
        {str(pattern): int(count) for pattern, count in by_pattern},
        current,
        files,
        tuple(latency) if latency else None,
        tuple(seconds) if seconds else None,
        recent_chunks,
        recent_detections,
    )
