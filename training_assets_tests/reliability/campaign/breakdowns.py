"""What a run stands on gives way: its disk is full or read-only, its store fails, its engine dies.

The disks are file systems in memory of their own, which only root may mount; elsewhere these kinds
are left out, and a line says so.
"""

import itertools
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from training_assets.engine import java_version, spark_session
from training_assets.errors import TrainingAssetsError
from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.reliability.campaign.two_versions import KEYS, World, build, child
from training_assets_tests.support.faulty_network import Fault, Rule, faulty_network
from training_assets_tests.support.s3 import S3Place, new_place, serving

_DISK_BYTES: Final = 64 * 1024**2
_BLOCK_BYTES: Final = 4096
_SERVER_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 180.0
_MIN_JAVA: Final = 17
_UNCAUGHT: Final = "uncaught"
_FOLLOWS: Final = "was not built, because its customer_history failed."
_DIED: Final = "engine: it died or cannot be reached any more"


@dataclass
class _Tally:
    """Of the breakdowns of one kind."""

    times: int = 0
    struck: int = 0
    clear: int = 0
    published: int = 0
    repaired: int = 0
    lost_rows: int = 0
    torn_days: int = 0
    slowest: float = 0.0
    odd: list[str] = field(default_factory=list)

    def judge(self, world: World, root: str, problems: list[str], says: str) -> None:
        """What the run said, and what it left; before another run repairs it."""
        # Of a day that another one's failure has stopped, that one says why.
        first = [problem for problem in problems if not problem.endswith(_FOLLOWS)]
        problems = first or problems
        self.times += 1
        self.struck += bool(problems)
        unclear = [p for p in problems if says not in p or _UNCAUGHT in p]
        self.clear += bool(problems) and not unclear
        self.odd += unclear[:1]
        lost, torn = world.judge(root)
        self.lost_rows += lost
        self.torn_days += torn
        new = world.num_new(root)
        self.published += new
        if not problems and new < len(KEYS):
            self.odd.append("the run said nothing, and days are not published")

    def repair(self, world: World, root: str, spark: Any) -> None:
        problems = [report.problem for report in build(spark, root) if report.problem]
        self.repaired += not problems and world.is_undisturbed(root)


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """Half of ``times`` breakdowns of each kind of disk, a quarter of each store and engine."""
    rng = random.Random(seed)
    place = new_place()
    os.environ.update(place.environment)
    with serving(place), spark_session("sail") as spark:
        world = World.make(scratch, spark)
        outcomes = _run_stores(world, place, spark, rng, max(1, times // 4))
        return outcomes + _run(world, scratch, spark, rng, max(1, times // 2))


def _run(world: World, scratch: Path, spark: Any, rng: random.Random, times: int) -> list[Outcome]:
    outcomes: list[Outcome] = []
    if _can_mount(scratch):
        for kind, act in _DISKS.items():
            tally = _Tally()
            for _ in range(times):
                with _disk(scratch / "disk") as disk:
                    act(world, disk, spark, rng, tally)
            outcomes.append(_outcome(kind, tally))
            print(kind, outcomes[-1].result, flush=True)
    else:
        print("NOT TRIED: full disk and read-only lake; only root can mount a file system")
    some = max(1, times // 2)
    strikes = {"a Spark Connect server": _kill_server}
    if (java_version() or 0) >= _MIN_JAVA:
        strikes["the Java of Spark"] = _kill_java
    for name, strike in strikes.items():
        seconds = strike(world, str(scratch / "lake"), spark, None, _Tally())
        tally = _Tally()
        for _ in range(some):
            after = rng.uniform(0, seconds)
            strike(world, str(scratch / "lake"), spark, after, tally)
        outcomes.append(_outcome(f"{name} killed under a run at a random moment", tally))
        print(outcomes[-1].kind, outcomes[-1].result, flush=True)
    return outcomes


def _can_mount(scratch: Path) -> bool:
    try:
        with _disk(scratch / "disk"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def _disk(path: Path) -> Iterator[Path]:
    path.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", path)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _problems(root: str, spark: Any) -> list[str]:
    """Whatever a user would be told; other exceptions than ours are told by their type."""
    try:
        return [report.problem for report in build(spark, root) if report.problem]
    except TrainingAssetsError as error:
        return [str(error)]
    except Exception as error:
        return [f"{_UNCAUGHT}: {type(error).__name__}"]


def _fill(world: World, disk: Path, spark: Any, rng: random.Random, tally: _Tally) -> None:
    """Room for a random part of what the run will write."""
    root = str(disk / "lake")
    world.copy(root)
    tables = [path for path in (disk / "lake").iterdir() if path.name != "raw"]
    files = [path for table in tables for path in table.rglob("*") if path.is_file()]
    needed = sum(-(-path.stat().st_size // _BLOCK_BYTES) * _BLOCK_BYTES for path in files)
    room = rng.randrange(needed)
    space = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - room)))
    started = time.monotonic()
    problems = _problems(root, spark)
    tally.slowest = max(tally.slowest, time.monotonic() - started)
    tally.judge(world, root, problems, "No space left on device")
    filler.unlink()
    tally.repair(world, root, spark)


def _fix(world: World, disk: Path, spark: Any, rng: random.Random, tally: _Tally) -> None:
    """Without a word to the run, which is in the middle of something."""
    root = str(disk / "lake")
    world.copy(root)
    started = time.monotonic()
    build(spark, root)
    seconds = time.monotonic() - started
    world.copy(root)
    ended, laid_over = threading.Event(), threading.Event()

    def strike() -> None:
        if not ended.wait(rng.uniform(0, seconds)):
            laid_over.set()
            # Laid over the lake: the file system itself cannot change while files are written.
            _mount("--bind", root, root)
            _mount("-o", "remount,bind,ro", root)

    thread = threading.Thread(target=strike)
    thread.start()
    started = time.monotonic()
    problems = _problems(root, spark)
    tally.slowest = max(tally.slowest, time.monotonic() - started)
    ended.set()
    thread.join()
    tally.judge(world, root, problems, "Read-only file system")
    if laid_over.is_set():
        subprocess.run(["umount", "--lazy", str(root)], check=True)
    tally.repair(world, root, spark)


def _run_stores(
    world: World, place: S3Place, spark: Any, rng: random.Random, times: int
) -> list[Outcome]:
    outcomes = []
    for kind, (fault, says) in _STORES.items():
        tally = _Tally()
        for _ in range(times):
            _fail_store(world, place, spark, fault, rng.randrange(_MAX_REQUESTS), says, tally)
        outcomes.append(_outcome(kind, tally))
        print(kind, outcomes[-1].result, flush=True)
    return outcomes


def _fail_store(
    world: World, place: S3Place, spark: Any, fault: Fault, after: int, says: str, tally: _Tally
) -> None:
    """From that request on, whatever the engine or this process asks of the store fails.

    A process keeps its connections, so it goes through the proxy from its first request on: a
    child of its own.
    """
    root = place.new_url()
    world.copy(root)
    with _through(place, _failing(fault, after)), child(root, "sail") as (_, told):
        told.recv()
        started = time.monotonic()
        told.send("go")
        problems = _told(told)
        tally.slowest = max(tally.slowest, time.monotonic() - started)
    tally.judge(world, root, problems, says)
    tally.repair(world, root, spark)


@contextmanager
def _through(place: S3Place, rule: Rule) -> Iterator[None]:
    with faulty_network(place.port, rule) as url:
        os.environ["AWS_ENDPOINT_URL"] = url
        try:
            yield
        finally:
            os.environ.update(place.environment)


def _failing(fault: Fault, after: int) -> Rule:
    seen = itertools.count()

    def rule(method: str, path: str, headers: Mapping[str, str]) -> Fault:
        is_late = next(seen) >= after
        if is_late and fault is None:
            time.sleep(_SLOW_SECONDS)
        return fault if is_late else None

    return rule


# More than a run of this size makes.
_MAX_REQUESTS: Final = 300
_SLOW_SECONDS: Final = 0.1
_STORES: Final[dict[str, tuple[Fault, str]]] = {
    "the S3 server refuses all keys from a random request on": (403, ""),
    "the S3 server cannot be reached from a random request on": ("refused", ""),
    "the S3 server answers with an error from a random request on": (503, ""),
    "the S3 server is slow from a random request on": (None, ""),
}
_DISKS: Final = {
    "the disk of the lake is full at a random moment": _fill,
    "the lake becomes read-only at a random moment": _fix,
}


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


@contextmanager
def _server() -> Iterator[tuple[str, Callable[[], None]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pysail", "spark", "server", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _SERVER_SECONDS
        while time.monotonic() < end:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"sc://127.0.0.1:{port}", process.kill
    finally:
        process.kill()
        process.wait()


def _kill_server(world: World, root: str, spark: Any, after: float | None, tally: _Tally) -> float:
    """Kill after so many seconds, or never; returns how long the run took."""
    world.copy(root)
    with _server() as (endpoint, kill), spark_session("remote", remote=endpoint) as remote:
        timer = threading.Timer(after or 0, kill)
        started = time.monotonic()
        if after is not None:
            timer.start()
        problems = _problems(root, remote)
        seconds = time.monotonic() - started
        timer.cancel()
    _settle(world, root, spark, problems, seconds, tally)
    return seconds


def _kill_java(world: World, root: str, spark: Any, after: float | None, tally: _Tally) -> float:
    world.copy(root)
    with child(root, "spark") as (process, told):
        told.recv()
        helpers = psutil.Process(process.pid).children(recursive=True)
        told.send("go")
        started = time.monotonic()
        if after is not None and not told.poll(after):
            for helper in helpers:
                if "java" in helper.name():
                    helper.kill()
        problems = _told(told)
        seconds = time.monotonic() - started
    # What Spark's own workers still write has a name that no version knows.
    psutil.wait_procs(helpers, _LONGEST_SECONDS)
    _settle(world, root, spark, problems, seconds, tally)
    return seconds


def _told(told: Any) -> list[str]:
    """The problems that a child tells, or that it tells none."""
    if not told.poll(_LONGEST_SECONDS):
        return [f"{_UNCAUGHT}: it hung for {_LONGEST_SECONDS:g} s"]
    try:
        return list(told.recv()[1])
    except EOFError:
        return [f"{_UNCAUGHT}: it ended without a word"]


def _settle(
    world: World, root: str, spark: Any, problems: list[str], seconds: float, tally: _Tally
) -> None:
    tally.slowest = max(tally.slowest, seconds)
    tally.judge(world, root, problems, _DIED)
    tally.repair(world, root, spark)


def _outcome(kind: str, tally: _Tally) -> Outcome:
    said = Counter(tally.odd).most_common(1)
    result = (
        f"{tally.struck} of {tally.times} runs could not end as they should, and {tally.clear} of "
        f"them said why; of {tally.times * len(KEYS)} table days {tally.published} were the new "
        f"and the others the old one; ended within {tally.slowest:.1f} s; the next run gave in "
        f"{tally.repaired} of {tally.times} cases exactly what an undisturbed one gives"
    )
    if said or tally.clear < tally.struck or tally.repaired < tally.times:
        result = f"NOT AS PROMISED: {result} {[text[:300] for text, _ in said]}"
    return Outcome("breakdowns", kind, tally.times, result, tally.lost_rows, tally.torn_days)
