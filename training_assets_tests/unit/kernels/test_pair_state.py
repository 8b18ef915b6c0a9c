"""Pairs of customers and items: stretches of days as one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training_assets.kernels.known_pairs import Known
from training_assets.kernels.pair_state import Columns, Pairs, merge

PAIR = st.tuples(st.integers(0, 3), st.integers(1, 3))
# (customer, item) -> (actions, newest, purchases)
PART = st.dictionaries(PAIR, st.tuples(st.integers(1, 9), st.integers(-9, 9), st.integers(0, 2)))


def columns_of(part: dict) -> Columns:
    rows = [(*pair, *part[pair]) for pair in sorted(part)]
    return tuple(np.array([row[n] for row in rows], np.int64) for n in range(5))


@given(parts=st.lists(PART, min_size=1, max_size=4))
def test_parts_are_merged_pair_by_pair(parts: list[dict]) -> None:
    expected: dict = {}
    for part in parts:
        for pair, (actions, newest, purchases) in part.items():
            before = expected.get(pair, (0, -99, 0))
            sums = before[0] + actions, before[2] + purchases
            expected[pair] = (sums[0], max(before[1], newest), sums[1])
    merged = merge([columns_of(part) for part in parts])
    rows = [tuple(map(int, row)) for row in zip(*merged, strict=True)]
    assert rows == [(*pair, *expected[pair]) for pair in sorted(expected)]
    ids = merge([columns_of(part)[:2] for part in parts])
    assert [tuple(map(int, pair)) for pair in zip(*ids, strict=True)] == sorted(expected)


PAIRS = st.sets(st.tuples(st.integers(0, 4), st.integers(1, 40)), max_size=120)


@given(known=PAIRS, asked=PAIRS)
def test_a_pair_is_known_where_its_customer_has_the_item(known: set, asked: set) -> None:
    def pairs(of: set) -> Pairs:
        return Pairs(*columns_of(dict.fromkeys(of, (1, 0, 0))))

    found = Known.of(pairs(known)).has(pairs(asked))
    assert found.tolist() == [pair in known for pair in sorted(asked)]
