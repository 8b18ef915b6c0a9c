"""Two runs at once over one lake, with two readers that look on all the time.

One reader opens Delta's tables and knows nothing of this project; the other one is the loader.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from training_assets.engine import spark_session
from training_assets.errors import DayNotPublishedError
from training_assets.lake import Lake, list_versions, manifest_path
from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.reliability.campaign.two_versions import (
    DAYS,
    KEYS,
    World,
    build,
    child,
    read_by_delta,
    read_by_loader,
)
from training_assets_tests.support.s3 import new_place, serving
from training_assets_tests.support.tables import SEQUENCE

_SECONDS: Final = 300.0
_RACES: Final[dict[str, tuple[Sequence[date], Sequence[date]]]] = {
    "the same days": (DAYS, DAYS),
    "overlapping days": (DAYS[:3], DAYS[1:]),
    "disjoint days": (DAYS[:2], DAYS[2:]),
}
_STORES: Final = {"local": "local disk", "s3": "S3"}


@dataclass
class _Tally:
    """Of the races of one kind; ``read`` counts the days that each reader has seen."""

    times: int = 0
    failed: list[str] = field(default_factory=list)
    commits: int = 0
    twice: int = 0
    unlike: int = 0
    read: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    lost_rows: int = 0
    torn_days: int = 0


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """A sixth of ``times`` races of each kind on each store; none is drawn at random."""
    del seed
    outcomes = []
    place = new_place()
    os.environ.update(place.environment)
    with serving(place), spark_session("sail") as spark:
        world = World.make(scratch, spark)
        # Where one run builds days that only the other looks back to, a history may rightly be of
        # neither version, unless their actions are the same.
        calm = World.make(scratch, spark, same_actions=True)
        for store, words in _STORES.items():
            for kind, (one, other) in _RACES.items():
                tally, of = _Tally(), world if one == other else calm
                for _ in range(-(-times // (len(_RACES) * len(_STORES)))):
                    root = str(scratch / "lake") if store == "local" else place.new_url()
                    _race(of, root, one, other, tally)
                    _settle(of, root, spark, tally)
                outcomes.append(_outcome(f"two runs over {kind}, {words}", tally))
                print(outcomes[-1].kind, outcomes[-1].result, flush=True)
    return outcomes


def _race(
    world: World, root: str, one: Sequence[date], other: Sequence[date], tally: _Tally
) -> None:
    world.copy(root)
    before = {table: Lake.at(root).snapshot(table).version for table in SEQUENCE}
    with ExitStack() as stack:
        runs = [stack.enter_context(child(root, "sail", days)) for days in (one, other)]
        for _, told in runs:
            told.recv()
        for _, told in runs:
            told.send("go")
        end = time.monotonic() + _SECONDS
        while not all(told.poll() for _, told in runs):
            _look(world, root, tally)
            assert time.monotonic() < end, "two runs wait for each other"
        answers = [told.recv() for _, told in runs]
    tally.times += 1
    tally.failed += [problem for _, problems in answers for problem in problems]
    commits = list(_commits(root, before))
    tally.commits += len(commits)
    tally.twice += sum(count - 1 for count in Counter(commits).values())


def _commits(root: str, before: dict[str, int]) -> Iterator[tuple[str, date, str]]:
    """Table, day and hash of its inputs, for each time that a day was committed since then."""
    for table, first in before.items():
        store = Lake.at(root).table_store(table)
        for version in list_versions(store, table):
            for day in version.days if version.number > first else ():
                manifest = json.loads(store.read(manifest_path(day, version.run)))
                yield table, day, str(manifest["inputs"])


def _look(world: World, root: str, tally: _Tally) -> None:
    """Read all days by both readers, as they are published now."""
    found = read_by_delta(root)
    tally.read["Delta"] += len(found)
    both = [world.by_delta["a"], world.by_delta["b"]]
    tally.torn_days += sum(rows not in [of[key] for of in both] for key, rows in found.items())
    try:
        given = read_by_loader(root)
    except DayNotPublishedError:
        tally.refused += 1
        return
    tally.read["the loader"] += len(given)
    of_loader = [world.by_loader["a"], world.by_loader["b"]]
    tally.torn_days += sum(rows not in [of[day] for of in of_loader] for day, rows in given.items())


def _settle(world: World, root: str, spark: Any, tally: _Tally) -> None:
    """What the runs left, before and after another one, which has nothing to do."""
    lost, torn = world.judge(root)
    tally.lost_rows += lost
    tally.torn_days += torn
    tally.unlike += not world.is_undisturbed(root)
    reports = build(spark, root)
    is_idle = not any(report.problem or report.has_changed for report in reports)
    tally.unlike += not (is_idle and world.is_undisturbed(root))


def _outcome(kind: str, tally: _Tally) -> Outcome:
    read = ", ".join(f"{count} by {name}" for name, count in tally.read.items())
    result = (
        f"{2 * tally.times} runs, {len(tally.failed)} problems; {tally.commits} times a day was "
        f"committed for {tally.times * len(KEYS)} table days, {tally.twice} of them again from the "
        f"same inputs; days read meanwhile, each old or new: {read}; {tally.refused} times the "
        f"loader said that a day is being published; in {tally.times - tally.unlike} of "
        f"{tally.times} cases the lake was in the end as after one undisturbed run, and another "
        "run had nothing to do"
    )
    if tally.failed or tally.unlike or tally.twice:
        result = f"NOT AS PROMISED: {result} {tally.failed[:1]}"
    return Outcome("races", kind, tally.times, result, tally.lost_rows, tally.torn_days)
