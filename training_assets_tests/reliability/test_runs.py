"""Runs that are interrupted, killed, overtaken by others, or left by their engine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from training_assets.cli.process_locks import Locks
from training_assets.engine import spark_session
from training_assets.errors import EngineError
from training_assets.lake import Lake, day_range
from training_assets.pipeline import DayReport, build_days
from training_assets.schemas import CUSTOMER_HISTORY, UNIFIED_ACTIONS
from training_assets.settings import Settings
from training_assets_tests.support.commands import invoke
from training_assets_tests.support.frames import DAY, at, before, click, order, ranking
from training_assets_tests.support.lakes import write_raw_lake
from training_assets_tests.support.tables import SEQUENCE

pytestmark = pytest.mark.parametrize("engine", ["sail"], indirect=True)
DAYS = day_range(before(2), DAY)
ALL = list(SEQUENCE.values())


def put_raw(root: Path, item: int = 5) -> Path:
    actions = [click(customer, item, day, at(day)) for day in DAYS for customer in (1, 2)]
    orders = [order(1, 7, before(1), None)]
    rankings = [ranking(customer, [5, 6], day) for day in DAYS for customer in (1, 2)]
    return write_raw_lake(
        root, rankings, [*actions, *orders], impression_days=DAYS, action_days=DAYS
    )


def build(
    spark: SparkSession,
    root: Path,
    specs: Any = ALL,
    days: Any = DAYS,
    step: Callable[[str], None] = lambda name: None,
    progress: Callable[[str], None] = lambda message: None,
) -> Iterator[DayReport]:
    return build_days(spark, Lake.at(root), Settings(lake=str(root)), specs, days, progress, step)


def data(root: Path) -> dict[tuple[str, Any], str]:
    """Hashes of the bytes of all published days."""
    lake = Lake.at(root)
    return {(t, day): lake.snapshot(t).content(day) for t in SEQUENCE for day in lake.days(t)}


def test_an_abandoned_build_blocks_nothing(spark: SparkSession, root: Path) -> None:
    put_raw(root)
    reports = build(spark, root)
    next(reports)
    assert all(r.problem is None for r in build(spark, root, days=[DAY]))
    del reports
    assert Lake.at(root).days(UNIFIED_ACTIONS.name) == DAYS


def test_a_run_that_is_overtaken_builds_from_what_is_published_now(
    spark: SparkSession, root: Path
) -> None:
    """Another run publishes other actions of an earlier day just after histories were written."""
    lake, other = put_raw(root / "lake"), put_raw(root / "other")
    for day in DAYS[:2]:
        list(build(spark, lake, days=[day]))
    put_raw(lake, item=9)
    put_raw(other, item=9)
    list(build(spark, other))
    steps: list[str] = []

    def overtaken(step: str) -> None:
        steps.append(step)
        if steps.count("write") == 2 and steps[-2:] == ["write", "checks"]:
            list(build(spark, lake, [SEQUENCE[UNIFIED_ACTIONS.name]], DAYS[:2]))

    said: list[str] = []
    reports = list(build(spark, lake, ALL, [DAY], overtaken, said.append))
    assert [report.problem for report in reports] == [None] * 3
    # Histories were written twice.
    assert steps.count("write") == 4
    sentence = "customer_history: another run published what 1 of the days are built from"
    assert [line.startswith(sentence) for line in said].count(True) == 1
    list(build(spark, lake))
    assert data(lake) == data(other)


@contextmanager
def server() -> Iterator[tuple[str, Callable[[], None]]]:
    """A Spark Connect server in a process of its own, and how to kill it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pysail", "spark", "server", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"sc://127.0.0.1:{port}", process.kill
    finally:
        process.kill()
        process.wait()


@pytest.mark.filterwarnings("ignore:.*RETRIES_EXCEEDED")
def test_an_engine_that_dies_ends_the_run_at_once_and_says_so(
    spark: SparkSession, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_raw(root)
    monkeypatch.setattr("training_assets.engine.session._MAX_RETRIES", 1)
    # As long a server that is gone is waited for, once nothing else is tried.
    monkeypatch.setattr("training_assets.engine.health._ANSWER_SECONDS", 1)
    with server() as (endpoint, kill), spark_session("remote", remote=endpoint) as remote:
        reports = build(remote, root)
        found = [next(reports) for _ in DAYS]
        kill()
        started = time.monotonic()
        with pytest.raises(EngineError, match="engine: it died or cannot be reached any more"):
            list(reports)
        assert time.monotonic() - started < 30
    assert [report.problem for report in found] == [None] * 3
    assert Lake.at(root).days(UNIFIED_ACTIONS.name) == DAYS
    assert Lake.at(root).days(CUSTOMER_HISTORY.name) == []
    assert all(report.problem is None for report in build(spark, root))


def command(home: Path, *arguments: str) -> subprocess.Popen[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TRAINING_ASSETS", "DAGSTER"))}
    for name in ("SPARK_CONNECT_MODE_ENABLED", "SPARK_REMOTE"):
        env.pop(name, None)
    return subprocess.Popen(
        [sys.executable, "-m", "training_assets.cli", "run", *arguments],
        env=env | {"TRAINING_ASSETS_LAKE": str(home / "lake")},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stopped_by(home: Path, how: signal.Signals) -> tuple[int, float, str]:
    """Exit code, seconds until it ended, and what it said, of a run stopped in its middle."""
    process = command(home, "--start-date", str(DAYS[0]), "--end-date", str(DAY), "--force")
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "unified_actions: 3 of 3 days published" in line:
            break
    process.send_signal(how)
    started = time.monotonic()
    said.append(process.communicate(timeout=60)[0])
    return process.returncode, time.monotonic() - started, "".join(said)


def statuses(home: Path) -> list[str]:
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return [run.status.value for run in instance.get_runs()]


def test_runs_that_were_stopped_are_ended_and_block_nothing(
    spark: SparkSession, root: Path
) -> None:
    put_raw(root / "lake")
    killed, _, _ = stopped_by(root, signal.SIGKILL)
    assert killed == -signal.SIGKILL
    assert statuses(root) == ["STARTED"]
    code, seconds, said = stopped_by(root, signal.SIGTERM)
    assert (code, "Aborted!" in said) == (1, True)
    assert seconds < 20
    assert statuses(root) == ["FAILURE", "FAILURE"]
    assert not Lake.at(root / "lake").days("training_input")
    place = {"TRAINING_ASSETS_LAKE": str(root / "lake"), "DAGSTER_HOME": str(root / "dagster")}
    last = invoke("run", "--start-date", str(DAYS[0]), "--end-date", str(DAY), **place)
    assert last.exit_code == 0, last.output
    assert statuses(root) == ["SUCCESS", "FAILURE", "FAILURE"]


def test_runs_of_living_processes_and_of_others_are_not_ended(
    spark: SparkSession, root: Path
) -> None:
    from training_assets.cli.run_guard import _TAG, own_run

    @dg.job
    def nothing() -> None:
        pass

    with dg.DagsterInstance.ephemeral() as instance:

        def started(tag: str) -> str:
            run = instance.create_run_for_job(
                nothing, tags={_TAG: tag}, status=dg.DagsterRunStatus.STARTED
            )
            return run.run_id

        held = Locks.of_processes(root).try_hold(7)
        assert held is not None
        living, dead, others = started("7"), started("8"), started("not one of ours")
        with held, own_run(instance, root) as tags:
            own = started(tags[_TAG])
            found = {run.run_id: run.status.value for run in instance.get_runs()}
            assert found == {
                living: "STARTED",
                dead: "FAILURE",
                others: "STARTED",
                own: "STARTED",
            }
        # One that this process left open is ended with it.
        ended = instance.get_run_by_id(own)
        assert ended is not None
        assert ended.status.value == "FAILURE"
