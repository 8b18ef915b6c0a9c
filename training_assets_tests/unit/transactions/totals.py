"""The state on its own: totals of a chunk go in, without feed, files and engine."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa

from training_assets.lake import Entry
from training_assets.transactions.database import Connection, Database
from training_assets.transactions.inbox import Chunk, Weights
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.state import (
    Arrived,
    apply_chunks,
    apply_weights,
    prepare,
    start_again,
)

STARTED = datetime(2026, 3, 1, 18, 29, 59, tzinfo=UTC)
AMOUNT = pa.decimal128(38, 18)
NOTHING = pa.table(
    {
        "row": pa.array([], pa.int64()),
        "reason": pa.array([], pa.string()),
        "content": pa.array([], pa.string()),
    }
)


class Total(NamedTuple):
    """So many transactions of a customer with a merchant, of so much in all."""

    merchant: str
    customer: str
    count: int
    amount: str = "0"
    gender: str = "F"


class State:
    """An emptied database that chunks are applied to, one after another."""

    def __init__(self, database: Database, **limits: Any) -> None:
        self.database = database
        self.settings = TransactionSettings(**limits)
        database.run(lambda connection: start_again(connection, self.settings, generation=0))
        self._next_row = self._next_weights = 0

    def apply(self, *totals: Total) -> list[tuple[str, str, str]]:
        """Apply one chunk; returns what is detected, as (pattern, merchant, customer)."""
        first = self._next_row
        self._next_row += max(1, sum(total.count for total in totals))
        chunk = Chunk(first, self._next_row - 1, Entry(f"chunk-{first}", 1, 1))
        arrived = Arrived([chunk], [f"sha-{first}"], _table(totals), NOTHING)
        return self._detected(lambda connection: self.put(connection, arrived))

    def put(self, connection: Connection, arrived: Arrived) -> str:
        generation = prepare(connection, self.settings)
        return apply_chunks(
            connection,
            arrived,
            self.settings,
            generation=generation,
            started_at=STARTED,
            began=time.monotonic(),
        )

    def weigh(self, *weights: tuple[str, str, Sequence[str]]) -> list[tuple[str, str, str]]:
        """Put weights of (merchant, customer) in force; returns what is detected."""
        number = self._next_weights
        self._next_weights += 1
        table = pa.table(
            {
                "merchant_id": pa.array([merchant for merchant, _, _ in weights], pa.string()),
                "customer_id": pa.array([customer for _, customer, _ in weights], pa.string()),
                "weight_sum": pa.array([sum(map(Decimal, w)) for _, _, w in weights], AMOUNT),
                "weight_count": pa.array([len(w) for _, _, w in weights], pa.int64()),
            }
        )

        def put(connection: Connection) -> bool:
            return apply_weights(
                connection,
                Weights(number, self._next_row, "weights"),
                f"sha-{number}",
                table,
                NOTHING,
                self.settings,
                generation=prepare(connection, self.settings),
                started_at=STARTED,
            )

        return self._detected(put)

    def _detected(self, work: Any) -> list[tuple[str, str, str]]:
        before = self.ask("SELECT coalesce(max(detection_id), 0) FROM detections")[0][0]
        self.database.run(work)
        return self.ask(  # type: ignore[return-value]
            "SELECT pattern_id, merchant_id, customer_id FROM detections "
            f"WHERE detection_id > {before} ORDER BY detection_id"
        )

    def current(self) -> list[tuple[str, str, str]]:
        return self.ask(  # type: ignore[return-value]
            "SELECT pattern_id, merchant_id, customer_id FROM current_detections ORDER BY 1, 2, 3"
        )

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return self.database.run(lambda connection: connection.execute(query).fetchall())  # type: ignore[call-overload,no-any-return]


def _table(totals: Sequence[Total]) -> pa.Table:
    return pa.table(
        {
            "merchant_id": pa.array([t.merchant for t in totals], pa.string()),
            "customer_id": pa.array([t.customer for t in totals], pa.string()),
            "transaction_count": pa.array([t.count for t in totals], pa.int64()),
            "sum_amount": pa.array([Decimal(t.amount) for t in totals], AMOUNT),
            "last_row": pa.array(range(len(totals)), pa.int64()),
            "gender": pa.array([t.gender for t in totals], pa.string()),
        }
    )
