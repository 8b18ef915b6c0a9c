"""What must hold of each table, and the one place that runs it.

Each check compares files, published or just written, with something that the build did not make.
The error-level ones are run on every day that is written, and keep it from being published; all can
be run over published days at any time.

May import list_format, lake, sources, engine and what is below them, and provenance for the check
that asks it; imports nothing of what builds the tables. Begin with ``context.py``, then
``run.py``; the workers run ``files.py``, ``facts.py`` and what compares.
"""

import sys

from training_assets import errors, list_format, schemas
from training_assets.checks.context import (
    Check,
    CheckContext,
    CheckOutcome,
    CheckResult,
    Evaluate,
    Metric,
    Severity,
)
from training_assets.checks.counts import (
    check_action_counts,
    check_customer_counts,
    check_impression_counts,
)
from training_assets.checks.described import for_table
from training_assets.checks.expectations import (
    check_history_window,
    check_valid_share,
)
from training_assets.checks.feature_columns import (
    check_conversion,
    check_feature_nulls,
    feature_metrics,
)
from training_assets.checks.feature_counts import check_pair_counts, check_shown_counts
from training_assets.checks.features import (
    check_item_leakage,
    check_pair_leakage,
    check_user_leakage,
)
from training_assets.checks.giveaway import check_giveaway
from training_assets.checks.history import check_history_leakage, check_history_order
from training_assets.checks.metrics import (
    HISTOGRAM_BINS,
    action_metrics,
    count_rows,
    history_metrics,
    interaction_metrics,
    row_metrics,
    snapshot_metrics,
)
from training_assets.checks.rows import (
    check_rows_leakage,
    check_rows_length,
    check_rows_order,
    check_rows_padding,
)
from training_assets.checks.run import run_checks
from training_assets.checks.samples import (
    check_negatives,
    check_positives,
    check_sampling,
    sample_metrics,
)
from training_assets.checks.shop import (
    check_interaction_counts,
    check_snapshot_counts,
    check_snapshot_size,
    check_validation,
)
from training_assets.checks.structure import (
    check_history_length,
    check_history_padding,
    check_schema,
)
from training_assets.checks.up_to_date import up_to_date
from training_assets.engine.shipping import ship

__all__ = [
    "HISTOGRAM_BINS",
    "Check",
    "CheckContext",
    "CheckOutcome",
    "CheckResult",
    "Evaluate",
    "Metric",
    "Severity",
    "action_metrics",
    "check_action_counts",
    "check_conversion",
    "check_customer_counts",
    "check_feature_nulls",
    "check_giveaway",
    "check_history_leakage",
    "check_history_length",
    "check_history_order",
    "check_history_padding",
    "check_history_window",
    "check_impression_counts",
    "check_interaction_counts",
    "check_item_leakage",
    "check_negatives",
    "check_pair_counts",
    "check_pair_leakage",
    "check_positives",
    "check_rows_leakage",
    "check_rows_length",
    "check_rows_order",
    "check_rows_padding",
    "check_sampling",
    "check_schema",
    "check_shown_counts",
    "check_snapshot_counts",
    "check_snapshot_size",
    "check_user_leakage",
    "check_valid_share",
    "check_validation",
    "count_rows",
    "feature_metrics",
    "for_table",
    "history_metrics",
    "interaction_metrics",
    "row_metrics",
    "run_checks",
    "sample_metrics",
    "snapshot_metrics",
    "up_to_date",
]

ship(errors, schemas, list_format, sys.modules[__name__])
