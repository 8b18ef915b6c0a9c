"""Two runs at once over one lake, with a reader that looks on all the time."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from training_assets.engine import spark_session
from training_assets.errors import DayNotPublishedError
from training_assets.lake import MANIFEST, Lake
from training_assets.loader import TrainingDays
from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.reliability.campaign.two_versions import (
    DAYS,
    KEYS,
    World,
    build,
    child,
    rows_of,
)

_SECONDS: Final = 300.0
_PAUSE_SECONDS: Final = 0.1
_HOST: Final = "another-host"
_RACES: Final[dict[str, tuple[Sequence[date], Sequence[date], str]]] = {
    "two runs over the same days": (DAYS, DAYS, ""),
    "two runs over overlapping days": (DAYS[:3], DAYS[1:], ""),
    "two runs over disjoint days": (DAYS[:2], DAYS[2:], ""),
    "two runs over the same days, one on another host": (DAYS, DAYS, _HOST),
}


@dataclass
class _Tally:
    """Of the races of one kind; ``seen`` counts what the reader looked at."""

    times: int = 0
    waited: int = 0
    failed: list[str] = field(default_factory=list)
    unlike: int = 0
    seen: int = 0
    lost_rows: int = 0
    torn_days: int = 0


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """A quarter of ``times`` races of each of the kinds; none is drawn at random."""
    del seed
    outcomes = []
    with spark_session("sail") as spark:
        world = World.make(scratch, spark)
        # Where one run builds days that only the other looks back to, a history may rightly be of
        # neither version, unless their actions are the same.
        calm = World.make(scratch, spark, same_actions=True)
        number = max(1, times // 4)
        for kind, (one, other, host) in _RACES.items():
            tally = _Tally()
            for _ in range(number):
                of = world if one == other else calm
                _race(of, scratch / "lake", one, other, host, tally)
                _settle(of, scratch / "lake", spark, tally)
            outcomes.append(_outcome(kind, tally, must_wait=bool(set(one) & set(other))))
        outcomes.append(_read_meanwhile(world, scratch / "lake", spark, number))
    return outcomes


def _race(
    world: World,
    root: Path,
    one: Sequence[date],
    other: Sequence[date],
    host: str,
    tally: _Tally,
) -> None:
    world.copy(root)
    with ExitStack() as stack:
        runs = [
            stack.enter_context(child(root, "sail", one)),
            stack.enter_context(child(root, "sail", other, host)),
        ]
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
    said = [line for lines, _ in answers for line in lines if line.startswith("waiting for")]
    tally.waited += bool(said)
    tally.failed += [problem for _, problems in answers for problem in problems]


def _look(world: World, root: Path, tally: _Tally) -> None:
    """Read every day as it is published now; one that was exchanged meanwhile is read again."""
    for table, day in KEYS:
        manifest = Lake(root).day_path(table, day) / MANIFEST
        while True:
            before = manifest.stat().st_ino
            try:
                rows = rows_of(manifest.parent, table)
            except FileNotFoundError:
                continue
            if manifest.stat().st_ino == before:
                break
        tally.seen += 1
        if rows not in (world.expected["a"][table, day], world.expected["b"][table, day]):
            tally.torn_days += 1


def _settle(world: World, root: Path, spark: Any, tally: _Tally) -> None:
    lost, torn = world.judge(root)
    tally.lost_rows += lost
    tally.torn_days += torn
    tally.unlike += not world.is_undisturbed(root)
    build(spark, root)
    tally.unlike += not world.is_undisturbed(root)


def _outcome(kind: str, tally: _Tally, *, must_wait: bool) -> Outcome:
    waited = f"one waited for the other in {tally.waited}, and said for whom"
    result = (
        f"{2 * tally.times} runs, {len(tally.failed)} problems; "
        f"{waited if must_wait else f'neither waited in {tally.times - tally.waited}'}; "
        f"{tally.seen} days were read meanwhile, each old or new; in {tally.times - tally.unlike} "
        f"of {tally.times} cases the lake was in the end as after one undisturbed run"
    )
    is_odd = tally.waited < tally.times if must_wait else tally.waited > 0
    if tally.failed or tally.unlike or is_odd:
        result = f"NOT AS PROMISED: {result} {tally.failed[:1]}"
    return Outcome("races", kind, tally.times, result, tally.lost_rows, tally.torn_days)


def _read_meanwhile(world: World, root: Path, spark: Any, times: int) -> Outcome:
    """Loaders opened and read while runs publish the days anew."""
    whole = [_labels_by_day(world.copy(root))]
    build(spark, root)
    whole.append(_labels_by_day(root))
    found = {"old": 0, "new": 0, "an error that says so": 0}
    torn = 0
    for _ in range(times):
        world.copy(root)
        run = threading.Thread(target=build, args=(spark, root))
        run.start()
        is_last = False
        # Once more when it has ended, so that both are seen however short the run is.
        while not is_last:
            is_last = not run.is_alive()
            try:
                read = _labels_by_day(root)
            except DayNotPublishedError:
                found["an error that says so"] += 1
                time.sleep(_PAUSE_SECONDS)
                continue
            for day, labels in read.items():
                found["old"] += labels == whole[0][day]
                found["new"] += labels == whole[1][day]
                torn += labels not in (whole[0][day], whole[1][day])
        run.join()
    seen = ", ".join(f"{count} {name}" for name, count in found.items())
    result = f"days read by a loader: {seen}; a day is never a mixture"
    return Outcome("races", "a loader reads while a run publishes", times, result, 0, torn)


def _labels_by_day(root: Path) -> dict[date, list[list[float]]]:
    """What a model would be given of each day: items, labels and histories, in one order."""
    found = {}
    for day in DAYS:
        batches = list(TrainingDays(root, batch_size=64, days=[day], shuffle="none"))
        rows = [
            [float(item), float(label), *actions.tolist(), *types.tolist()]
            for batch in batches
            for item, label, actions, types in zip(
                batch.impressions, batch.labels, batch.actions, batch.action_types, strict=True
            )
        ]
        found[day] = sorted(rows)
    return found
