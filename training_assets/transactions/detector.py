"""Mechanism Y: takes the chunks of the inbox in order, each once, and says what they show.

``Detector.process_batch`` is the work on a micro-batch, on a PySpark DataFrame. Spark's
``foreachBatch`` calls it (``structured.py``), and so does the loop in ``loop.py``, for engines that
have no ``foreachBatch``. What was applied is known by the ledger in the database, so it makes no
difference who calls it, how often, and with which rows.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import takewhile

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from training_assets.errors import ChunkError, DatabaseError
from training_assets.lake import Store
from training_assets.transactions.counting import (
    as_frame,
    count_rows,
    count_weights,
    good_totals,
    rejected_between,
    split_by_chunk,
)
from training_assets.transactions.database import Connection, Database, one
from training_assets.transactions.export import DETECTIONS, close_file, export_files
from training_assets.transactions.inbox import Chunk, Inbox, Listing, Weights, remove_abandoned
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.state import (
    Arrived,
    apply_chunks,
    apply_weights,
    prepare,
    require_same,
)


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
        remove_abandoned(workdir.child(DETECTIONS))
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
        totals, rejected = count_rows(batch, by_chunk=True)
        listing = self._inbox.look()
        known = {(chunk.first, chunk.last): chunk for chunk in listing.chunks}
        parts = split_by_chunk(totals)
        # Chunks that were counted together share the time that it took.
        counted = (time.monotonic() - began) / max(1, len(parts))
        for key, of_chunk in parts.items():
            began = time.monotonic() - counted
            if key not in known:
                raise ChunkError(
                    f"batch {batch_id}: it has rows of a chunk {key[0]} to {key[1]} that is not in "
                    f"{self._inbox.store.url}; expected chunks of this inbox. Stream that folder."
                )
            self._catch_up(key[0], listing)
            self._apply_weights(key[0], listing.weights)
            sha256 = self._inbox.sha256(known[key].entry.path)
            self._apply([known[key]], [sha256], of_chunk, rejected, began)
        self.export()

    def arrivals(self) -> list[Chunk]:
        """Chunks that follow what was applied, without a gap, after the weights before them."""
        listing = self._inbox.look()
        self._apply_weights(self.next_row, listing.weights)
        return self._following(listing.chunks)

    def read(self, chunks: Sequence[Chunk]) -> tuple[DataFrame, list[str]]:
        """Rows of chunks as a DataFrame, and the SHA-256 of each."""
        found = [self._inbox.read(chunk.entry.path) for chunk in chunks]
        table = pa.concat_tables([table.replace_schema_metadata(None) for table, _ in found])
        return as_frame(self._session, table), [sha256 for _, sha256 in found]

    def apply_as_one(self) -> int:
        """Apply all chunks that wait in one transaction: what is true at their end is detected."""
        listing = self._inbox.look()
        if chunks := self._following(listing.chunks):
            for weights in listing.weights:
                if weights.from_row <= chunks[-1].first:
                    self._apply_version(weights)
            self._apply_read(chunks)
        self.export()
        return len(chunks)

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

    def _following(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        next_row = self.next_row
        later = [chunk for chunk in chunks if chunk.last >= next_row]
        ends = [next_row, *(chunk.last + 1 for chunk in later)]
        follows = zip(later, ends, strict=False)
        return [chunk for chunk, _ in takewhile(lambda pair: pair[0].first <= pair[1], follows)]

    def _catch_up(self, row: int, listing: Listing) -> None:
        """Apply chunks before ``row`` that the stream did not bring."""
        while self.next_row < row:
            missed = [chunk for chunk in self._following(listing.chunks) if chunk.last < row]
            if not missed:
                return
            self._apply_weights(missed[0].first, listing.weights)
            self._apply_read(missed[:1])

    def _apply_read(self, chunks: Sequence[Chunk]) -> None:
        began = time.monotonic()
        frame, sha256 = self.read(chunks)
        self._apply(chunks, sha256, *count_rows(frame), began)

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
        arrived = Arrived(
            chunks, sha256, good_totals(totals), rejected_between(rejected, first, last)
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

    def _apply_weights(self, row: int, versions: Sequence[Weights]) -> None:
        """Put versions in force that apply from ``row`` on, if all rows before it are applied."""
        next_row, next_weights = self._database.run(
            lambda c: one(c, "SELECT next_row, next_weights FROM progress")
        )
        for weights in versions:
            if weights.number >= next_weights and weights.from_row <= min(row, next_row):
                self._apply_version(weights)

    def _apply_version(self, weights: Weights) -> None:
        table, sha256 = self._inbox.read(weights.path)
        totals, rejected = count_weights(as_frame(self._session, table))
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

    @property
    def next_row(self) -> int:
        """The row that the next chunk begins with."""
        return int(self._database.run(lambda c: one(c, "SELECT next_row FROM progress"))[0])

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
