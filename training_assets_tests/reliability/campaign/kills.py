"""Processes that build days, killed at random moments; then a plain run over what they left.

A run that ends before its moment has come counts for nothing, and another one takes its place.
"""

import os
import random
import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil

from training_assets.engine import java_version, spark_session
from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.reliability.campaign.two_versions import (
    World,
    build,
    child,
    num_left,
    num_left_after_vacuum,
)
from training_assets_tests.support.s3 import S3Place, new_place, serving

# Kills by store, engine and signal for each one that is asked for.
_SHARES: Final = {
    ("local", "sail", signal.SIGKILL): 2.75,
    ("local", "sail", signal.SIGTERM): 0.5,
    ("local", "sail", signal.SIGINT): 0.5,
    ("local", "spark", signal.SIGKILL): 0.75,
    ("local", "spark", signal.SIGTERM): 0.25,
    ("local", "spark", signal.SIGINT): 0.25,
    ("s3", "sail", signal.SIGKILL): 3.5,
    ("s3", "sail", signal.SIGTERM): 0.75,
    ("s3", "sail", signal.SIGINT): 0.75,
}
_PLACES: Final = {"local": "local disk", "s3": "S3"}
_LONGEST_SECONDS: Final = 60.0
_TRIES: Final = 20
_MIN_JAVA: Final = 17
# Most of a run on a lake this small is waiting for processes to start and for disks to sync.
_AT_ONCE: Final = 2


@dataclass
class _Tally:
    """Of the kills of one kind; ``left`` counts files that the killed runs left."""

    times: int = 0
    struck: int = 0
    published: int = 0
    repaired: int = 0
    left: int = 0
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
    """200 kills for ``times`` 20: half of them on S3, and 25 on Spark."""
    rng = random.Random(seed)
    outcomes = []
    place = new_place()
    os.environ.update(place.environment)
    # Before the first child, which takes its environment from here.
    with (
        serving(place),
        spark_session("sail") as spark,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        world = World.make(scratch, spark)
        for (store, engine, how), share in _SHARES.items():
            if engine == "spark" and (java_version() or 0) < _MIN_JAVA:
                continue
            roots = [_roots(store, scratch / f"lake-{n}" / "lake", place) for n in range(_AT_ONCE)]
            if how == signal.SIGKILL:
                # As many at once as there will be kills at once.
                tried = pool.map(partial(_undisturbed_seconds, world, engine), roots)
                seconds = median(list(tried))
            seeds = [rng.random() for _ in range(max(1, round(share * times)))]
            strike = partial(_strike_all, world, spark, engine, how, seconds)
            struck = pool.map(strike, roots, [seeds[n::_AT_ONCE] for n in range(_AT_ONCE)])
            tally = _Tally.of([strike for part in struck for strike in part])
            outcomes.append(_outcome(store, engine, how, seconds, tally))
            print(outcomes[-1].kind, outcomes[-1].result, flush=True)
    return outcomes


def _roots(store: str, folder: Path, place: S3Place) -> Iterator[str]:
    """A place for a lake, again and again: always the same folder, always another URL."""
    while True:
        yield str(folder) if store == "local" else place.new_url()


def _undisturbed_seconds(world: World, engine: str, roots: Iterator[str]) -> float:
    """The shortest of three runs: the first one also starts what later ones find started."""
    found = []
    for _ in range(3):
        root = next(roots)
        world.copy(root)
        with child(root, engine) as (_, told):
            told.recv()
            started = time.monotonic()
            told.send("go")
            _, problems = told.recv()
            assert not problems, problems
            found.append(time.monotonic() - started)
    return min(found)


def _strike_all(
    world: World,
    spark: Any,
    engine: str,
    how: signal.Signals,
    longest: float,
    roots: Iterator[str],
    seeds: Sequence[float],
) -> list[_Tally]:
    return [
        _strike_once(world, roots, spark, engine, how, random.Random(seed), longest)
        for seed in seeds
    ]


def _strike_once(
    world: World,
    roots: Iterator[str],
    spark: Any,
    engine: str,
    how: signal.Signals,
    rng: random.Random,
    longest: float,
) -> _Tally:
    for _ in range(_TRIES):
        tally = _strike(world, next(roots), spark, engine, how, rng.uniform(0, longest))
        if tally.struck:
            return tally
    raise AssertionError(f"no run lasted until its moment came, in {_TRIES} tries")


def _strike(
    world: World, root: str, spark: Any, engine: str, how: signal.Signals, after: float
) -> _Tally:
    tally = _Tally(times=1)
    world.copy(root)
    log = world.between.parent / f"{secrets.token_hex(4)}.log"
    with child(root, engine, log=log) as (process, told):
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
            print(f"hung after {after:.2f} s:\n{log.read_text()}", flush=True)
            process.kill()
            process.join()
        tally.slowest = time.monotonic() - started
    # Spark and its workers go when they notice that their driver is gone; till then they may write.
    psutil.wait_procs(helpers, _LONGEST_SECONDS)
    tally.lost_rows, tally.torn_days = world.judge(root)
    tally.published = world.num_new(root)
    problems = [report.problem for report in build(spark, root) if report.problem]
    is_repaired = not problems and world.is_undisturbed(root)
    tally.left = num_left(root)
    is_clean = num_left_after_vacuum(root) == 0
    tally.repaired = int(is_repaired and is_clean and world.is_undisturbed(root))
    return tally


def _helpers(process: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(process).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _outcome(
    store: str, engine: str, how: signal.Signals, seconds: float, tally: _Tally
) -> Outcome:
    days = tally.times * 12
    result = (
        f"all struck before the end of a run, which takes {seconds:.1f} s; of {days} table "
        f"days {tally.published} were the new and the others the old one; ended "
        f"within {tally.slowest:.1f} s; the next run gave in {tally.repaired} of {tally.times} "
        f"cases exactly what an undisturbed one gives, and a vacuum removed the {tally.left} files "
        "that the newest version does not name"
    )
    if tally.hung:
        result = f"{tally.hung} hung for {_LONGEST_SECONDS:g} s; {result}"
    if tally.hung or tally.repaired < tally.times:
        result = f"NOT AS PROMISED: {result}"
    return Outcome(
        "kills",
        f"{how.name} on {engine}, {_PLACES[store]}, at a random moment",
        tally.times,
        result,
        tally.lost_rows,
        tally.torn_days,
    )
