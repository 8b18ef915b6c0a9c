"""Places of ids, against a list."""

import numpy as np
import pytest

from training_assets.sampling.kernel import finder

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
