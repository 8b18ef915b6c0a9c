"""Rows of large days by way of runs: the same rows, part by part, of any order."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from training_assets.kernels import Piece, merge_runs, write_runs

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
    found = write_runs(given_rows, str(root), rows_per_run)
    pieces: dict[tuple[int, int], list[Piece]] = {}
    for name, place, day, part in (p.values() for batch in found for p in batch.to_pylist()):
        pieces.setdefault((day, part), []).append(Piece(name, place))
    parts = sorted(pieces)
    asked = pa.RecordBatch.from_pylist(
        [{"number": n, "day": day, "part": part} for n, (day, part) in enumerate(parts)],
        pa.schema([("number", pa.int32()), ("day", pa.int32()), ("part", pa.int32())]),
    )
    merged = list(merge_runs([asked], pieces, str(root), lambda part: iter([_joined(part)])))
    assert [set(zip(*t.select([0, 1]).to_pydict().values(), strict=True)) for t in merged] == [
        {(d, p)} for d, p in _days(parts)
    ]
    rows = Counter(tuple(r.values()) for table in merged for r in table.to_pylist())
    assert rows == Counter(tuple(r.values()) for b in given_rows for r in b.to_pylist())


def _joined(batches: object) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _days(parts: list[tuple[int, int]]) -> list[tuple[object, int]]:
    return [(pa.scalar(day, pa.date32()).as_py(), part) for day, part in parts]
