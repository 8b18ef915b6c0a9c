"""Dagster's UI as the command serves it: a real webserver and daemon, asked through GraphQL.

A backfill of it, a run that the service is asked for, and its end; one after another on one server.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from click.testing import CliRunner

from training_assets.cli import main
from training_assets.lake import Lake
from training_assets.sample.generate import SampleSpec, generate
from training_assets.tables import SPECS
from training_assets_tests.support.service import serving

# From the first raw day on: a day is not built while one of its look-back is missing.
DAYS = ["2024-02-25", "2024-02-26", "2024-02-27"]
# With the event stream, since the sample has one.
TABLES = ["interactions", "unified_actions", "customer_history", "training_input"]
# Asked of the service, after these.
NEXT_DAY = "2024-02-28"
DEADLINE_SECONDS = 300
LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""

SHOWN = """
query ($key: AssetKeyInput!, $days: [String!]!, $check: String!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetMaterializations(partitions: $days) {
        partition
        metadataEntries { label ... on IntMetadataEntry { intValue } }
      }
      assetPartitionStatuses {
        ... on TimePartitionStatuses { ranges { status startKey endKey } }
      }
    }
  }
  assetCheckExecutions(assetKey: $key, checkName: $check, limit: 100) {
    partition status evaluation { metadataEntries { label } }
  }
}"""


# Else the daemon looks for backfills twice a minute, and for queued runs each five seconds.
QUICK_DAEMON = """
import sys
if "dagster._daemon" in sys.orig_argv:
    from dagster._core.run_coordinator import QueuedRunCoordinator
    from dagster._daemon import controller
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
    QueuedRunCoordinator.dequeue_interval_seconds = 1
"""
HEALTH = "{instance {daemonHealth {allDaemonStatuses {daemonType healthy}}}}"


class Server:
    def __init__(self, port: int, home: Path, process: subprocess.Popen[bytes]) -> None:
        self.port, self.home, self.process = port, home, process

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            body,
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]


def wait_for(what: Callable[[], Any]) -> Any:
    """The first true answer; errors count as not yet."""
    end = time.monotonic() + DEADLINE_SECONDS
    last: Any = None
    while time.monotonic() < end:
        try:
            if last := what():
                return last
        except OSError as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"not within {DEADLINE_SECONDS} s: {last}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("ui")
    sizes = {"customers": 40, "items": 30, "interactions": 600, "days": 6}
    generate(home / "lake", SampleSpec(end_date=date(2024, 3, 1), seed=1, **sizes))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hidden = ("SPARK", "TRAINING_ASSETS", "DAGSTER")
    env = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    env |= {"TRAINING_ASSETS_LAKE": str(home / "lake"), "DAGSTER_HOME": str(home / "dagster")}
    (home / "quick").mkdir()
    (home / "quick" / "sitecustomize.py").write_text(QUICK_DAEMON)
    env["PYTHONPATH"] = f"{home / 'quick'}{os.pathsep}{env.get('PYTHONPATH', '')}"
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training_assets.cli", "ui", "--port", str(port)],
            env=env,
            cwd=home,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    started = Server(port, home, process)
    try:
        wait_for(lambda: started.ask("{ version }"))
        yield started
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_backfill_of_three_days_builds_exactly_those_in_one_run(server: Server) -> None:
    launched = server.ask(
        LAUNCH,
        params={
            "assetSelection": [{"path": [name]} for name in TABLES],
            "partitionNames": DAYS,
        },
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    with dg.DagsterInstance.from_config(str(server.home / "dagster")) as instance:

        def finished() -> Any:
            backfill = instance.get_backfill(launched["backfillId"])
            return backfill if backfill and backfill.status.value.startswith("COMPLETED") else None

        backfill = wait_for(finished)
        assert backfill.status.value == "COMPLETED_SUCCESS", server.log
        runs = instance.get_runs()
        assert [run.status.value for run in runs] == ["SUCCESS"]
        lake = Lake.at(server.home / "lake")
        for name in TABLES:
            assert instance.get_materialized_partitions(dg.AssetKey(name)) == set(DAYS)
            assert [str(day) for day in lake.days(name)] == DAYS
            for check in (check.name for check in SPECS[name].checks):
                days_are_shown(server, lake, name, check)


def days_are_shown(server: Server, lake: Lake, table: str, check: str) -> None:
    """The UI has each day's partition, its figures and the outcome of its check."""
    shown = server.ask(SHOWN, key={"path": [table]}, days=DAYS, check=check)
    node = shown["assetNodeOrError"]
    rows = {
        event["partition"]: entry["intValue"]
        for event in node["assetMaterializations"]
        for entry in event["metadataEntries"]
        if entry["label"] == "rows"
    }
    assert rows == {str(d): lake.manifest(table, d)["rows"] for d in map(date.fromisoformat, DAYS)}
    ranges = node["assetPartitionStatuses"]["ranges"]
    assert ranges == [{"status": "MATERIALIZED", "startKey": DAYS[0], "endKey": DAYS[-1]}]
    evaluated = [found for found in shown["assetCheckExecutions"] if found["partition"]]
    assert sorted(found["partition"] for found in evaluated) == DAYS
    assert {found["status"] for found in evaluated} <= {"SUCCEEDED", "FAILED"}
    assert all(found["evaluation"]["metadataEntries"] for found in evaluated)


def test_days_that_the_service_is_asked_for_are_built(server: Server) -> None:
    lake, place = server.home / "lake", f"http://127.0.0.1:{server.port}"
    asked = {"assets": TABLES[:2], "start_date": NEXT_DAY, "end_date": NEXT_DAY}
    with serving(lake=str(lake), dagster=place) as served:
        client = served.client(scopes=["run"])
        sent = client.post("/api/runs", json=asked)
        assert sent.status_code == 202, sent.text
        run = sent.headers["Location"]
        assert run == f"/api/runs/{sent.json()['run_id']}"
        ended = ("SUCCESS", "FAILURE", "CANCELED")
        state = wait_for(lambda: (now := client.get(run).json())["status"] in ended and now)
        assert state["status"] == "SUCCESS", server.log
        assert state["ended"] >= state["started"]
        for name in TABLES[:2]:
            assert [str(day) for day in Lake.at(lake).days(name)] == [*DAYS, NEXT_DAY]

        unknown = client.post("/api/runs", json={**asked, "assets": ["no_such_table"]})
        assert (unknown.status_code, unknown.json()["status"]) == (400, 400)
        strange = client.get("/api/runs/0f0e0d0c-0000-4000-8000-000000000000")
        assert strange.status_code == 404


def test_webserver_and_daemon_end_together_and_said_nothing_of_old_commands(
    server: Server,
) -> None:
    statuses = server.ask(HEALTH)["instance"]["daemonHealth"]["allDaemonStatuses"]
    assert {"daemonType": "SCHEDULER", "healthy": True} in statuses
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert children
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(DEADLINE_SECONDS) == 0
    psutil.wait_procs(children, timeout=DEADLINE_SECONDS)
    assert [child for child in children if child.is_running()] == []
    assert f"http://127.0.0.1:{server.port}" in server.log
    assert "supersed" not in server.log.lower()
    assert "Traceback" not in server.log


def test_a_port_that_is_taken_ends_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = CliRunner().invoke(main, ["ui", "--port", str(port)])
    assert done.exit_code == 1
    assert f"ui: port {port} of 127.0.0.1 cannot be had" in done.output
    # Before any server starts: two that made the same database would leave two versions in it.
    made = sorted(str(path.relative_to(tmp_path / "dagster")) for path in tmp_path.rglob("*.db"))
    assert made == ["history/runs.db", "history/runs/index.db", "schedules/schedules.db"]
