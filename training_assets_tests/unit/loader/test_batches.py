"""Batches equal brute force on random lakes, in every layout, source and form."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training_assets.loader import Batch, TrainingDays, Vocabulary
from training_assets_tests.support.loader_lakes import (
    FIRST_DAY,
    HISTORY_LENGTH,
    PlainDay,
    random_days,
    write_lake,
)
from training_assets_tests.support.loader_reference import expected_batch

LAYOUTS = ["expanded", "deduplicated", "jagged"]
DTYPES = {
    "impressions": np.int64,
    "labels": np.float32,
    "actions": np.int32,
    "action_types": np.int32,
    "days_ago": np.int32,
    "lengths": np.int32,
    "mask": np.bool_,
    "inverse": np.int64,
    "offsets": np.int64,
}


def extras_of(layout: str, source: str = "customer_history") -> Any:
    extras = {"lengths", "identity"}
    extras |= {"mask"} if layout != "jagged" else set()
    return extras | ({"days_ago"} if source == "customer_history" else set())


def assert_is_expected(batch: Batch[Any], day: PlainDay, *, length: int, layout: str) -> None:
    assert batch.identity is not None
    rows = batch.identity.rows.tolist()
    expected = expected_batch(day, rows, length=length, layout=layout)
    found = vars(batch) | vars(batch.identity)
    for name, values in expected.items():
        if found[name] is not None:
            np.testing.assert_array_equal(np.asarray(found[name]), values, err_msg=name)
    for name, dtype in DTYPES.items():
        if found[name] is not None:
            assert np.asarray(found[name]).dtype == dtype, name


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**31),
    num_customers=st.integers(1, 12),
    num_files=st.integers(1, 3),
    layout=st.sampled_from(LAYOUTS),
    source=st.sampled_from(["customer_history", "training_input"]),
    shuffle=st.sampled_from(["examples", "histories", "none"]),
    length=st.sampled_from([None, 1, 5, HISTORY_LENGTH]),
    batch_size=st.sampled_from([1, 7, 1000]),
    dense_limit_bytes=st.sampled_from([0, 2**30]),
    threads=st.integers(1, 2),
)
def test_batches_equal_brute_force(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    num_customers: int,
    num_files: int,
    layout: Any,
    source: Any,
    length: int | None,
    **options: Any,
) -> None:
    plain = random_days(seed, num_days=2, num_customers=num_customers)
    lake = write_lake(tmp_path_factory.mktemp("lake"), plain, num_files=num_files)
    days = TrainingDays(
        lake,
        length=length,
        layout=layout,
        source=source,
        extras=extras_of(layout, source),
        seed=seed,
        **options,
    )
    by_dt = {day.dt: day for day in plain}
    seen: Counter[Any] = Counter()
    for batch in days:
        width = length or HISTORY_LENGTH
        assert_is_expected(batch, by_dt[batch.dt], length=width, layout=layout)
        assert batch.identity is not None
        seen.update((batch.dt, row) for row in batch.identity.rows.tolist())
    assert seen == Counter((day.dt, row) for day in plain for row in range(len(day.rows)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_sources_give_identical_batches(tmp_path: Path, layout: Any) -> None:
    lake = write_lake(tmp_path, random_days(3), num_files=2)
    for shuffle in ("examples", "histories"):
        first, second = (
            list(TrainingDays(lake, batch_size=16, layout=layout, source=source, shuffle=shuffle))
            for source in ("customer_history", "training_input")
        )
        assert len(first) == len(second) > 3
        for one, other in zip(first, second, strict=True):
            for name, values in vars(one).items():
                np.testing.assert_array_equal(values, vars(other)[name], err_msg=name)


def test_the_drawn_example(tmp_path: Path) -> None:
    day = PlainDay(
        FIRST_DAY,
        histories={
            7: [(41, 1, 1), (40, 3, 9)],
            8: [],
            9: [(52, 1, 2), (50, 1, 3), (51, 1, 3)],
        },
        rows=[
            (7, "a", 60, 0),
            (7, "a", 61, 1),
            (7, "b", 62, 0),
            (8, "c", 60, 0),
            (9, "d", 60, 0),
            (9, "d", 63, 1),
        ],
    )
    lake = write_lake(tmp_path, [day])
    batches = {
        layout: next(iter(TrainingDays(lake, batch_size=6, length=2, layout=layout)))
        for layout in ("expanded", "deduplicated", "jagged")
    }
    jagged = batches["jagged"]
    assert jagged.offsets is not None
    assert jagged.offsets.tolist() == [0, 2, 2, 4]
    assert jagged.actions.tolist() == [41, 40, 52, 50]
    assert batches["deduplicated"].actions.tolist() == [[41, 40], [0, 0], [52, 50]]
    by_item = dict(zip(*(x.tolist() for x in batches["expanded"].inputs[:2]), strict=True))
    assert by_item[63] == [52, 50]
    assert by_item[61] == [41, 40]


def test_customers_that_were_shown_nothing_change_nothing(tmp_path: Path) -> None:
    plain = random_days(5, num_days=1)
    without = list(TrainingDays(write_lake(tmp_path / "without", plain), batch_size=8))
    plain[0].histories = {1: [(4, 1, 3)], **plain[0].histories, 99_999: [(5, 2, 1)]}
    with_more = list(TrainingDays(write_lake(tmp_path / "with", plain), batch_size=8))
    for one, other in zip(without, with_more, strict=True):
        np.testing.assert_array_equal(one.actions, other.actions)


def test_shuffled_histories_keep_the_examples_of_a_history_together(tmp_path: Path) -> None:
    plain = random_days(6, num_days=1, num_customers=30)
    lake = write_lake(tmp_path, plain)
    orders = []
    for shuffle in ("histories", "examples"):
        days = TrainingDays(lake, batch_size=1000, extras=["identity"], shuffle=shuffle)
        (batch,) = days
        assert batch.identity is not None
        orders.append(batch.identity.customer_ids)
    changes = [int(np.count_nonzero(np.diff(customers))) for customers in orders]
    assert changes[0] == 29
    assert changes[1] > 60
    assert orders[0].tolist() != sorted(orders[0].tolist())


def test_a_kept_batch_is_not_overwritten(tmp_path: Path) -> None:
    days = TrainingDays(write_lake(tmp_path, random_days(7)), batch_size=4, extras=["mask"])
    kept = [(batch, batch.actions.copy(), batch.mask.copy()) for batch in days]  # type: ignore[union-attr]
    assert len(kept) > 10
    for batch, actions, mask in kept:
        np.testing.assert_array_equal(batch.actions, actions)
        np.testing.assert_array_equal(batch.mask, mask)  # type: ignore[arg-type]


def test_a_view_of_a_dropped_batch_is_not_overwritten(tmp_path: Path) -> None:
    days = TrainingDays(write_lake(tmp_path, random_days(7)), batch_size=4)
    views = [batch.actions[1:, :3] for batch in days]
    for view, batch in zip(views, days.__class__.__iter__(_again(days)), strict=True):
        np.testing.assert_array_equal(view, batch.actions[1:, :3])


def _again(days: TrainingDays) -> TrainingDays:
    days.set_epoch(days.epoch - 1)
    return days


def test_buffers_are_used_again_when_batches_are_let_go(tmp_path: Path) -> None:
    days = TrainingDays(write_lake(tmp_path, random_days(7)), batch_size=4, drop_last=True)
    places = {batch.actions.ctypes.data for batch in days}
    assert len(places) <= 3 < len(days)
    # Let go of before the next one is asked for, a batch gives its place to that one.
    assert len(set(map(place_of, days))) == 1


def place_of(batch: Batch[Any]) -> int:
    return int(batch.actions.ctypes.data)


def test_a_day_without_rows_gives_no_batch(tmp_path: Path) -> None:
    plain = [*random_days(8, num_days=2), PlainDay(random_days(8)[2].dt)]
    lake = write_lake(tmp_path, plain)
    days = TrainingDays(lake, batch_size=8, extras=["identity", "days_ago"])
    assert {batch.dt for batch in days} == {plain[0].dt, plain[1].dt}
    (empty,) = [TrainingDays(lake, days=[plain[2].dt], batch_size=8)]
    assert len(empty) == 0
    assert list(empty) == []
    assert empty.epoch == 1


def test_any_way_to_name_a_lake(tmp_path: Path) -> None:
    write_lake(tmp_path / "lake", random_days(9))
    local = list(TrainingDays(tmp_path / "lake", batch_size=8))
    for location in ((tmp_path / "lake").as_uri(), str(tmp_path / "lake") + "/"):
        other = list(TrainingDays(location, batch_size=8))
        assert [b.actions.tolist() for b in other] == [b.actions.tolist() for b in local]


def test_vocabulary_is_applied_to_impressions_and_actions_alike(tmp_path: Path) -> None:
    lake = write_lake(tmp_path, random_days(10))
    training_days = [FIRST_DAY]
    vocabulary = Vocabulary.build(lake, days=training_days, min_count=3)
    raw = list(TrainingDays(lake, batch_size=8, extras=["identity"]))
    for layout in LAYOUTS:
        options: dict[str, Any] = {"layout": layout, "extras": ["identity"]}
        encoded = list(TrainingDays(lake, batch_size=8, vocabulary=vocabulary, **options))
        plain = list(TrainingDays(lake, batch_size=8, **options))
        for one, other, expanded in zip(encoded, plain, raw, strict=True):
            np.testing.assert_array_equal(one.actions, vocabulary.encode(other.actions))
            np.testing.assert_array_equal(one.impressions, vocabulary.encode(expanded.impressions))
            assert one.identity is not None
            np.testing.assert_array_equal(one.identity.item_ids, expanded.impressions)
            assert one.impressions.dtype == np.int64
            assert one.actions.dtype == np.int32


def test_repr_names_days_examples_and_shapes(tmp_path: Path) -> None:
    days = TrainingDays(write_lake(tmp_path, random_days(1)), batch_size=8)
    assert "2024-03-01 to 2024-03-03, 3 days" in repr(days)
    assert "actions[8, 12]" in repr(next(iter(days)))
