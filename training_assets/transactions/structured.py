"""The driver on Apache Spark: Structured Streaming over the inbox, with ``foreachBatch``.

The checkpoint spares Spark to look at old chunks; what was applied is known by the ledger alone.
So a checkpoint may be lost, and one that is ahead of the ledger loses nothing: what the stream does
not bring is read from the inbox.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType

from training_assets.errors import EngineError, TrainingAssetsError
from training_assets.lake import Store
from training_assets.transactions.detector import Detector
from training_assets.transactions.inbox import CHUNK_SCHEMA, RAW
from training_assets.transactions.loop import detect_all

_CHUNKS_A_BATCH: Final = 8
_POLL_SECONDS: Final = 0.2
_SCHEMA: Final = StructType(
    [
        StructField(field.name, LongType() if field.type == "int64" else StringType())
        for field in CHUNK_SCHEMA
    ]
)


def stream_all(detector: Detector, session: SparkSession, workdir: Store) -> None:
    """Apply what waits, in micro-batches; detections that fill no file wait for more."""
    with _query(detector, session, workdir, availableNow=True) as query:
        query.awaitTermination()
    detect_all(detector)


def stream_until(
    detector: Detector,
    session: SparkSession,
    workdir: Store,
    flush_after: float,
    stop: threading.Event,
) -> None:
    """Apply chunks as they appear until ``stop`` is set and none waits; then export all."""
    detector.arrivals()
    with _query(detector, session, workdir, processingTime="0 seconds") as query:
        while not stop.wait(_POLL_SECONDS) and query.isActive:
            detector.close_if_quiet(flush_after)
        query.processAllAvailable()
    detect_all(detector)
    detector.close()


@contextmanager
def _query(
    detector: Detector, session: SparkSession, workdir: Store, **trigger: Any
) -> Iterator[Any]:
    """The query; what it fails with is the error that was raised in the batch."""
    if not workdir.is_local:
        raise EngineError(
            f"engine spark: streaming from {workdir.url} needs a Spark with that store's files; "
            "expected a local workdir. Use the driver 'ledger', which reads any store."
        )
    failures: list[TrainingAssetsError] = []

    def process(batch: DataFrame, batch_id: int) -> None:
        try:
            detector.process_batch(batch, batch_id)
        except TrainingAssetsError as error:
            failures.append(error)
            raise

    stream = (
        session.readStream.schema(_SCHEMA)
        .option("maxFilesPerTrigger", _CHUNKS_A_BATCH)
        .option("pathGlobFilter", "chunk-*.parquet")
        .parquet(workdir.uri(RAW))
    )
    query = (
        stream.writeStream.foreachBatch(process)
        .option("checkpointLocation", workdir.uri("temp/checkpoint"))
        .trigger(**trigger)
        .start()
    )
    try:
        yield query
    except Exception:
        if failures:
            raise failures[0] from None
        raise
    finally:
        query.stop()
