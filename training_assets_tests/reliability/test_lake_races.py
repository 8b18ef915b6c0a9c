"""Two and three processes that publish at once, with readers meanwhile, local and on S3.

Every day that a run reports as published follows the version that the run had seen: the versions
of a day are a chain, of which none is lost and none came twice.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from training_assets.lake import OTHERS, PUBLISHED, LocalStore, Store, open_store
from training_assets_tests.support.processes import (
    finish,
    new_barrier,
    new_event,
    new_queue,
    start,
)
from training_assets_tests.support.published_days import DAYS, look, publish_days
from training_assets_tests.support.rival_runs import (
    publish_often,
    publish_once,
    read_for_ever,
    require_whole,
    restore_for_ever,
)

A, B, C, D = DAYS[:4]
_SECONDS = 120


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(tmp_path / "unified_actions")
    return open_store(f"{request.getfixturevalue('s3_server').new_url()}/unified_actions")


def _race(store: Store, ranges_of_runs: Sequence[Sequence[Sequence[date]]]) -> list[Any]:
    """What each run published, in order: day, its number, the number that it had seen."""
    answers, barrier = new_queue(), new_barrier(len(ranges_of_runs))
    runs = [
        start(publish_often, store.url, ranges, name, answers, barrier)
        for name, ranges in enumerate(ranges_of_runs, 1)
    ]
    found = [answers.get(timeout=_SECONDS)[1] for _ in runs]
    assert [finish(run) for run in runs] == [0] * len(runs)
    return [step for published in found for step in published]


def _require_chains(store: Store, steps: list[Any], start: dict[date, int | None]) -> None:
    """All steps of a day follow each other, from the first version to the one that stands."""
    now = require_whole(store)
    for day in {day for day, _, _ in steps}:
        following = {seen: number for at, number, seen in steps if at == day}
        assert len(following) == sum(at == day for at, _, _ in steps)
        number = start.get(day)
        for _ in following.copy():
            number = following.pop(number)
        assert number == now[day]


@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param([[[A]] * 5] * 2, id="two runs, the same day"),
        pytest.param([[[A]] * 4, [[B]] * 4, [[C]] * 4], id="three runs, other days"),
        pytest.param(
            [[[A, B], [B, C]] * 2, [[B, C, D], [A]] * 2, [[C], [A, B, C]] * 2],
            id="three runs, overlapping ranges",
        ),
    ],
)
@pytest.mark.parametrize("is_new", [True, False], ids=["new table", "old table"])
def test_runs_at_once_lose_nothing_and_publish_nothing_twice(
    store: Store, ranges: Sequence[Sequence[Sequence[date]]], is_new: bool
) -> None:
    if not is_new:
        publish_days(store, [A, B, C, D], number=7)
    steps = _race(store, ranges)
    assert {name // 1000 for _, name, _ in steps} == set(range(1, len(ranges) + 1))
    assert len(steps) == sum(len(days) for run in ranges for days in run)
    _require_chains(store, steps, {} if is_new else dict.fromkeys([A, B, C, D], 7))


def test_of_runs_from_the_same_inputs_one_publishes_and_the_others_leave_it_alone(
    store: Store,
) -> None:
    answers, barrier = new_queue(), new_barrier(3)
    days = [[A, B], [B, C], [A, C]]
    runs = [
        start(publish_once, store.url, days[name - 1], name, answers, barrier) for name in (1, 2, 3)
    ]
    found = dict(answers.get(timeout=_SECONDS) for _ in runs)
    assert [finish(run) for run in runs] == [0] * 3
    now = require_whole(store)
    for day in (A, B, C):
        outcomes = {name: of[day] for name, of in found.items() if day in of}
        assert sorted(outcomes.values()) == sorted([PUBLISHED, OTHERS])
        assert outcomes[now[day] or 0] == PUBLISHED
    assert look(store).version <= 3


def test_readers_see_whole_days_and_keep_their_version_while_others_publish_and_clean_up(
    store: Store,
) -> None:
    publish_days(store, [A, B, C, D], number=7)
    answers, stop = new_queue(), new_event()
    beside = [
        start(read_for_ever, store.url, stop, answers),
        start(restore_for_ever, store.url, 1, stop, answers),
    ]
    steps = _race(store, [[[A, B], [B, C]] * 2, [[B, C], [A]] * 2])
    stop.set()
    found = [answers.get(timeout=_SECONDS) for _ in beside]
    assert [finish(child) for child in beside] == [0, 0]
    assert [faults for _, _, faults in found] == [[], []]
    assert {name: count for name, count, _ in found}["reader"] > 0
    _require_chains(store, steps, dict.fromkeys([A, B, C, D], 7))
