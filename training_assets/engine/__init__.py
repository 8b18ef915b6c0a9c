"""PySpark sessions on three engines, and what work on them needs: tasks, health, memory.

May import errors. ``resource.py``, the one module here that knows Dagster, is imported by itself.
Begin with ``session.py``.
"""

from training_assets.engine.health import require_engine
from training_assets.engine.partitioning import Partitioning
from training_assets.engine.probes import java_version
from training_assets.engine.session import ENGINES, Engine, spark_session

__all__ = [
    "ENGINES",
    "Engine",
    "Partitioning",
    "java_version",
    "require_engine",
    "spark_session",
]
