"""The driver for engines without ``foreachBatch``: over chunks that the ledger does not name."""

import threading
from typing import Final

from training_assets.transactions.detector import Detector

# Together they cost the engine little more than one, and none waits long for the others.
_CHUNKS_AT_ONCE: Final = 8
_POLL_SECONDS: Final = 0.1


def detect_all(detector: Detector) -> int:
    """Apply what waits until nothing does; returns the number of chunks.

    Detections that fill no file wait for more; ``Detector.close`` exports them.
    """
    done = 0
    while chunks := detector.arrivals():
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
