"""A backfill from the UI: a real webserver and daemon, asked through GraphQL."""

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
import pytest

from training_assets.lake import Lake
from training_assets.sample.generate import SampleSpec, generate
from training_assets.tables import SPECS

# From the first raw day on: a day is not built while one of its look-back is missing.
DAYS = ["2024-02-25", "2024-02-26", "2024-02-27"]
# With the event stream, since the sample has one.
TABLES = ["interactions", "unified_actions", "customer_history", "training_input"]
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


class Server:
    def __init__(self, port: int, home: Path) -> None:
        self.port, self.home = port, home

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            body,
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]


def wait_for(what: Callable[[], Any], seconds: float) -> Any:
    """The first true answer; errors count as not yet."""
    end = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < end:
        try:
            if last := what():
                return last
        except OSError as error:
            last = error
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s: {last}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("ui")
    sizes = {"customers": 40, "items": 30, "interactions": 600, "days": 6}
    generate(home / "lake", SampleSpec(end_date=date(2024, 3, 1), seed=1, **sizes))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {k: v for k, v in os.environ.items() if not k.startswith("SPARK")}
    env |= {"TRAINING_ASSETS_LAKE": str(home / "lake"), "DAGSTER_HOME": str(home / "dagster")}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training_assets.cli", "ui", "--port", str(port)],
            env=env,
            cwd=Path(__file__).parents[2],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    started = Server(port, home)
    try:
        wait_for(lambda: started.ask("{ version }"), 90)
        yield started
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
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

        backfill = wait_for(finished, 150)
        assert backfill.status.value == "COMPLETED_SUCCESS", (server.home / "log").read_text()
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
