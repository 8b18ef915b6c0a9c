"""What PySpark says of each table: DataFrame in, DataFrame out; no session, clock, lake or Dagster.

Every expression used here gives the same rows on Sail and on Apache Spark; what takes whole columns
is left to the kernels. May import kernels, schemas, settings and errors. Begin with
``training_frames.py``.
"""

from training_assets.transforms.training_frames import build_training_input
from training_assets.transforms.unified_actions import build_unified_actions, unite_actions

__all__ = ["build_training_input", "build_unified_actions", "unite_actions"]
