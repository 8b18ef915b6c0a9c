"""What customers have acted on, sieved by pairs: none of the pairs is lost, few others are kept."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.checks.sample_rows import Pairs, acted_on
from training_assets.schemas import RETURN, UNIFIED_ACTIONS

DAY = date(2024, 5, 10)


@pytest.mark.parametrize("seed", range(5))
def test_of_the_pairs_none_is_lost_and_few_others_are_kept(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    customers = np.unique([-(2**63), -1, 0, 2**63 - 1, *rng.integers(-(2**40), 2**40, 50)])
    items = np.array([1, 2, 2**31 - 1, *rng.integers(1, 2**31 - 1, 200)])
    rows = pa.table(
        {
            "customer_id": np.sort(rng.choice(customers, 5_000)),
            "item_id": rng.choice(items, 5_000).astype(np.int32),
            "action_type": rng.choice([1, 3, RETURN], 5_000).astype(np.int8),
        }
    )
    absent = {
        name: pa.nulls(5_000, UNIFIED_ACTIONS.arrow_schema.field(name).type)
        for name in UNIFIED_ACTIONS.arrow_schema.names
        if name not in rows.column_names
    }
    for name, column in absent.items():
        rows = rows.append_column(name, column)
    path = tmp_path / "actions.parquet"
    pq.write_table(rows.select(UNIFIED_ACTIONS.arrow_schema.names), path)
    sought = pa.table(
        {
            "customer_id": [*rng.choice(customers, 300), None, customers[0]],
            "item_id": pa.array([*rng.choice(items, 300).tolist(), 5, None], pa.int64()),
        }
    )
    files = pa.RecordBatch.from_pylist([{"number": 0, "dt": DAY, "uri": str(path)}])

    def found(pairs: Pairs | None) -> set[tuple[int, int]]:
        batches = acted_on(iter([files]), pairs)
        kept = pa.Table.from_batches(
            batches,
            pa.schema(
                [("action_dt", pa.date32()), ("customer_id", pa.int64()), ("item_id", pa.int32())]
            ),
        )
        assert set(kept["action_dt"].to_pylist()) <= {DAY}
        return set(zip(kept["customer_id"].to_pylist(), kept["item_id"].to_pylist(), strict=True))

    acted = {
        (row["customer_id"], row["item_id"])
        for row in rows.to_pylist()
        if row["action_type"] != RETURN
    }
    pairs = {(row["customer_id"], row["item_id"]) for row in sought.to_pylist()}
    assert found(None) == acted
    sieved = found(Pairs.of(sought))
    assert sieved & pairs == acted & pairs
    assert sieved <= acted
    assert len(sieved - pairs) <= len(acted) // 100
