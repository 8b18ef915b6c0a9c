"""Rows of large days by way of runs: the same rows, part by part, of any order."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from training_assets.kernels import merge_runs, write_runs

SCHEMA = pa.schema(
    [("dt", pa.date32()), ("part", pa.int32()), ("customer_id", pa.int64()), ("text", pa.string())]
)
row = st.tuples(
    st.sampled_from([0, 1, 20_000]),
    st.sampled_from([0, 1, 5]),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(max_size=3),
)


@given(st.lists(st.lists(row, max_size=20), max_size=6), st.integers(1, 30))
def test_each_part_has_its_rows_once(
    tmp_path_factory: object, batches: list[list[tuple]], rows_per_run: int
) -> None:
    root: Path = tmp_path_factory.mktemp("runs")  # type: ignore[attr-defined]
    given_rows = [
        pa.RecordBatch.from_arrays(
            [pa.array([r[n] for r in rows], f.type) for n, f in enumerate(SCHEMA)], schema=SCHEMA
        )
        for rows in batches
    ]
    pieces = list(write_runs(given_rows, str(root), rows_per_run))
    merged = list(merge_runs(pieces, str(root), lambda part: iter([_joined(part)])))
    parts = [set(zip(*t.select([0, 1]).to_pydict().values(), strict=True)) for t in merged]
    days = SCHEMA.field("dt").type
    wanted = sorted({(pa.scalar(r[0], days).as_py(), r[1]) for rows in batches for r in rows})
    assert parts == [{part} for part in wanted]
    rows = Counter(tuple(r.values()) for table in merged for r in table.to_pylist())
    assert rows == Counter(tuple(r.values()) for b in given_rows for r in b.to_pylist())


def _joined(batches: object) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
