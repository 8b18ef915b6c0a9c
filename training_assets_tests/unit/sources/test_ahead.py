"""Parts of a file that several threads work on."""

import threading
from collections.abc import Iterator

import pytest

from training_assets.sources.ahead import in_order


@pytest.mark.parametrize("count", [0, 1, 2, 50])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_the_order_of_the_parts(count: int, threads: int) -> None:
    assert list(in_order(lambda n: n * n, range(count), threads)) == [n * n for n in range(count)]


def test_no_more_parts_are_held_than_threads_and_one() -> None:
    given, taken = [0], 0

    def parts() -> Iterator[int]:
        for n in range(40):
            given[0] = n + 1
            yield n

    for taken, _ in enumerate(in_order(lambda n: n, parts(), 2), 1):
        assert given[0] - taken <= 3
    assert taken == 40


def test_a_single_part_starts_no_thread() -> None:
    assert list(in_order(lambda _: threading.current_thread(), [1], 4)) == [
        threading.current_thread()
    ]


def test_what_fails_is_raised_in_its_place_and_nothing_goes_on() -> None:
    before = threading.active_count()
    found = in_order(lambda n: 10 // (3 - n), range(1000), 2)
    assert [next(found) for _ in range(3)] == [3, 5, 10]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert threading.active_count() == before
