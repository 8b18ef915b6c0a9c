"""What the workers run on whole columns: Arrow and NumPy; no engine, no Dagster.

The assets run them over files, ``build_training_input`` over frames; tests hold both against the
brute-force reference.

May import list_format, schemas and errors. Begin with ``timelines.py``.
"""

import sys

from training_assets import errors, list_format, schemas
from training_assets.engine.shipping import ship
from training_assets.kernels.action_files import ActionFile, Wanted, customer_bounds
from training_assets.kernels.day_files import (
    WRITTEN_DDL,
    Written,
    empty_file,
    write_actions,
    write_rows,
)
from training_assets.kernels.histories import (
    COMPACTIONS_DDL,
    CUTS_DDL,
    HISTORIES_DDL,
    REQUESTS_DDL,
    assign_tasks,
    build_histories,
    compact,
    cut_days,
    write_histories,
)
from training_assets.kernels.interactions import BotLimits, clean_interactions
from training_assets.kernels.snapshots import fold_snapshots
from training_assets.kernels.training_rows import RANKINGS_DDL, assign_parts, write_training_rows

ship(errors, schemas, list_format, sys.modules[__name__])

__all__ = [
    "COMPACTIONS_DDL",
    "CUTS_DDL",
    "HISTORIES_DDL",
    "RANKINGS_DDL",
    "REQUESTS_DDL",
    "WRITTEN_DDL",
    "ActionFile",
    "BotLimits",
    "Wanted",
    "Written",
    "assign_parts",
    "assign_tasks",
    "build_histories",
    "clean_interactions",
    "compact",
    "customer_bounds",
    "cut_days",
    "empty_file",
    "fold_snapshots",
    "write_actions",
    "write_histories",
    "write_rows",
    "write_training_rows",
]
