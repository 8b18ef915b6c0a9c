"""Point-in-time-correct training input for sequence recommenders, one day at a time."""

from training_assets.engine import spark_session
from training_assets.transforms.training_input import build_training_input

__all__ = ["build_training_input", "spark_session"]
