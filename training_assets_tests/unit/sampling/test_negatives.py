"""Negatives against plain loops on both engines; what no sample may be; how often each comes."""

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark import cloudpickle
from pyspark.sql import DataFrame, SparkSession

from training_assets.errors import SchemaError, SettingsError, ValidationError
from training_assets.sampling import (
    draws,
    sample_negatives,
    sample_with_positives,
)
from training_assets.sampling import negatives as frames_in_and_out
from training_assets.sampling.draws import (
    Candidates,
    ChunkOfCustomers,
    customer_keys,
    popularity_weights,
)
from training_assets.sampling.kernel import sample_rows
from training_assets_tests.support.sampling_reference import negatives_of, reference_samples

DAY, NEXT = date(2024, 3, 1), date(2024, 3, 2)
PAIRS = "dt date, customer_id long, item_id long"
CANDIDATES = "dt date, item_id long, weight long"


# What the random inputs below are drawn from too, on both engines.
on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True)


@pytest.fixture(autouse=True)
def few_tasks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of Spark costs more than these few rows."""
    if request.node.get_closest_marker("spark"):
        monkeypatch.setattr(frames_in_and_out, "_TASKS", 4)


def frames(
    spark: SparkSession, positives: Any, seen: Any, candidates: Any
) -> tuple[DataFrame, DataFrame, DataFrame]:
    return (
        spark.createDataFrame(positives, PAIRS),
        spark.createDataFrame(seen, PAIRS),
        spark.createDataFrame(candidates, CANDIDATES),
    )


def rows(frame: DataFrame) -> Counter[Any]:
    return Counter(tuple(row) for row in frame.collect())


def negatives(found: Iterable[Any]) -> list[Any]:
    return sorted(row for row in found if row[3] == 0.0)


# ------------------------------------------------------------------------------- by the contract


def test_a_negative_is_a_candidate_that_the_customer_has_not_acted_on(spark: SparkSession) -> None:
    inputs = frames(
        spark,
        [(DAY, 7, 1)],
        [(DAY, 7, 1), (DAY, 7, 2), (DAY, 8, 3), (NEXT, 7, 4)],
        [(DAY, item, 1) for item in (1, 2, 3, 4)] + [(NEXT, 5, 1)],
    )
    assert rows(sample_negatives(*inputs, ratio=4)) == Counter(
        {
            (DAY, 7, 1, 1.0, None): 1,
            (DAY, 7, 3, 0.0, 0.5): 1,
            (DAY, 7, 4, 0.0, 0.5): 1,
        }
    )


@on_sail_only
def test_a_positive_that_is_missing_in_seen_is_no_negative(spark: SparkSession) -> None:
    inputs = frames(spark, [(DAY, 7, 1)], [], [(DAY, 1, 1), (DAY, 2, 1)])
    assert negatives(rows(sample_negatives(*inputs))) == [(DAY, 7, 2, 0.0, 1.0)]


@on_sail_only
def test_pairs_given_twice_count_once(spark: SparkSession) -> None:
    candidates = [(DAY, item, 1) for item in range(100)]
    seen = [(DAY, 7, 50)]
    once = sample_negatives(*frames(spark, [(DAY, 7, 1)], seen, candidates))
    twice = sample_negatives(*frames(spark, [(DAY, 7, 1)] * 2, seen * 3, candidates))
    assert rows(twice) == rows(once)
    assert len(negatives(rows(once))) == 4
    assert {row[4] for row in negatives(rows(once))} == {1 / 98}


@on_sail_only
def test_a_candidate_given_twice_has_the_actions_of_both(spark: SparkSession) -> None:
    def popular(candidates: Any) -> Counter[Any]:
        inputs = frames(spark, [(DAY, 7, 1)], [], candidates)
        return rows(sample_negatives(*inputs, strategy="popularity"))

    parts = [(DAY, 1, 3), (DAY, 2, 10), (DAY, 2, 6), (DAY, 3, 1)]
    assert popular(parts) == popular([(DAY, 1, 3), (DAY, 2, 16), (DAY, 3, 1)])


@on_sail_only
def test_popularity_is_the_actions_to_three_quarters_and_at_least_one(spark: SparkSession) -> None:
    weights = [(DAY, 2, 16), (DAY, 3, 0), (DAY, 4, None), (DAY, 5, 81)]
    inputs = frames(spark, [(DAY, 7, 1)], [], weights)
    found = {row[2]: row[4] for row in rows(sample_negatives(*inputs, strategy="popularity"))}
    assert found == {1: None, 2: 8 / 37, 3: 1 / 37, 4: 1 / 37, 5: 27 / 37}


@on_sail_only
def test_a_customer_who_has_seen_everything_gets_positives_only(spark: SparkSession) -> None:
    candidates = [(DAY, item, 1) for item in range(5)]
    seen = [(DAY, 7, item) for item in range(5)]
    assert rows(sample_negatives(*frames(spark, [(DAY, 7, 1)], seen, candidates))) == Counter(
        [(DAY, 7, 1, 1.0, None)]
    )


@on_sail_only
def test_a_day_without_candidates_has_positives_only(spark: SparkSession) -> None:
    inputs = frames(spark, [(DAY, 7, 1)], [], [(NEXT, 2, 1)])
    assert rows(sample_negatives(*inputs)) == Counter([(DAY, 7, 1, 1.0, None)])


@on_sail_only
def test_nothing_comes_of_nothing(spark: SparkSession) -> None:
    assert not rows(sample_negatives(*frames(spark, [], [(DAY, 7, 1)], [(DAY, 2, 1)])))


@on_sail_only
def test_ratio_zero_gives_positives_only(spark: SparkSession) -> None:
    inputs = frames(spark, [(DAY, 7, 1)], [], [(DAY, 2, 1)])
    assert rows(sample_negatives(*inputs, ratio=0)) == Counter([(DAY, 7, 1, 1.0, None)])


@on_sail_only
def test_any_ratio_above_what_is_left_gives_all_that_is_left(spark: SparkSession) -> None:
    inputs = frames(spark, [(DAY, 7, 1), (DAY, 7, 3)], [], [(DAY, 2, 1)])
    expected = Counter([(DAY, 7, 1, 1.0, None), (DAY, 7, 3, 1.0, None), (DAY, 7, 2, 0.0, 1.0)])
    assert rows(sample_negatives(*inputs, ratio=2**63)) == expected


def test_rows_with_a_null_do_not_count(spark: SparkSession) -> None:
    inputs = frames(
        spark,
        [(DAY, 7, 1), (None, 7, 2), (DAY, None, 3), (DAY, 7, None)],
        [(DAY, 7, None), (DAY, None, 4), (None, 7, 4)],
        [(DAY, 4, 1), (DAY, None, 1), (None, 5, 1)],
    )
    assert rows(sample_negatives(*inputs)) == Counter(
        [(DAY, 7, 1, 1.0, None), (DAY, 7, 4, 0.0, 1.0)]
    )


def test_ids_may_be_negative_large_and_far_apart(spark: SparkSession) -> None:
    items = [-(2**60), -5, 0, 3, 2**60]
    positives = [(DAY, -(2**61), 3), (DAY, 2**61, 0)]
    seen = [(DAY, 2**61, -5), (DAY, -(2**61), 2**60)]
    candidates = [(DAY, item, 2) for item in items]
    found = rows(sample_with_positives(*frames(spark, positives, seen, candidates)))
    assert found == reference_samples(positives, seen, candidates)


def test_columns_and_types_are_those_of_the_contract(spark: SparkSession) -> None:
    positives, seen, candidates = frames(spark, [(DAY, 7, 1)], [], [(DAY, 2, 1)])
    narrow = positives.selectExpr("dt", "customer_id", "cast(item_id as int) as item_id")
    found = sample_negatives(narrow, seen, candidates.drop("weight"))
    assert found.dtypes == [
        ("dt", "date"),
        ("customer_id", "bigint"),
        ("item_id", "int"),
        ("label", "double"),
        ("sampling_probability", "double"),
    ]
    assert len(rows(found)) == 2


def test_negatives_belong_to_positives_in_the_order_in_which_they_were_drawn(
    spark: SparkSession,
) -> None:
    candidates = [(DAY, item, 1) for item in range(10, 60)]
    found = rows(
        sample_with_positives(*frames(spark, [(DAY, 7, 2), (DAY, 7, 1)], [], candidates), ratio=3)
    )
    drawn = negatives_of(DAY, 7, dict.fromkeys(range(10, 60), 1), {1, 2}, 6, 0)
    assert {row[2]: row[5] for row in negatives(found)} == dict(
        zip(drawn, [1, 1, 1, 2, 2, 2], strict=True)
    )
    assert {row[2]: row[5] for row in found if row[3]} == {1: 1, 2: 2}


def test_days_may_be_times_or_text_and_weights_any_number(spark: SparkSession) -> None:
    given, seen, items = frames(
        spark,
        [(DAY, 7, 1), (NEXT, 7, 1)],
        [(DAY, 7, 3), (NEXT, 7, 2)],
        [(dt, item, item * item) for dt in (DAY, NEXT) for item in range(2, 9)],
    )
    expected = rows(sample_negatives(given, seen, items, strategy="popularity"))
    text = given.selectExpr("cast(dt as string) as dt", "customer_id", "item_id")
    times = seen.selectExpr("timestamp(dt) + interval 5 hours as dt", "customer_id", "item_id")
    doubles = items.selectExpr("dt", "item_id", "cast(weight as double) as weight")
    found = sample_negatives(text, times, doubles, strategy="popularity")
    assert rows(found.selectExpr("date(dt) as dt", *found.columns[1:])) == expected
    assert found.dtypes[0] == ("dt", "string")


def as_text(frame: DataFrame) -> DataFrame:
    ids = [name for name in ("customer_id", "item_id") if name in frame.columns]
    return frame.selectExpr(
        *(
            f"concat('é', lpad(cast({n} as string), 4, '0')) as {n}" if n in ids else n
            for n in frame.columns
        )
    )


def test_ids_may_be_text(spark: SparkSession) -> None:
    """What may be drawn and its probability are those of numbers; draws begin with a hash."""
    inputs = frames(spark, *shop(num_customers=5))
    texts = [as_text(frame) for frame in inputs]
    for strategy in ("uniform", "popularity"):
        options: Any = {"strategy": strategy, "ratio": 3}
        numbered = sample_negatives(*inputs, **options)
        found = rows(sample_negatives(*texts, **options))
        assert rows(sample_negatives(*(t.repartition(5) for t in texts), **options)) == found
        assert set(found.values()) == {1}
        assert sum(found.values()) == numbered.count()
        is_seen = rows(texts[1].distinct())
        assert not [row for row in negatives(found) if row[:3] in is_seen]
        probabilities = {(row[0], row[1], row[2]): row[4] for row in negatives(found)}
        ours = negatives(rows(as_text(numbered)))
        shared = [row for row in ours if row[:3] in probabilities]
        assert shared
        assert all(probabilities[row[:3]] == row[4] for row in shared)
        assert {row[:3] for row in ours} != set(probabilities)


def test_everything_left_is_given_as_text_too(spark: SparkSession) -> None:
    inputs = frames(spark, [(DAY, 7, 1)], [(DAY, 7, 2)], [(DAY, item, 1) for item in range(6)])
    expected = rows(as_text(sample_with_positives(*inputs).drop("positive_item_id")))
    assert rows(sample_negatives(*(as_text(frame) for frame in inputs))) == expected


# ------------------------------------------------------------------------ against the reference

small = st.integers(0, 7)
pairs = st.lists(st.tuples(st.sampled_from([DAY, NEXT]), small, st.integers(0, 40)), max_size=40)
weights = st.one_of(st.integers(0, 30), st.sampled_from([10**6, 10**9]))
items = st.tuples(st.sampled_from([DAY, NEXT]), st.integers(0, 40), weights)


@given(
    positives=pairs,
    seen=pairs,
    candidates=st.lists(items, max_size=60),
    ratio=st.integers(0, 6),
    strategy=st.sampled_from(["uniform", "popularity"]),
    seed=st.integers(0, 2**63 - 1),
)
def test_samples_are_those_of_the_plain_loops(
    spark: SparkSession,
    positives: Any,
    seen: Any,
    candidates: Any,
    ratio: int,
    strategy: Any,
    seed: int,
) -> None:
    options: Any = {"ratio": ratio, "strategy": strategy, "seed": seed}
    found = rows(sample_with_positives(*frames(spark, positives, seen, candidates), **options))
    assert found == reference_samples(positives, seen, candidates, **options)
    assert set(found.values()) <= {1}
    given_negatives = {row[:3] for row in negatives(found)}
    assert not given_negatives & {*seen, *positives}
    assert given_negatives <= {
        (dt, customer, item)
        for dt, customer, *_ in found
        for day, item, _ in candidates
        if day == dt
    }


def shop(num_customers: int = 12, num_items: int = 60) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(3)

    def pairs_of(size: int) -> list[Any]:
        days = [(DAY, NEXT)[n] for n in rng.integers(0, 2, size)]
        customers = rng.integers(0, num_customers, size).tolist()
        return list(zip(days, customers, rng.integers(0, num_items, size).tolist(), strict=True))

    candidates = [(dt, item, int(rng.integers(0, 500))) for dt in (DAY, NEXT) for item in range(60)]
    return pairs_of(60), pairs_of(700), candidates


@pytest.mark.first_on_spark
@pytest.mark.parametrize("strategy", ["uniform", "popularity"])
def test_partitions_order_and_company_change_nothing(spark: SparkSession, strategy: Any) -> None:
    positives, seen, candidates = shop()
    expected = rows(
        sample_negatives(*frames(spark, positives, seen, candidates), strategy=strategy, seed=5)
    )
    assert len(negatives(expected)) > 100
    shuffled = [
        frame.repartition(5)
        for frame in frames(spark, positives[::-1], seen[::-1], candidates[::-1])
    ]
    assert rows(sample_negatives(*shuffled, strategy=strategy, seed=5)) == expected
    alone = [[row for row in part if row[1] == 3] for part in (positives, seen)]
    inputs = frames(spark, *alone, candidates)
    assert rows(sample_negatives(*inputs, strategy=strategy, seed=5)) == Counter(
        {row: n for row, n in expected.items() if row[1] == 3}
    )


@on_sail_only
def test_seeds_and_days_and_customers_draw_differently(spark: SparkSession) -> None:
    positives = [(dt, customer, 1) for dt in (DAY, NEXT) for customer in range(20)]
    candidates = [(dt, item, 1) for dt in (DAY, NEXT) for item in range(10_000)]
    inputs = frames(spark, positives, [], candidates)
    drawn = Counter(
        row[2] for seed in (1, 2) for row in negatives(rows(sample_negatives(*inputs, seed=seed)))
    )
    assert len(drawn) > 0.97 * drawn.total() == 0.97 * 320


# ----------------------------------------------------------------------------------- frequencies


def chi_square(observed: Any, expected: Any) -> float:
    """How far beyond its mean the statistic lies, in standard deviations."""
    statistic = float((((observed - expected) ** 2) / expected).sum())
    freedom = len(expected) - 1
    return (statistic - freedom) / math.sqrt(2 * freedom)


def draw(candidates: Candidates, wanted: int, seen: Any, num_customers: int) -> Any:
    """Places drawn for customers who all have seen the same."""
    width = len(candidates.items)
    cells = (np.arange(num_customers)[:, None] * width + np.array(seen, np.int64)).ravel()
    keys = customer_keys(9, 19_800, np.arange(num_customers))
    table = np.zeros(num_customers * width, np.bool_)
    found = ChunkOfCustomers(candidates, keys, np.full(num_customers, wanted), cells, table).draw()
    assert not table.any()
    return found


@pytest.mark.parametrize("seen", [[], [1, 4], [0, 1, 2, 3, 4, 5, 6]])
def test_popular_items_come_as_often_as_their_weight_says(seen: list[int]) -> None:
    actions = np.array([1000, 500, 200, 100, 50, 20, 10, 5, 2, 1, 0, 3])
    candidates = Candidates.of(np.arange(12), actions, is_uniform=False)
    drawn = draw(candidates, 1, seen, 20_000)
    left = np.setdiff1d(np.arange(12), seen)
    share = np.maximum(actions[left], 1) ** 0.75
    share /= share.sum()
    observed = np.bincount(drawn.places, minlength=12)[left]
    assert observed.sum() == 20_000
    assert chi_square(observed, share * 20_000) < 3.5
    np.testing.assert_allclose(drawn.probabilities, share[np.searchsorted(left, drawn.places)])


@pytest.mark.parametrize("seen", [[], list(range(20))])
def test_uniform_items_are_included_equally_often(seen: list[int]) -> None:
    candidates = Candidates.of(np.arange(30), np.zeros(30, np.int64), is_uniform=True)
    drawn = draw(candidates, 4, seen, 20_000)
    observed = np.bincount(drawn.places, minlength=30)[len(seen) :]
    assert observed.sum() == 80_000
    assert chi_square(observed, np.full(30 - len(seen), 80_000 / (30 - len(seen)))) < 3.5


def test_draws_of_several_are_successive_draws_without_replacement() -> None:
    actions = np.array([625, 81, 16, 1])
    candidates = Candidates.of(np.arange(4), actions, is_uniform=False)
    drawn = draw(candidates, 2, [], 40_000)
    order = np.lexsort((drawn.numbers, drawn.rows))
    first, second = drawn.places[order].reshape(-1, 2).T
    share = actions**0.75 / (actions**0.75).sum()
    expected = np.array(
        [
            [p * q / (1 - p) if a != b else 0 for b, q in enumerate(share)]
            for a, p in enumerate(share)
        ]
    )
    observed = np.zeros((4, 4))
    np.add.at(observed, (first, second), 1)
    apart = ~np.eye(4, dtype=bool)
    assert chi_square(observed[apart], expected[apart] * 40_000) < 3.5


def test_a_customer_who_has_seen_nearly_all_of_many_items_gets_the_rest() -> None:
    candidates = Candidates.of(np.arange(50_000), np.arange(50_000), is_uniform=False)
    drawn = draw(candidates, 8, np.setdiff1d(np.arange(50_000), [5, 77, 49_999]), 3)
    assert Counter(drawn.places.tolist()) == {5: 3, 77: 3, 49_999: 3}


def test_chunks_of_any_size_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    positives, seen, candidates = shop()
    both = [(dt, 0, 0, w, i) for dt, i, w in candidates]
    both += [(dt, 0, kind, c, i) for kind, part in ((1, positives), (2, seen)) for dt, c, i in part]
    schema = pa.schema(
        {
            "dt": pa.date32(),
            "slice": pa.int32(),
            "kind": pa.int8(),
            "number": pa.int64(),
            "item_id": pa.int64(),
        }
    )
    columns = [pa.array(c, t) for c, t in zip(zip(*both, strict=True), schema.types, strict=True)]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)

    def sampled() -> Counter[Any]:
        batches = sample_rows([batch], ratio=4, is_uniform=False, seed=0)
        found = pa.Table.from_batches(batches).to_pylist()
        return Counter(tuple(row.values()) for row in found)

    expected = reference_samples(positives, seen, candidates, strategy="popularity")
    for cells in (1, 200, 10**6):
        monkeypatch.setattr(draws, "_MAX_CELLS", cells)
        assert sampled() == expected


@pytest.mark.usefixtures("workers_elsewhere")
def test_workers_need_not_have_the_package(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(cloudpickle.dumps(sample_rows))
    code = (
        "import pickle, sys; sys.modules['training_assets'] = None; "
        f"sample = pickle.load(open({str(tmp_path / 'kernel')!r}, 'rb')); "
        "print(list(sample([], ratio=4, is_uniform=True, seed=0)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# --------------------------------------------------------------------------------------- errors


def test_weights_are_exact_where_roots_are() -> None:
    weights = popularity_weights(np.array([0, 1, 16, 81, 10**8]))
    assert (weights / 2**30).tolist() == [1, 1, 8, 27, 10**6]


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"2 candidates of a day have weights up to 9e\+15"):
        popularity_weights(np.array([9 * 10**15, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": -1}, "ratio is -1; expected 0 or more"),
        ({"ratio": 2.5}, "ratio is 2.5; expected a whole number"),
        ({"ratio": True}, "ratio is True; expected a whole number"),
        ({"seed": "x"}, "seed is 'x'; expected a whole number"),
        ({"strategy": "hard"}, "strategy is 'hard'; expected one of uniform, popularity"),
    ],
)
def test_options_that_cannot_work_are_named(
    spark: SparkSession, options: Any, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        sample_negatives(*frames(spark, [], [], []), **options)


def test_columns_that_are_missing_or_mistyped_are_named(spark: SparkSession) -> None:
    positives, seen, candidates = frames(spark, [], [], [])
    with pytest.raises(SchemaError, match="seen has no column item_id; expected dt, customer_id"):
        sample_negatives(positives, seen.drop("item_id"), candidates)
    with pytest.raises(SchemaError, match="candidates has no column weight"):
        sample_negatives(positives, seen, candidates.drop("weight"), strategy="popularity")
    number = positives.selectExpr("1 as dt", "customer_id", "item_id")
    with pytest.raises(SchemaError, match=r"positives\.dt is int; expected date"):
        sample_negatives(number, seen, candidates)
    text = positives.selectExpr("dt", "customer_id", "cast(item_id as string) as item_id")
    with pytest.raises(SchemaError, match="item_id is string in one input and bigint in another"):
        sample_negatives(text, seen, candidates)
    double = seen.selectExpr("dt", "customer_id", "cast(item_id as double) as item_id")
    with pytest.raises(SchemaError, match=r"seen\.item_id is double; expected long, or string"):
        sample_negatives(positives, double, candidates)
