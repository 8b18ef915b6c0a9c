"""What must hold of each table, and the one place that runs it.

Each check compares files, published or just written, with something that the build did not make.
The error-level ones are run on every day that is written, and keep it from being published; all can
be run over published days at any time.

May import list_format, lake, sources, engine and what is below them, and provenance for the check
that asks it; imports nothing of what builds the tables. Begin with ``registry.py``, then
``context.py``; the workers run ``files.py`` and what imports it.
"""

from pyspark import cloudpickle

from training_assets import errors, list_format, schemas
from training_assets.checks import (
    compare_histories,
    compare_rows,
    facts,
    files,
    history_rows,
    shape,
)
from training_assets.checks.context import (
    Check,
    CheckContext,
    CheckOutcome,
    CheckResult,
    Metric,
    Severity,
)
from training_assets.checks.metrics import HISTOGRAM_BINS, describe_days
from training_assets.checks.registry import CHECKS
from training_assets.checks.run import run_checks

__all__ = [
    "CHECKS",
    "HISTOGRAM_BINS",
    "Check",
    "CheckContext",
    "CheckOutcome",
    "CheckResult",
    "Metric",
    "Severity",
    "describe_days",
    "run_checks",
]

# Workers of a cluster have pyarrow and NumPy but need not have this package.
for _module in (
    errors,
    schemas,
    list_format,
    files,
    shape,
    facts,
    history_rows,
    compare_histories,
    compare_rows,
):
    cloudpickle.register_pickle_by_value(_module)
