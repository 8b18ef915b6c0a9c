"""What the workers run on whole columns: Arrow and NumPy; no engine, no Dagster.

The assets run them over files, ``build_training_input`` over frames; tests hold both against the
brute-force reference.

May import list_format, schemas and errors. Begin with ``timelines.py``.
"""

import sys

from training_assets import errors, list_format, schemas
from training_assets.engine.shipping import ship
from training_assets.kernels.action_files import ActionFile, Wanted, customer_bounds
from training_assets.kernels.categories import NO_CATEGORIES, Categories
from training_assets.kernels.day_files import (
    WRITTEN_DDL,
    Written,
    empty_file,
    write_actions,
    write_rows,
)
from training_assets.kernels.equal_rows import EXTRA_DDL
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
from training_assets.kernels.known_pairs import BaseFiles
from training_assets.kernels.pair_counts import (
    CoreFiles,
    Counting,
    DayCategories,
    write_counts,
)
from training_assets.kernels.pair_state import PAIRS_DDL
from training_assets.kernels.pair_summaries import (
    ITEMS_DDL,
    PARTS_DDL,
    count_items,
    read_item_counts,
    write_categories,
    write_item_counts,
    write_lists,
    write_pairs,
)
from training_assets.kernels.runs import PIECES_DDL, merge_runs, write_runs
from training_assets.kernels.snapshots import fold_snapshots
from training_assets.kernels.state_files import (
    STATE_FILES_DDL,
    read_state,
    write_folds,
    write_state,
)
from training_assets.kernels.training_rows import RANKINGS_DDL, assign_parts, write_training_rows

ship(errors, schemas, list_format, sys.modules[__name__])

__all__ = [
    "COMPACTIONS_DDL",
    "CUTS_DDL",
    "EXTRA_DDL",
    "HISTORIES_DDL",
    "ITEMS_DDL",
    "NO_CATEGORIES",
    "PAIRS_DDL",
    "PARTS_DDL",
    "PIECES_DDL",
    "RANKINGS_DDL",
    "REQUESTS_DDL",
    "STATE_FILES_DDL",
    "WRITTEN_DDL",
    "ActionFile",
    "BaseFiles",
    "BotLimits",
    "Categories",
    "CoreFiles",
    "Counting",
    "DayCategories",
    "Wanted",
    "Written",
    "assign_parts",
    "assign_tasks",
    "build_histories",
    "clean_interactions",
    "compact",
    "count_items",
    "customer_bounds",
    "cut_days",
    "empty_file",
    "fold_snapshots",
    "merge_runs",
    "read_item_counts",
    "read_state",
    "write_actions",
    "write_categories",
    "write_counts",
    "write_folds",
    "write_histories",
    "write_item_counts",
    "write_lists",
    "write_pairs",
    "write_rows",
    "write_runs",
    "write_state",
    "write_training_rows",
]
