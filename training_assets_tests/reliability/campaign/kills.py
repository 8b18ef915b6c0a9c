"""Processes that build days, killed at random moments; then a plain run over what they left.

A run that ends before its moment has come counts for nothing, and another one takes its place.
"""

import os
import random
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil

from training_assets.engine import java_version, spark_session
from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.reliability.campaign.two_versions import World, build, child

# Kills by engine and signal for each one that is asked for.
_SHARES: Final = {
    ("sail", signal.SIGKILL): 6.25,
    ("sail", signal.SIGTERM): 1.25,
    ("sail", signal.SIGINT): 1.25,
    ("spark", signal.SIGKILL): 0.75,
    ("spark", signal.SIGTERM): 0.25,
    ("spark", signal.SIGINT): 0.25,
}
_LONGEST_SECONDS: Final = 60.0
_TRIES: Final = 20
_MIN_JAVA: Final = 17
# Most of a run on a lake this small is waiting for processes to start and for disks to sync.
_AT_ONCE: Final = 2


@dataclass
class _Tally:
    """Of the kills of one kind."""

    times: int = 0
    struck: int = 0
    published: int = 0
    repaired: int = 0
    lost_rows: int = 0
    torn_days: int = 0
    hung: int = 0
    slowest: float = 0.0

    @classmethod
    def of(cls, strikes: Sequence["_Tally"]) -> "_Tally":
        sums = {
            name: sum(getattr(strike, name) for strike in strikes)
            for name in cls.__dataclass_fields__
        }
        return cls(**{**sums, "slowest": max(strike.slowest for strike in strikes)})


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """175 kills on Sail and 25 on Spark for ``times`` 20."""
    rng = random.Random(seed)
    outcomes = []
    roots = [scratch / f"lake-{number}" / "lake" for number in range(_AT_ONCE)]
    with spark_session("sail") as spark, ThreadPoolExecutor(_AT_ONCE) as pool:
        world = World.make(scratch, spark)
        for engine in ("sail", "spark"):
            if engine == "spark" and (java_version() or 0) < _MIN_JAVA:
                continue
            # As many at once as there will be kills at once.
            tried = pool.map(lambda root, of=engine: _undisturbed_seconds(world, root, of), roots)
            seconds = median(list(tried))
            for (of, how), share in _SHARES.items():
                if of != engine:
                    continue
                seeds = [rng.random() for _ in range(max(1, round(share * times)))]
                struck = pool.map(
                    lambda root, part, of=engine, how=how, longest=seconds: [
                        _strike_once(world, root, spark, of, how, random.Random(one), longest)
                        for one in part
                    ],
                    roots,
                    [seeds[number::_AT_ONCE] for number in range(_AT_ONCE)],
                )
                tally = _Tally.of([strike for part in struck for strike in part])
                outcomes.append(_outcome(engine, how, seconds, tally))
                print(outcomes[-1].kind, outcomes[-1].result, flush=True)
    return outcomes


def _undisturbed_seconds(world: World, root: Path, engine: str) -> float:
    """The middle of three runs: the first one also starts what later ones find started."""
    found = []
    for _ in range(3):
        world.copy(root)
        with child(root, engine) as (_, told):
            told.recv()
            started = time.monotonic()
            told.send("go")
            _, problems = told.recv()
            assert not problems, problems
            found.append(time.monotonic() - started)
    return median(found)


def _strike_once(
    world: World,
    root: Path,
    spark: Any,
    engine: str,
    how: signal.Signals,
    rng: random.Random,
    longest: float,
) -> _Tally:
    for _ in range(_TRIES):
        tally = _strike(world, root, spark, engine, how, rng.uniform(0, longest))
        if tally.struck:
            return tally
    raise AssertionError(f"no run lasted until its moment came, in {_TRIES} tries")


def _strike(
    world: World, root: Path, spark: Any, engine: str, how: signal.Signals, after: float
) -> _Tally:
    tally = _Tally(times=1)
    world.copy(root)
    with child(root, engine) as (process, told):
        told.recv()
        told.send("go")
        time.sleep(after)
        helpers = _helpers(process.pid)
        if process.is_alive() and not told.poll():
            tally.struck += 1
            os.kill(process.pid, how)
        started = time.monotonic()
        process.join(_LONGEST_SECONDS)
        if process.is_alive():
            tally.hung += 1
            os.kill(process.pid, signal.SIGUSR1)
            time.sleep(1)
            process.kill()
            process.join()
        tally.slowest = time.monotonic() - started
    # Spark and its workers go when they notice that their driver is gone; till then they may write.
    psutil.wait_procs(helpers, _LONGEST_SECONDS)
    tally.lost_rows, tally.torn_days = world.judge(root)
    tally.published = sum(world.version_of(root, *key) == "b" for key in world.expected["b"])
    problems = [report.problem for report in build(spark, root) if report.problem]
    tally.repaired = int(not problems and world.is_undisturbed(root))
    return tally


def _helpers(process: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(process).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _outcome(engine: str, how: signal.Signals, seconds: float, tally: _Tally) -> Outcome:
    days = tally.times * 12
    result = (
        f"all struck before the end of a run, which takes {seconds:.1f} s; of {days} table "
        f"days {tally.published} were the new and the others the old one; ended "
        f"within {tally.slowest:.1f} s; the next run gave in {tally.repaired} of {tally.times} "
        "cases exactly what an undisturbed one gives, and left nothing in _staging"
    )
    if tally.hung:
        result = f"{tally.hung} hung for {_LONGEST_SECONDS:g} s; {result}"
    if tally.hung or tally.repaired < tally.times:
        result = f"NOT AS PROMISED: {result}"
    return Outcome(
        "kills",
        f"{how.name} on {engine} at a random moment",
        tally.times,
        result,
        tally.lost_rows,
        tally.torn_days,
    )
