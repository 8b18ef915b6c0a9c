"""What customers have acted on, for the checks of samples: read by the workers, file by file."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.files import Batches, Ints, files_in, of_customers, open_declared
from training_assets.schemas import RETURN, UNIFIED_ACTIONS

ACTED_DDL: Final = "action_dt date, customer_id long, item_id int"
_PAIR: Final = ("customer_id", "item_id")


def acted_on(batches: Batches, customers: Ints | None) -> Iterator[pa.RecordBatch]:
    """Items that all or some customers (ascending) have acted on, from ``unified_actions``.

    Each once of a file, as rows of ``ACTED_DDL``.
    """
    for file in files_in(batches):
        with open_declared(UNIFIED_ACTIONS, file) as parquet:
            rows = parquet.read([*_PAIR, "action_type"], use_threads=False)
        if customers is not None:
            rows = of_customers(rows, customers)
        rows = rows.filter(pc.not_equal(rows["action_type"], RETURN))
        once = rows.group_by(list(_PAIR), use_threads=False).aggregate([]).select(list(_PAIR))
        once = once.add_column(0, "action_dt", pa.repeat(pa.scalar(file.day), len(once)))
        yield from once.to_batches()
