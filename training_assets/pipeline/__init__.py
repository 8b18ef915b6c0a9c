"""One range of days: build it, check it, publish each good day whole.

May import checks, provenance, kernels, transforms and what is below them; knows no Dagster. Begin
with ``build.py``.
"""

from training_assets.pipeline.build import DayReport, build_days, check_days
from training_assets.pipeline.day_selection import look_back_days, requested_days, span, stale_days
from training_assets.pipeline.metrics import HISTOGRAM_BINS
from training_assets.pipeline.rebuild import Rebuilt, rebuild_outdated

__all__ = [
    "HISTOGRAM_BINS",
    "DayReport",
    "Rebuilt",
    "build_days",
    "check_days",
    "look_back_days",
    "rebuild_outdated",
    "requested_days",
    "span",
    "stale_days",
]
