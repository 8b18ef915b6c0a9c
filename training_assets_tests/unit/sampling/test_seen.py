"""Pairs seen and cells not to be drawn, against sets."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training_assets.sampling.seen import SeenCells, SeenPairs, pair_codes

WIDTH, CUSTOMERS = 7, 5
pairs = st.lists(st.tuples(st.integers(0, CUSTOMERS - 1), st.integers(0, WIDTH - 1)), max_size=40)


def codes_of(found: list[tuple[int, int]]) -> np.ndarray[Any, Any]:
    columns = np.array(found, np.int64).reshape(-1, 2)
    return pair_codes(columns[:, 0], columns[:, 1])


@given(st.lists(pairs, min_size=1, max_size=3), pairs)
def test_a_pair_is_there_if_any_part_has_it(
    parts: list[list[tuple[int, int]]], asked: list[tuple[int, int]]
) -> None:
    seen = SeenPairs.of([codes_of(part) for part in parts], CUSTOMERS)
    known = {pair for part in parts for pair in part}
    assert seen.has(codes_of(asked)).tolist() == [pair in known for pair in asked]


@given(pairs, st.sets(st.integers(0, CUSTOMERS - 1)))
def test_pairs_of_some_customers_are_theirs_in_order(
    given_pairs: list[tuple[int, int]], customers: set[int]
) -> None:
    wanted = sorted(customers)
    seen = SeenPairs.of([codes_of(given_pairs)], CUSTOMERS)
    rows, items = seen.of_customers(np.array(wanted, np.int64))
    found = [(wanted[row], item) for row, item in zip(rows.tolist(), items.tolist(), strict=True)]
    assert found == sorted(pair for pair in set(given_pairs) if pair[0] in customers)


@given(st.lists(pairs, max_size=3), st.integers(1, CUSTOMERS + 1))
def test_chunks_hold_each_cell_once_and_no_item_that_cannot_be_drawn(
    parts: list[list[tuple[int, int]]], rows_per_chunk: int
) -> None:
    cells = SeenCells(WIDTH, rows_per_chunk)
    for part in map(sorted, parts):
        rows = np.array([row for row, _ in part], np.int32)
        # The last item is no candidate.
        cells.add(rows, np.array([i if i < WIDTH - 1 else -1 for _, i in part], np.int32))
    found = [
        (start + code // WIDTH, code % WIDTH)
        for start, chunk in cells.chunks(CUSTOMERS)
        for code in chunk.tolist()
    ]
    assert found == sorted({pair for part in parts for pair in part if pair[1] < WIDTH - 1})
