"""The population stability index by hand, its bins, and what is noise."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.monitoring.bins import count_keys, keys_of, value_of
from training_assets.monitoring.drift import chi_square, compare, edges_of, noise, psi, spread_of
from training_assets.monitoring.profile import Feature


def numbers(values: list[float], nulls: int = 0) -> Feature:
    return Feature(count_keys(np.array(values, np.float64)), nulls=nulls)


def levels(nulls: int = 0, rest: int = 0, **counts: int) -> Feature:
    return Feature(levels=dict(counts), nulls=nulls, rest=rest, is_category=True)


def test_psi_of_two_bins_by_hand() -> None:
    # Before (50 + .5) / 101 = .5 each; now 80.5 / 101 = .79703 and 20.5 / 101 = .20297.
    # .29703 * ln(1.59406) + -.29703 * ln(.40594) = .13850 + .26779
    assert psi([50, 50], [80, 20]) == pytest.approx(0.406287, abs=1e-6)


def test_psi_of_equal_shares_is_zero_and_of_nothing_too() -> None:
    assert psi([10, 30], [10, 30]) == 0
    assert psi([0, 0], [5, 5]) == psi([5, 5], [0, 0]) == psi([], []) == 0


def test_an_empty_bin_is_half_a_row() -> None:
    # (100.5, .5) / 101 before, (50.5, 50.5) / 101 now.
    expected = (0.5 - 100.5 / 101) * math.log(0.5 / (100.5 / 101)) + (0.5 - 0.5 / 101) * math.log(
        0.5 / (0.5 / 101)
    )
    assert psi([100, 0], [50, 50]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 10.8276), (2, 13.8155), (9, 27.8772), (10, 29.5883), (60, 99.607)]
)
def test_quantiles_of_chi_square_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert chi_square(degrees) == pytest.approx(quantile, abs=1e-3)


def test_noise_is_the_quantile_times_both_sample_sizes() -> None:
    assert noise([500, 500], [50, 50]) == pytest.approx(10.8276 * (1 / 1000 + 1 / 100), abs=1e-5)
    assert noise([1000], [50]) == math.inf


def test_deciles_are_values_that_occur_each_once() -> None:
    # 80 zeros, 15 ones and 5 sevens: eight deciles are 0, the ninth is 1.
    bins = numbers([0.0] * 80 + [1.0] * 15 + [7.0] * 5).bins
    assert [value_of(edge) for edge in edges_of(bins)] == [0.0, 1.0]
    ten = numbers([float(n) for n in range(1, 11)]).bins
    assert [value_of(edge) for edge in edges_of(ten)] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert edges_of(numbers([3.0] * 10).bins) == edges_of({}) == []


def test_bins_keep_small_whole_numbers_apart_and_their_order() -> None:
    assert len(count_keys(np.arange(-31.0, 32.0))) == 63
    assert list(keys_of(np.array([0.0, -0.0, 1.0, 1.03, 1.0625, -1.0]))) == [
        0,
        0,
        16368,
        16368,
        16369,
        -16369,
    ]
    assert value_of(16369) == 1.0625


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=50))
def test_bins_ascend_with_their_values(values: list[float]) -> None:
    found = keys_of(np.array(sorted(values)))
    assert (np.diff(found) >= 0).all()


def test_a_shifted_feature_fails_and_a_slightly_shifted_one_warns() -> None:
    rng = random.Random(5)
    before = numbers([rng.gauss(10, 2) for _ in range(20_000)])
    same = numbers([rng.gauss(10, 2) for _ in range(1_000)])
    shifted = numbers([rng.gauss(10.8, 2) for _ in range(1_000)])
    far = numbers([rng.gauss(12, 2) for _ in range(1_000)])
    verdicts = [compare(before, now).verdict for now in (same, shifted, far)]
    assert verdicts == ["passed", "warns", "fails"]


def test_what_so_few_rows_show_is_noise() -> None:
    before = numbers([float(n % 10) for n in range(2_000)])
    now = numbers([float(n % 10) for n in range(40)] + [0.0] * 20)
    found = compare(before, now)
    assert found.psi > 0.25 > 0.1
    assert found.psi < found.noise
    assert found.verdict == "passed"


@pytest.mark.parametrize(("before", "now"), [(999, 1_000), (1_000, 49)])
def test_too_few_rows_are_not_judged(before: int, now: int) -> None:
    found = compare(numbers([1.0] * before), numbers([2.0] * now))
    assert found.verdict == "not judged"


def test_nulls_are_a_bin_of_their_own() -> None:
    before = numbers([1.0, 2.0] * 1_000)
    found = compare(before, numbers([1.0, 2.0] * 50, nulls=100))
    assert found.labels == ("≤ 1", "> 1", "none")
    assert found.now == (50, 50, 100)
    assert found.verdict == "fails"


def test_levels_that_are_rare_or_never_seen_are_counted_together() -> None:
    before = levels(a=900, b=96, c=4)
    found = compare(before, levels(a=90, b=5, c=1, d=4))
    assert dict(zip(found.labels, zip(found.before, found.now, strict=True), strict=True)) == {
        "a": (900, 90),
        "b": (96, 5),
        "other": (4, 1),
        "new": (0, 4),
    }


def test_a_level_may_be_one_that_was_counted_without_its_name() -> None:
    found = compare(levels(a=1_000, rest=10), levels(a=90, x=10))
    assert found.labels == ("a", "other")


def test_texts_that_stand_for_themselves_are_not_judged() -> None:
    assert compare(levels(a=10, rest=2_000), levels(b=1_000)).verdict == "not judged"


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_two_samples_of_one_distribution_stay_below_the_bound(seed: int, levels_: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(levels_, 5.0))
    before, now = rng.multinomial(30_000, shares), rng.multinomial(1_000, shares)
    found = psi(before.tolist(), now.tolist())
    # 0.999 of them do; a tenth above it none of these.
    assert found <= 1.5 * noise(before.tolist(), now.tolist())


def visits(rng: np.random.Generator, rows: int, each: int) -> Feature:
    """Rows that come in visits: as many of each hour as one visit has."""
    hours = np.repeat(rng.integers(0, 24, rows // each), each)
    return Feature(count_keys(hours))


def test_rows_that_come_together_differ_more_and_are_allowed_to() -> None:
    rng = np.random.default_rng(3)
    days = [visits(rng, 400, 8) for _ in range(28)]
    before = Feature()
    for day in days:
        before.add(day)
    assert 4 < spread_of(before, days) < 12
    others = [visits(rng, 400, 8) for _ in range(28)]
    assert {compare(before, day, days).verdict for day in others} == {"passed"}
    # As independent rows they would be an alarm on nearly every day.
    assert sum(compare(before, day).verdict != "passed" for day in others) > 20
    gone = Feature(count_keys(np.full(400, 3.0)))
    assert compare(before, gone, days).verdict == "fails"


def test_independent_rows_have_a_spread_of_about_one() -> None:
    rng = np.random.default_rng(4)
    days = [visits(rng, 400, 1) for _ in range(28)]
    before = Feature()
    for day in days:
        before.add(day)
    assert 0.7 < spread_of(before, days) < 1.4
