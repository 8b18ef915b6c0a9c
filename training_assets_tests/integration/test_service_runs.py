"""Runs asked of the service, at the real webserver and daemon of ``training-assets ui``."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from training_assets.lake import Lake
from training_assets_tests.support.kafka import free_port
from training_assets_tests.support.service import Served, serving
from training_assets_tests.support.shops import DAYS, write_shop

NAMES = ["items", "users", "interactions", "unified_actions"]
DEADLINE_SECONDS = 500
ENDED = ("SUCCESS", "FAILURE", "CANCELED")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("runs") / "lake")


@pytest.fixture(scope="module")
def served(lake: Path) -> Iterator[Served]:
    """The service of a lake whose Dagster runs beside it."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TRAINING_ASSETS", "DAGSTER"))}
    env |= {"TRAINING_ASSETS_LAKE": str(lake), "TRAINING_ASSETS_HISTORY_LENGTH": "20"}
    port = free_port()
    with (lake.parent / "ui.log").open("wb") as log:
        ui = subprocess.Popen(
            [sys.executable, "-m", "training_assets.cli", "ui", "--port", str(port)],
            cwd=lake.parent,
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with serving(lake=str(lake), dagster=f"http://127.0.0.1:{port}") as found:
            yield found
    finally:
        ui.send_signal(signal.SIGTERM)
        ui.wait(90)


def query(first: date, last: date, *names: str) -> dict[str, object]:
    return {"assets": names or NAMES, "start_date": str(first), "end_date": str(last)}


def test_days_are_built_on_demand(served: Served, lake: Path) -> None:
    client = served.client(scopes=["run"])
    deadline = time.monotonic() + DEADLINE_SECONDS
    # 503 until the webserver has loaded the definitions.
    while (sent := client.post("/api/runs", json=query(DAYS[0], DAYS[1]))).status_code == 503:
        assert int(sent.headers["Retry-After"]) >= 1
        assert time.monotonic() < deadline, (lake.parent / "ui.log").read_text()
        time.sleep(0.2)
    assert sent.status_code == 202, sent.text
    place = sent.headers["Location"]
    assert place == f"/api/runs/{sent.json()['run_id']}"
    while (state := client.get(place).json())["status"] not in ENDED:
        assert time.monotonic() < deadline, (lake.parent / "ui.log").read_text()
        time.sleep(0.2)
    assert state["status"] == "SUCCESS", (lake.parent / "ui.log").read_text()
    assert state["ended"] >= state["started"]
    for name in ("interactions", "unified_actions"):
        assert Lake.at(lake).days(name) == DAYS[:2]

    unknown = client.post("/api/runs", json=query(DAYS[0], DAYS[0], "no_such_table"))
    assert (unknown.status_code, unknown.json()["status"]) == (400, 400)
    strange = client.get("/api/runs/0f0e0d0c-0000-4000-8000-000000000000")
    assert strange.status_code == 404
