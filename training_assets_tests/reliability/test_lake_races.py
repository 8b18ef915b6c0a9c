"""Two and three processes that publish at once, with readers meanwhile, local and on S3.

The versions of a day in the log are a chain: each was built when the one before it stood, none is
lost, none came twice.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import pytest

from training_assets.lake import OTHERS, PUBLISHED, LocalStore, Store, list_versions, open_store
from training_assets_tests.support.processes import (
    finish,
    new_barrier,
    new_event,
    new_queue,
    start,
)
from training_assets_tests.support.published_days import DAYS, TABLE, look, publish_days
from training_assets_tests.support.rival_runs import (
    Try,
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


def _race(store: Store, ranges_of_runs: Sequence[Sequence[Sequence[date]]]) -> list[Try]:
    """All tries of runs that begin at once, each over its ranges in turn."""
    answers, barrier = new_queue(), new_barrier(len(ranges_of_runs))
    runs = [
        start(publish_often, store.url, ranges, name, answers, barrier)
        for name, ranges in enumerate(ranges_of_runs, 1)
    ]
    found = [answers.get(timeout=_SECONDS)[1] for _ in runs]
    assert [finish(run) for run in runs] == [0] * len(runs)
    return [one for tries in found for one in tries]


def _require_chains(store: Store, tries: Sequence[Try], start: Mapping[date, int]) -> None:
    """The log holds each day's versions as a chain: each was built when the one before stood."""
    now = require_whole(store)
    seen = {(one.day, one.number): one.seen for one in tries}
    published = {(one.day, one.number) for one in tries if one.outcome == PUBLISHED}
    logged = [
        (day, int(version.run))
        for version in reversed(list_versions(store, TABLE.name))
        if version.operation == "publish" and version.run != "test"
        for day in version.days
    ]
    assert len(set(logged)) == len(logged), "nothing is committed twice"
    assert published <= set(logged), "nothing that was reported is lost"
    newest: dict[date, int | None] = dict(start)
    for day, number in logged:
        assert seen[day, number] == newest.get(day)
        newest[day] = number
    assert newest == now


THE_SAME_DAY = [[[A]] * 5] * 2
OTHER_DAYS = [[[A]] * 4, [[B]] * 4, [[C]] * 4]
OVERLAPPING = [[[A, B], [B, C]] * 2, [[B, C, D], [A]] * 2, [[C], [A, B, C]] * 2]


@pytest.mark.parametrize(
    ("is_new", "ranges"),
    [
        pytest.param(True, THE_SAME_DAY, id="new table-two runs, the same day"),
        pytest.param(False, OTHER_DAYS, id="old table-three runs, other days"),
        pytest.param(True, OVERLAPPING, id="new table-three runs, overlapping ranges"),
        pytest.param(False, OVERLAPPING, id="old table-three runs, overlapping ranges"),
    ],
)
def test_runs_at_once_lose_nothing_and_publish_nothing_twice(
    store: Store, ranges: Sequence[Sequence[Sequence[date]]], is_new: bool
) -> None:
    if not is_new:
        publish_days(store, [A, B, C, D], number=7)
    tries = _race(store, ranges)
    published = [one for one in tries if one.outcome == PUBLISHED]
    assert len(published) == sum(len(days) for run in ranges for days in run)
    _require_chains(store, tries, {} if is_new else dict.fromkeys([A, B, C, D], 7))


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
    tries = _race(store, [[[A, B], [B, C]] * 2, [[B, C], [A]] * 2])
    stop.set()
    found = [answers.get(timeout=_SECONDS) for _ in beside]
    assert [finish(child) for child in beside] == [0, 0]
    assert [faults for _, _, faults in found] == [[], []]
    assert {name: count for name, count, _ in found}["reader"] > 0
    _require_chains(store, tries, dict.fromkeys([A, B, C, D], 7))
