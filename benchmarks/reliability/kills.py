"""Processes that build days, killed at random moments; then a plain run over what they left."""

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil

from benchmarks.reliability.outcome import Outcome
from benchmarks.reliability.two_versions import World, build, child
from training_assets.engine import java_version, spark_session

# Kills by engine and signal for each one that is asked for.
_SHARES: Final = {
    ("sail", signal.SIGKILL): 5.0,
    ("sail", signal.SIGTERM): 1.25,
    ("sail", signal.SIGINT): 1.25,
    ("spark", signal.SIGKILL): 1.5,
    ("spark", signal.SIGTERM): 0.5,
    ("spark", signal.SIGINT): 0.5,
}
_LONGEST_SECONDS: Final = 60.0
_MIN_JAVA: Final = 17


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


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """150 kills on Sail and 50 on Spark for ``times`` 20."""
    rng = random.Random(seed)
    outcomes = []
    with spark_session("sail") as spark:
        world = World.make(scratch, spark)
        for engine in ("sail", "spark"):
            if engine == "spark" and (java_version() or 0) < _MIN_JAVA:
                continue
            seconds = median(_undisturbed_seconds(world, scratch, engine) for _ in range(3))
            for (of, how), share in _SHARES.items():
                if of == engine:
                    tally = _Tally()
                    for _ in range(max(1, round(share * times))):
                        after = rng.uniform(0, seconds)
                        _strike(world, scratch / "lake", spark, engine, how, after, tally)
                    outcomes.append(_outcome(engine, how, seconds, tally))
    return outcomes


def _undisturbed_seconds(world: World, scratch: Path, engine: str) -> float:
    root = world.copy(scratch / "lake")
    with child(root, engine) as (_, told):
        told.recv()
        started = time.monotonic()
        told.send("go")
        _, problems = told.recv()
        assert not problems, problems
        return time.monotonic() - started


def _strike(
    world: World,
    root: Path,
    spark: Any,
    engine: str,
    how: signal.Signals,
    after: float,
    tally: _Tally,
) -> None:
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
        tally.slowest = max(tally.slowest, time.monotonic() - started)
    # Spark and its workers go when they notice that their driver is gone; till then they may write.
    psutil.wait_procs(helpers, _LONGEST_SECONDS)
    lost, torn = world.judge(root)
    tally.times += 1
    tally.lost_rows += lost
    tally.torn_days += torn
    tally.published += sum(world.version_of(root, *key) == "b" for key in world.expected["b"])
    problems = [report.problem for report in build(spark, root) if report.problem]
    tally.repaired += not problems and world.is_undisturbed(root)


def _helpers(process: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(process).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _outcome(engine: str, how: signal.Signals, seconds: float, tally: _Tally) -> Outcome:
    days = tally.times * 12
    result = (
        f"{tally.struck} of {tally.times} struck before the end of a run of {seconds:.1f} s; of "
        f"{days} table days {tally.published} were the new and the others the old one; ended "
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
