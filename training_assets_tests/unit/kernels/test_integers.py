"""Places of ids and orders of rows, against lists."""

from collections import Counter

import numpy as np
import pytest

from training_assets.kernels.integers import count_values, finder, order_by

LOW, HIGH = -(2**63), 2**63 - 1


@pytest.mark.parametrize(
    "values", [[], [LOW], [LOW, LOW + 3], [HIGH - 5, HIGH], [LOW, HIGH], [-3, 5, 9], [0, 2**31 - 1]]
)
def test_each_id_has_its_place_or_none(values: list[int]) -> None:
    near = {v + d for v in [*values, LOW, 0, HIGH] for d in (-1, 0, 1)}
    asked = sorted(v for v in near if LOW <= v <= HIGH)
    find = finder(np.array(values, np.int64))
    expected = [values.index(v) if v in values else -1 for v in asked]
    assert find(np.array(asked, np.int64)).tolist() == expected
    small = [v for v in asked if abs(v) < 2**31]
    expected = [values.index(v) if v in values else -1 for v in small]
    assert find(np.array(small, np.int32)).tolist() == expected


@pytest.mark.parametrize("spread", [3, 2**20, 2**40, 2**63 - 1])
def test_rows_are_in_the_order_of_all_columns_and_equal_ones_as_they_stand(spread: int) -> None:
    rng = np.random.default_rng(spread)
    near = rng.integers(-2, 3, 200)
    columns = [near, rng.integers(-spread, spread, 200), near * 7, rng.integers(0, 2, 200)]
    columns[1][::3] = columns[1][0]
    for chosen in (columns, columns[1:], columns[:1], [np.array([LOW, HIGH, LOW, 0])] * 2):
        rows = list(zip(*(column.tolist() for column in chosen), strict=True))
        expected = sorted(range(len(rows)), key=rows.__getitem__)
        assert order_by(*chosen).tolist() == expected
    assert order_by(near[:0], near[:0]).tolist() == []


@pytest.mark.parametrize("values", [[], [0], [5, 0, 5], [-1, 3, -1], [LOW, 0, HIGH, 0]])
def test_each_value_is_counted(values: list[int]) -> None:
    distinct, counts = count_values(np.array(values, np.int64))
    assert dict(zip(distinct.tolist(), counts.tolist(), strict=True)) == Counter(values)
    assert distinct.tolist() == sorted(set(values))
