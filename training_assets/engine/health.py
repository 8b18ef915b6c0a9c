"""Whether an engine that failed still lives: one that died fails every day, one after the other."""

from typing import Final

import grpc
from pyspark.sql import SparkSession
from pyspark.sql.connect.session import SparkSession as ConnectSession

from training_assets.errors import EngineError

_ANSWER_SECONDS: Final = 5.0


def require_engine(spark: SparkSession, error: Exception) -> None:
    """Raise ``EngineError`` if ``error`` came of the engine's death."""
    if isinstance(error, EngineError) or _is_gone(spark):
        raise EngineError(
            f"engine: it died or cannot be reached any more ({_first_line(error)}); days that were "
            "not reported before stand as they were. Look at its log and memory, then run again."
        ) from error


def _is_gone(spark: SparkSession) -> bool:
    if not isinstance(spark, ConnectSession):
        try:
            return bool(spark.sparkContext._jsc.sc().isStopped())
        except Exception:
            # Whatever py4j raises: of a live engine the question has an answer.
            return True
    try:
        grpc.channel_ready_future(spark.client._channel).result(_ANSWER_SECONDS)
    except (grpc.FutureTimeoutError, ValueError):
        return True
    return False


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
