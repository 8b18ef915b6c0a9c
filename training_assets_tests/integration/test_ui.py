"""The command that serves the UI: both servers start, say nothing of old commands, and end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from training_assets.cli import main

# What the servers serve does not matter here, and a location without assets loads fast.
_WORKSPACE = "load_from:\n  - python_file: nothing.py\n"
_HEALTH = "{instance {daemonHealth {allDaemonStatuses {daemonType healthy}}}}"
_DEADLINE_SECONDS = 90


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            if answer := found():
                return answer
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the servers did not answer in time")


def _ask(port: int, query: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["data"]


def _has_scheduler(port: int) -> bool:
    found = _ask(port, _HEALTH)["instance"]["daemonHealth"]["allDaemonStatuses"]
    return any(daemon["daemonType"] == "SCHEDULER" and daemon["healthy"] for daemon in found)


def test_webserver_and_daemon_start_and_end_together(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text(_WORKSPACE)
    (tmp_path / "nothing.py").write_text("import dagster as dg\n\ndefs = dg.Definitions()\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TRAINING_ASSETS", "DAGSTER"))}
    port, log = _free_port(), tmp_path / "log.txt"
    with log.open("wb") as output:
        ui = subprocess.Popen(
            [sys.executable, "-m", "training_assets.cli", "ui", "--port", str(port)],
            cwd=tmp_path,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _until(lambda: _has_scheduler(port))
        children = psutil.Process(ui.pid).children(recursive=True)
        ui.send_signal(signal.SIGTERM)
        assert ui.wait(_DEADLINE_SECONDS) == 0
        psutil.wait_procs(children, timeout=_DEADLINE_SECONDS)
        assert [child for child in children if child.is_running()] == []
    finally:
        ui.kill()
    printed = log.read_text()
    assert f"http://127.0.0.1:{port}" in printed
    assert "supersed" not in printed.lower()
    assert "Traceback" not in printed


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
