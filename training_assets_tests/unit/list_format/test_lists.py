"""Columns of lists behave as the plain lists that they stand for."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training_assets.list_format import JaggedLists
from training_assets_tests.unit.list_format.columns import as_lists, jagged

some_lists = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=9)


@settings(max_examples=50)
@given(lists=some_lists, start=st.integers(0, 8), count=st.integers(1, 9))
def test_slices_are_those_of_plain_lists(lists: list[list[int]], start: int, count: int) -> None:
    start = start % len(lists)
    part = jagged(lists, np.int32).slice(start, count)
    assert as_lists(part) == lists[start : start + count]
    assert len(part) == len(lists[start : start + count])


def with_dictionary(lists: list[list[int]], dictionary: list[int]) -> JaggedLists:
    places = jagged([[dictionary.index(value) for value in one] for one in lists], np.uint16)
    return JaggedLists(places.values, places.offsets, np.array(dictionary, np.int32))


@settings(max_examples=50)
@given(
    lists=some_lists,
    cuts=st.sets(st.integers(1, 8)),
    dictionaries=st.lists(st.permutations(range(10)), min_size=9, max_size=9),
)
def test_lists_of_many_dictionaries_are_one_and_leave_out_what_none_uses(
    lists: list[list[int]], cuts: set[int], dictionaries: list[list[int]]
) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(lists)), len(lists)]
    parts = [
        with_dictionary(lists[low:high], dictionary)
        for (low, high), dictionary in zip(pairwise(bounds), dictionaries, strict=False)
    ]
    whole = JaggedLists.concat(parts)
    uses = Counter(value for one in lists for value in one)
    used = sorted(uses, key=lambda value: (-uses[value], value))
    assert whole.dictionary is not None
    assert whole.dictionary.tolist() == (used or [0])
    assert [[used[place] for place in one] for one in as_lists(whole)] == lists
    plain = JaggedLists.concat(
        [jagged(lists[low:high], np.int32) for low, high in pairwise(bounds)]
    )
    assert as_lists(plain) == lists
