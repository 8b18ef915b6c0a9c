"""Mechanism Y: takes the chunks of the inbox in order, each once, and says what they show.

``Detector.process_batch`` is the work on a micro-batch, on a PySpark DataFrame. Spark's
``foreachBatch`` calls it (``structured.py``), and so does ``detect_all``, the loop for engines that
have no ``foreachBatch``. What was applied is known by the ledger in the database, so it makes no
difference who calls it, how often, and with which rows.
"""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType

from training_assets.errors import ChunkError, DatabaseError
from training_assets.lake import Store
from training_assets.transactions.cleaning import (
    clean_transactions,
    clean_weights,
    pair_totals,
    quarantined,
    weight_totals,
)
from training_assets.transactions.database import Connection, Database, one
from training_assets.transactions.export import DETECTIONS, close_file, export_files
from training_assets.transactions.inbox import Chunk, Inbox, Weights
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.state import (
    Arrived,
    apply_chunks,
    apply_weights,
    prepare,
    require_same,
)

# Together they cost the engine little more than one, and none waits long for the others.
_CHUNKS_AT_ONCE: Final = 8
_POLL_SECONDS: Final = 0.1


class Detector:
    """Applies chunks to the database and puts the files of what it detects."""

    def __init__(
        self,
        session: SparkSession,
        workdir: Store,
        database: Database,
        settings: TransactionSettings,
        progress: Callable[[str], None],
    ) -> None:
        """Raises ``DatabaseError`` where the state was made with other settings."""
        self._session = session
        self._workdir = workdir
        self._inbox = Inbox(workdir)
        self._database = database
        self._settings = settings
        self._progress = progress
        self._started_at = datetime.now(UTC)
        self._generation = database.run(lambda connection: prepare(connection, settings))
        self._quiet_since = time.monotonic()
        database.run(self._require_own_files)
        self._require_unchanged()

    @property
    def inbox(self) -> Inbox:
        return self._inbox

    def process_batch(self, batch: DataFrame, batch_id: int) -> None:
        """Apply the chunks whose rows ``batch`` holds, whole, and export what they show.

        Chunks before them that no batch brought are applied first; chunks after a gap wait in the
        inbox. A chunk that was applied changes nothing. Raises ``ChunkError``.
        """
        began = time.monotonic()
        clean = clean_transactions(batch)
        totals = pair_totals(clean, by_chunk=True).toArrow()
        rejected = self._rejected(clean, totals)
        brought = {
            (first, last): totals.filter(pc.equal(totals["chunk_first"], first))
            for first, last in _ranges(totals)
        }
        known = {(chunk.first, chunk.last): chunk for chunk in self._inbox.chunks()}
        for key in sorted(brought):
            if key not in known:
                raise ChunkError(
                    f"batch {batch_id}: it has rows of a chunk {key[0]} to {key[1]} that is not in "
                    f"{self._inbox.store.url}; expected chunks of this inbox. Stream that folder."
                )
            self._catch_up(key[0])
            sha256 = self._inbox.sha256(known[key].entry.path)
            self._apply([known[key]], [sha256], brought[key], rejected, began)
            began = time.monotonic()
        self.export()

    def waiting(self) -> list[Chunk]:
        """Chunks that follow what was applied, without a gap."""
        next_row = self.next_row
        chunks = [chunk for chunk in self._inbox.chunks() if chunk.last >= next_row]
        ends = [next_row, *(chunk.last + 1 for chunk in chunks)]
        follows = zip(chunks, ends, strict=False)
        return [chunk for chunk, _ in takewhile(lambda pair: pair[0].first <= pair[1], follows)]

    def read(self, chunks: Sequence[Chunk]) -> tuple[DataFrame, list[str]]:
        """Rows of chunks as a DataFrame, and the SHA-256 of each."""
        found = [self._inbox.read(chunk.entry.path) for chunk in chunks]
        table = pa.concat_tables([table.replace_schema_metadata(None) for table, _ in found])
        return self._frame(table), [sha256 for _, sha256 in found]

    def apply_as_one(self) -> int:
        """Apply all chunks that wait in one transaction: what is true at their end is detected."""
        began = time.monotonic()
        chunks = self.waiting()
        if chunks:
            self._apply_weights(chunks[-1].first)
            frame, sha256 = self.read(chunks)
            clean = clean_transactions(frame)
            totals = pair_totals(clean, by_chunk=False).toArrow()
            rejected = self._rejected(clean, totals)
            self._apply(chunks, sha256, totals, rejected, began)
        self.export()
        return len(chunks)

    def take_weights(self) -> None:
        """Put versions of the weights in force that apply from here on."""
        self._apply_weights(self.next_row)

    def export(self) -> None:
        export_files(self._database, self._workdir)

    def close(self) -> None:
        """Export all detections, also those that fill no file."""
        close_file(self._database)
        self.export()

    def close_if_quiet(self, seconds: float) -> None:
        """``close`` where no chunk came for so long; once, until the next one comes."""
        if time.monotonic() - self._quiet_since >= seconds:
            self._quiet_since = float("inf")
            self.close()

    def _catch_up(self, row: int) -> None:
        """Apply chunks before ``row`` that the stream did not bring."""
        while missed := [chunk for chunk in self.waiting() if chunk.last < row]:
            self._apply_read(missed[:1])

    def _apply_read(self, chunks: Sequence[Chunk]) -> None:
        began = time.monotonic()
        frame, sha256 = self.read(chunks)
        clean = clean_transactions(frame)
        totals = pair_totals(clean, by_chunk=False).toArrow()
        self._apply(chunks, sha256, totals, self._rejected(clean, totals), began)

    def _apply(
        self,
        chunks: Sequence[Chunk],
        sha256: Sequence[str],
        totals: pa.Table,
        rejected: pa.Table,
        began: float,
    ) -> None:
        first, last = chunks[0].first, chunks[-1].last
        rows = pc.sum(totals["transaction_count"]).as_py() or 0
        if rows != last - first + 1:
            raise ChunkError(
                f"{chunks[0].entry.path}: {rows} rows were read; expected {last - first + 1}, as "
                "its name says. Put the whole chunk back."
            )
        self._apply_weights(first)
        good = totals.filter(pc.is_valid(totals["merchant_id"]))
        inside = pc.and_(
            pc.greater_equal(rejected["row"], first), pc.less_equal(rejected["row"], last)
        )
        arrived = Arrived(
            chunks,
            sha256,
            good.select(
                [
                    "merchant_id",
                    "customer_id",
                    "transaction_count",
                    "sum_amount",
                    "last_row",
                    "gender",
                ]
            ),
            rejected.filter(inside),
        )
        outcome = self._database.run(
            lambda connection: apply_chunks(
                connection,
                arrived,
                self._settings,
                generation=self._generation,
                started_at=self._started_at,
                began=began,
            )
        )
        self._quiet_since = time.monotonic()
        self._progress(f"rows {first:,} to {last:,}: {outcome}")

    def _apply_weights(self, row: int) -> None:
        for weights in self._inbox.weights():
            if weights.from_row <= row and weights.number >= self._next_weights():
                self._apply_version(weights)

    def _apply_version(self, weights: Weights) -> None:
        table, sha256 = self._inbox.read(weights.path)
        clean = clean_weights(self._frame(table))
        totals = weight_totals(clean).toArrow()
        rejected = _none_rejected()
        if pc.sum(pc.is_null(totals["merchant_id"])).as_py():
            rejected = quarantined(clean).toArrow()
        totals = totals.filter(pc.is_valid(totals["merchant_id"]))
        self._database.run(
            lambda connection: apply_weights(
                connection,
                weights,
                sha256,
                totals,
                rejected,
                self._settings,
                generation=self._generation,
                started_at=self._started_at,
            )
        )
        self._progress(f"weights of version {weights.number}: {totals.num_rows:,} pairs")

    def _frame(self, table: pa.Table) -> DataFrame:
        # Of these very bytes, whichever stores the engine can read; and of no rows, too.
        schema = StructType([_field(field) for field in table.schema])
        return self._session.createDataFrame(table.replace_schema_metadata(None), schema)

    def _rejected(self, clean: DataFrame, totals: pa.Table) -> pa.Table:
        # Asked for only where there are some: it is a second pass over the rows.
        if pc.sum(pc.is_null(totals["merchant_id"])).as_py():
            return quarantined(clean).toArrow()
        return _none_rejected()

    @property
    def next_row(self) -> int:
        """The row that the next chunk begins with."""
        return int(self._database.run(lambda c: one(c, "SELECT next_row FROM progress"))[0])

    def _next_weights(self) -> int:
        return int(self._database.run(lambda c: one(c, "SELECT next_weights FROM progress"))[0])

    def _require_own_files(self, connection: Connection) -> None:
        """Raise ``DatabaseError`` where a database with nothing in it would number files again."""
        next_row, next_detection, generation = one(
            connection, "SELECT next_row, next_detection, generation FROM progress"
        )
        if next_row or next_detection > 1 or generation:
            return
        store = self._workdir.child(DETECTIONS)
        if found := store.list():
            raise DatabaseError(
                f"{store.url}: it holds {found[0].path} and others, and the database holds "
                "nothing; expected the database that made them. Correct "
                "TRAINING_ASSETS_DATABASE, or run 'training-assets transactions rebuild', which "
                "keeps them and writes to a new folder."
            )

    def _require_unchanged(self) -> None:
        """Compare again the chunks that were applied and whose objects were written since."""
        seen: dict[int, str] = self._database.run(
            lambda c: dict(
                c.execute("SELECT first_row, object_version FROM applied_chunks").fetchall()
            )
        )
        next_row = self.next_row
        for chunk in self._inbox.chunks():
            if chunk.first < next_row and seen.get(chunk.first) != chunk.object_version:
                self._require_same(chunk)

    def _require_same(self, chunk: Chunk) -> None:
        sha256 = self._inbox.sha256(chunk.entry.path)
        self._database.run(lambda connection: require_same(connection, chunk, sha256))


def detect_all(detector: Detector) -> int:
    """Apply what waits until nothing does; returns the number of chunks.

    Detections that fill no file wait for more; ``Detector.close`` exports them.
    """
    done = 0
    detector.take_weights()
    while chunks := detector.waiting():
        frame, _ = detector.read(chunks[:_CHUNKS_AT_ONCE])
        detector.process_batch(frame, done)
        done += len(chunks[:_CHUNKS_AT_ONCE])
    detector.export()
    return done


def detect_until(detector: Detector, flush_after: float, stop: threading.Event) -> None:
    """Apply chunks as they appear until ``stop`` is set and none waits; then export all.

    After ``flush_after`` seconds without a chunk, detections that fill no file are exported too.
    """
    is_last = False
    while detect_all(detector) or not is_last:
        is_last = stop.wait(_POLL_SECONDS)
        detector.close_if_quiet(flush_after)
    detector.close()


def _ranges(totals: pa.Table) -> list[tuple[int, int]]:
    keys = totals.group_by(["chunk_first", "chunk_last"]).aggregate([])
    return sorted(zip(keys["chunk_first"].to_pylist(), keys["chunk_last"].to_pylist(), strict=True))


def _field(field: pa.Field) -> StructField:
    is_number = pa.types.is_integer(field.type)
    return StructField(field.name, LongType() if is_number else StringType(), field.nullable)


def _none_rejected() -> pa.Table:
    return pa.table(
        {
            "row": pa.array([], pa.int64()),
            "reason": pa.array([], pa.string()),
            "content": pa.array([], pa.string()),
        }
    )
