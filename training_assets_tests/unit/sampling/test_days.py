"""Samples of days from files of actions against plain loops over the actions."""

import math
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_assets.kernels import ActionFile, write_actions
from training_assets.sampling.actions import count_items
from training_assets.sampling.days import sample_days
from training_assets.sampling.gathered import gather, sample_gathered
from training_assets.sampling.rules import ItemsOfDays, Rules, Window
from training_assets.schemas import UNIFIED_ACTIONS
from training_assets_tests.support.sampling_reference import negatives_of, weight_of

EPOCH = date(1970, 1, 1)
FIRST = 19_800
RUN = "0123456789ab"
# day, customer, item, kind, is_bot
Action = tuple[int, int, int, int, bool]


def files_of(root: Path, actions: Iterable[Action]) -> list[ActionFile]:
    by_day: dict[int, list[Action]] = defaultdict(list)
    for action in actions:
        by_day[action[0]].append(action)
    rows = [
        {
            "dt": EPOCH + timedelta(days=day),
            "customer_id": customer,
            "item_id": item,
            "action_type": kind,
            "occurred_at": day * 86_400_000_000 + n,
            "has_time": True,
            "is_bot": is_bot,
            "part": customer % 2,
        }
        for n, (day, customer, item, kind, is_bot) in enumerate(actions)
    ]
    fields = [*UNIFIED_ACTIONS.arrow_schema, pa.field("dt", pa.date32())]
    schema = pa.schema([*(f for f in fields if f.name in rows[0]), pa.field("part", pa.int32())])
    table = pa.Table.from_pylist(rows, schema)
    found = []
    for batch in write_actions(table.to_batches(), str(root), RUN):
        found += [ActionFile(f"{root}/{row['name']}", row["day"]) for row in batch.to_pylist()]
    return sorted(found)


def sampled(
    files: list[ActionFile],
    window: Window,
    rules: Rules,
    active: dict[int, list[int]],
    cuts: Iterable[int] = (),
) -> Counter[Any]:
    """By the kernels, with a task for each range of customers between the cuts."""
    numbers = pa.RecordBatch.from_pydict({"number": list(range(len(files)))})
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for batch in count_items([numbers], files, window):
        for row in batch.to_pylist():
            counts[row["bucket"]][row["item_id"]] += row["actions"]
    by_bucket = {
        bucket: (np.array(sorted(of), np.int32), np.array([of[i] for i in sorted(of)], np.int64))
        for bucket, of in counts.items()
    }
    catalogue = {day: np.array(sorted(items), np.int32) for day, items in active.items()}
    items = ItemsOfDays.of(by_bucket, catalogue)
    edges = [-(2**63), *sorted(cuts), 2**63 - 1]
    tasks = [
        {"task": n, "low": low, "high": high - 1} for n, (low, high) in enumerate(pairwise(edges))
    ]
    batches = sample_days([pa.RecordBatch.from_pylist(tasks)], files, window, items, rules)
    return Counter(tuple(row.values()) for batch in batches for row in batch.to_pylist())


def sampled_at_once(
    files: list[ActionFile], window: Window, rules: Rules, cuts: Iterable[int], num_tasks: int
) -> Counter[Any]:
    """From one look at the files, by so many tasks, with a slice for each range of customers."""
    edges = [-(2**63), *sorted(cuts), 2**63 - 1]
    slices = [(low, high - 1) for low, high in pairwise(edges)]
    found = []
    for task in range(num_tasks):
        numbers = pa.RecordBatch.from_pydict(
            {"number": pa.array(range(task, len(files), num_tasks), pa.int32())}
        )
        found += list(gather([numbers], files, window, rules, slices))
    rows = pa.Table.from_batches(found)
    of_slices = [rows.filter(pc.equal(rows["slice"], n)) for n in range(len(slices))]
    batches = pa.concat_tables(reversed(of_slices)).combine_chunks().to_batches()
    samples = sample_gathered(batches, files, window, rules, slices)
    return Counter(tuple(row.values()) for batch in samples for row in batch.to_pylist())


def reference(
    actions: Iterable[Action], window: Window, rules: Rules, active: dict[int, list[int]]
) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for day in window.days:
        start = -(10**9) if window.lookback_days is None else day - window.lookback_days
        before = [a for a in actions if start <= a[0] < day]
        popular = Counter(a[2] for a in before if not a[4])
        candidates = active.get(day, [i for i, n in popular.items() if n])
        strategy = "uniform" if rules.is_uniform else "popularity"
        weights = {i: weight_of(popular[i], strategy) for i in candidates}
        dt = EPOCH + timedelta(days=day)
        is_positive = {
            (a[1], a[2]) for a in actions if a[0] == day and a[3] in rules.kinds and not a[4]
        }
        for customer in {c for c, _ in is_positive}:
            known = {a[2] for a in before if a[1] == customer}
            of_day = {a[2] for a in actions if a[0] == day and a[1] == customer}
            mine = {i for c, i in is_positive if c == customer}
            out = known | of_day if rules.excludes_seen else mine
            wanted = sorted(i for i in mine if not rules.only_new or i not in known)
            drawn = negatives_of(
                dt, customer, weights, out | mine, len(wanted) * rules.ratio, rules.seed
            )
            left = float(sum(w for i, w in weights.items() if i not in out | mine))
            for item in wanted:
                found[dt, customer, item, 1.0, None, None, item in known, item] += 1
            for n, item in enumerate(drawn):
                p = float(weights[item]) / left
                of = wanted[n // rules.ratio]
                log_q = float(np.log(len(drawn) * p))
                found[dt, customer, item, 0.0, p, log_q, item in known, of] += 1
    return found


actions = st.lists(
    st.tuples(
        st.integers(FIRST, FIRST + 9),
        st.integers(0, 5),
        st.integers(1, 25),
        st.integers(1, 5),
        st.sampled_from([False] * 9 + [True]),
    ),
    min_size=1,
    max_size=120,
)
windows = st.builds(
    Window,
    st.sampled_from([(FIRST + 9,), (FIRST + 7, FIRST + 8, FIRST + 9), (FIRST + 5, FIRST + 9)]),
    st.sampled_from([1, 2, 3, 7, 365, None]),
)
rules = st.builds(
    Rules,
    ratio=st.integers(0, 4),
    is_uniform=st.booleans(),
    seed=st.integers(0, 3),
    kinds=st.sampled_from([(2, 3, 5), (3,)]),
    only_new=st.booleans(),
    excludes_seen=st.booleans(),
)
catalogues = st.dictionaries(
    st.integers(FIRST + 5, FIRST + 9), st.lists(st.integers(1, 30), unique=True), max_size=3
)


@settings(max_examples=100)
@given(actions, windows, rules, catalogues, st.sets(st.integers(1, 5), max_size=2))
def test_samples_are_those_of_plain_loops(
    actions: list[Action],
    window: Window,
    rules: Rules,
    active: dict[int, list[int]],
    cuts: set[int],
) -> None:
    with TemporaryDirectory() as root:
        files = files_of(Path(root), actions)
        assert sampled(files, window, rules, active, cuts) == reference(
            actions, window, rules, active
        )


@settings(max_examples=50)
@given(actions, windows, rules, st.sets(st.integers(1, 5), max_size=2), st.integers(1, 3))
def test_one_look_at_the_files_gives_the_same(
    actions: list[Action], window: Window, rules: Rules, cuts: set[int], num_tasks: int
) -> None:
    with TemporaryDirectory() as root:
        files = files_of(Path(root), actions)
        assert sampled_at_once(files, window, rules, cuts, num_tasks) == reference(
            actions, window, rules, {}
        )


def test_each_day_of_a_range_is_as_it_is_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    actions = [
        (FIRST + int(d), int(c), int(i), int(k), False)
        for d, c, i, k in rng.integers([0, 0, 1, 1], [10, 20, 60, 6], (800, 4))
    ]
    files = files_of(tmp_path, actions)
    days = tuple(range(FIRST + 4, FIRST + 10))
    together = sampled(files, Window(days, 4), Rules(), {})
    alone: Counter[Any] = Counter()
    for day in days:
        alone += sampled(files, Window((day,), 4), Rules(), {}, cuts=[7])
    assert together == alone
    assert together.total() > 500


@pytest.mark.parametrize("excludes_seen", [True, False])
def test_a_rare_customer_and_large_ids_are_found(tmp_path: Path, excludes_seen: bool) -> None:
    big, far = 2**31 - 1, 2**62
    actions = [
        (FIRST, far, big, 1, False),
        (FIRST + 1, far, 7, 3, False),
        (FIRST, -far, 8, 1, False),
        (FIRST, 3, 9, 2, False),
    ]
    window = Window((FIRST + 1,), 1)
    chosen = Rules(excludes_seen=excludes_seen)
    files = files_of(tmp_path, actions)
    found = sampled(files, window, chosen, {})
    assert found == reference(actions, window, chosen, {})
    assert found == sampled_at_once(files, window, chosen, cuts=[3], num_tasks=2)
    negatives = {row[2] for row in found if row[3] == 0.0}
    assert negatives == ({8, 9} if excludes_seen else {8, 9, big})


def test_counts_of_few_items_take_no_room_for_all_ids_below_them(tmp_path: Path) -> None:
    largest = 2**24
    actions = [(FIRST + n, 1, largest - n, 1, False) for n in range(10)]
    files = files_of(tmp_path, actions)
    numbers = pa.RecordBatch.from_pydict({"number": list(range(len(files)))})
    tracemalloc.start()
    try:
        found = list(count_items([numbers], files, Window((FIRST + 9, FIRST + 10), 1)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {row["item_id"] for batch in found for row in batch.to_pylist()} == {
        a[2] for a in actions
    }
    assert peak < largest


def test_log_q_is_the_expected_number_of_draws(tmp_path: Path) -> None:
    actions = [(FIRST, 1, item, 1, False) for item in range(1, 11)] + [
        (FIRST + 1, 2, 1, 3, False),
        (FIRST + 1, 2, 2, 3, False),
    ]
    found = sampled(files_of(tmp_path, actions), Window((FIRST + 1,), 7), Rules(), {})
    negatives = [row for row in found if row[3] == 0.0]
    assert len(negatives) == 8
    assert {row[4] for row in negatives} == {1 / 8}
    assert {row[5] for row in negatives} == {math.log(8 * 1 / 8)}
