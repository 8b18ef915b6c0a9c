"""The order is a pure function; ranks and workers share it out exactly once."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.errors import SettingsError
from training_assets.loader.order import Order, random_order

DAY = date(2024, 3, 1)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 1000])
def test_random_order_is_a_permutation(size: int) -> None:
    order = random_order(size, seed=1, epoch=0, dt=DAY)
    assert sorted(order.tolist()) == list(range(size))
    assert order.dtype == np.int64


def test_random_order_depends_on_seed_epoch_and_day_only() -> None:
    def of(seed: int = 1, epoch: int = 0, dt: date = DAY) -> list[int]:
        return random_order(50, seed=seed, epoch=epoch, dt=dt).tolist()

    assert of() == of()
    assert len({tuple(o) for o in (of(), of(seed=2), of(epoch=1), of(dt=date(2024, 3, 2)))}) == 4


def test_random_order_is_the_same_with_every_numpy() -> None:
    assert random_order(10, seed=7, epoch=1, dt=DAY).tolist() == [5, 0, 1, 2, 7, 8, 3, 6, 9, 4]


def test_random_order_puts_every_number_anywhere() -> None:
    places = np.zeros((6, 6))
    for epoch in range(3000):
        places[np.arange(6), random_order(6, seed=0, epoch=epoch, dt=DAY)] += 1
    assert abs(places - 500).max() < 100


@given(
    num_examples=st.integers(0, 200),
    batch_size=st.integers(1, 20),
    world_size=st.integers(1, 5),
    drop_last=st.booleans(),
)
def test_ranks_share_a_day_exactly_once(
    num_examples: int, batch_size: int, world_size: int, drop_last: bool
) -> None:
    seen: list[int] = []
    sizes = []
    for rank in range(world_size):
        order = Order(batch_size, rank=rank, world_size=world_size, drop_last=drop_last)
        for step in range(order.num_batches(num_examples)):
            start, stop = order.bounds(step, num_examples)
            seen.extend(range(start, stop))
            sizes.append(stop - start)
    whole = batch_size * world_size
    expected = num_examples - num_examples % whole if drop_last else num_examples
    assert sorted(seen) == list(range(expected))
    assert all(0 < size <= batch_size for size in sizes)
    if drop_last:
        assert set(sizes) <= {batch_size}


@given(num_examples=st.integers(0, 200), batch_size=st.integers(1, 20), world=st.integers(2, 5))
def test_ranks_have_equally_many_batches_with_drop_last(
    num_examples: int, batch_size: int, world: int
) -> None:
    orders = [Order(batch_size, rank=r, world_size=world, drop_last=True) for r in range(world)]
    assert len({order.num_batches(num_examples) for order in orders}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; expected at least 1"),
        ({"batch_size": 1, "rank": 2, "world_size": 2}, "rank is 2 with world_size 2"),
        ({"batch_size": 1, "shuffle": "rows"}, "shuffle is 'rows'; expected one of 'examples'"),
        ({"batch_size": 1, "seed": -1}, "seed is -1; expected 0 or more"),
    ],
)
def test_impossible_orders_are_named(options: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Order(**options)
