"""Point-in-time-correct training input for sequence recommenders, one day at a time."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training_assets.engine import spark_session
    from training_assets.transforms import build_training_input

__all__ = ["build_training_input", "spark_session"]


def __getattr__(name: str) -> Any:
    # On first use: whoever only loads tensors needs neither an engine nor Dagster.
    if name == "spark_session":
        from training_assets.engine import spark_session

        return spark_session
    if name == "build_training_input":
        from training_assets.transforms import build_training_input

        return build_training_input
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
