"""Runs for child processes: one that is killed at a step, and some that publish the same days."""

import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from training_assets.lake import (
    OVERTAKEN,
    Snapshot,
    Store,
    open_store,
    publish,
    restore,
    vacuum,
)
from training_assets_tests.support.processes import kill_oneself
from training_assets_tests.support.published_days import (
    DAYS,
    TABLE,
    look,
    numbers_of,
    rows_by_delta,
    write_day,
)

A, B, C, D = DAYS[:4]


class Try(NamedTuple):
    """One day that a run has tried to publish."""

    day: date
    number: int
    seen: int | None
    outcome: str


def publish_and_die(url: str, fatal: str) -> None:
    """Replaces A and B, adds C, and finds D unchanged; killed when it begins the step."""
    store = open_store(url)
    before = look(store)
    new = {day: write_day(store, day, number=2) for day in (A, B, C)}
    new[D] = write_day(store, D, number=1)
    publish(store, TABLE, new, before, {}, lambda step: kill_oneself() if step == fatal else None)


def publish_for_ever(url: str) -> None:
    """The first one, two or three days, again and again."""
    store = open_store(url)
    number = 100
    while True:
        number += 1
        before = look(store)
        days = DAYS[: random.randrange(1, 4)]
        publish(store, TABLE, {d: write_day(store, d, number=number) for d in days}, before, {})


def publish_often(
    url: str, ranges: Sequence[Sequence[date]], name: int, answers: Any, barrier: Any
) -> None:
    """Each range in turn, built again where it was overtaken; answers every try.

    A try is its day, its number, the number that it has seen there before, and its outcome. The
    number, of name and count, stands in its rows, manifest and commit.
    """
    store = open_store(url)
    barrier.wait()
    count = 0
    tries: list[Try] = []
    for days in ranges:
        todo = list(days)
        while todo:
            count += 1
            number = name * 1000 + count
            before = look(store)
            seen = {day: number_of(before, day) for day in todo}
            new = {
                day: write_day(store, day, number=number, inputs=f"{number} after {seen[day]}")
                for day in todo
            }
            found = publish(store, TABLE, new, before, {"run": str(number)})
            tries += [Try(day, number, seen[day], found[day]) for day in todo]
            todo = [day for day in todo if found[day] == OVERTAKEN]
    answers.put((name, tries))


def publish_once(url: str, days: Sequence[date], name: int, answers: Any, barrier: Any) -> None:
    """As every other run does, from the same inputs; answers what became of each day."""
    store = open_store(url)
    before = look(store)
    new = {day: write_day(store, day, number=name, inputs="the same") for day in days}
    barrier.wait()
    answers.put((name, publish(store, TABLE, new, before, {"run": str(name)})))


def number_of(snapshot: Snapshot, day: date) -> int | None:
    return int(snapshot.manifest(day)["number"]) if day in snapshot.files else None


def read_for_ever(url: str, stop: Any, answers: Any) -> None:
    """Opens version after version, and the first one again; answers how many and what was wrong."""
    store = open_store(url)
    first = look(store)
    expected = {day: numbers_of(first, day) for day in first.days}
    count, faults = 0, []
    while not stop.is_set():
        now = look(store)
        faults += [f"torn: {day}" for day in now.days if not _is_whole(now, day)]
        if {day: numbers_of(first, day) for day in first.days} != expected:
            faults.append("the version that was held has changed")
        count += 1
    answers.put(("reader", count, faults))


def _is_whole(now: Snapshot, day: date) -> bool:
    numbers = numbers_of(now, day)
    return set(numbers) == {number_of(now, day)} and len(numbers) == now.manifest(day)["rows"]


def require_whole(store: Store) -> dict[date, int | None]:
    """Every day is one run's, with all its rows and its manifest; whose, by day."""
    now = look(store)
    assert all(_is_whole(now, day) for day in now.days)
    if now.days:
        assert rows_by_delta(store) == dict.fromkeys(now.days, 6)
    return {day: number_of(now, day) for day in now.days}


def restore_for_ever(url: str, version: int, stop: Any, answers: Any) -> None:
    """Goes back to a version and cleans up, while others publish."""
    store = open_store(url)
    count = 0
    while not stop.is_set():
        count += len(restore(store, TABLE.name, version, {"run": "restore"}, days=[D]))
        vacuum(store, TABLE.name, keep=timedelta(days=7), dry_run=False)
    answers.put(("restore", count, []))
