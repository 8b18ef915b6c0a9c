"""What many small days cost in Dagster: as a run of the command line, or as a backfill of the UI.

    python benchmarks/small_days.py --scratch /tmp/bench --days 123 --through cli ui
    python benchmarks/small_days.py --scratch /tmp/bench --days 365 --through cli
    python benchmarks/small_days.py --scratch /tmp/bench --days 5 --through ui --repeats 1

Generates raw impressions, clicks, add-to-carts and orders of so many days (200 rows each, about),
and builds unified_actions, customer_history and training_input of all of them with all checks, in
an instance of its own.

cli   ``training-assets run --force`` from the command to its end
ui    webserver and daemon on 127.0.0.1; a backfill is asked for through GraphQL, as the UI does;
      seconds from the request to the backfill's end

Every day must have its partition and every check its outcome, or the exit code is 1. Writes
results/small_days.json with every run.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from compare_scripts import RESULTS

LAST = date(2026, 11, 19)
TABLES = ("unified_actions", "customer_history", "training_input")
PATIENCE_SECONDS = 900
_LAUNCH = """mutation($params: LaunchBackfillParams!) {launchPartitionBackfill(
backfillParams: $params) {__typename ... on LaunchBackfillSuccess {backfillId}
... on PythonError {message}}}"""
_STATUS = """query($id: String!) {partitionBackfillOrError(backfillId: $id) {
... on PartitionBackfill {status}}}"""
_ASSETS = """query($key: AssetKeyInput!) {assetNodeOrError(assetKey: $key) {... on AssetNode {
partitionStats {numMaterialized} assetChecksOrError {... on AssetChecks {checks {name
executionForLatestMaterialization {status}}}}}}}"""


def generate(root: Path, days: int) -> None:
    from training_assets.sample.generate import SampleSpec
    from training_assets.sample.generate import generate as write

    spec = SampleSpec(
        customers=400, items=300, interactions=80 * days, days=days, end_date=LAST, seed=1
    )
    write(root, spec, with_stream=False)


def environment(root: Path) -> dict[str, str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith(("TRAINING", "DAGSTER"))}
    return {**own, "TRAINING_ASSETS_LAKE": str(root / "lake"), "DAGSTER_HOME": str(root / "home")}


def through_cli(root: Path, days: list[date]) -> dict[str, Any]:
    command = [sys.executable, "-m", "training_assets.cli", "run", "--force"]
    command += ["--start-date", str(days[0]), "--end-date", str(days[-1])]
    started = time.monotonic()
    with (root / "log.txt").open("w") as log:
        done = subprocess.run(
            command, env=environment(root), stdout=log, stderr=log, check=False, cwd=root
        )
    wall = round(time.monotonic() - started, 2)
    if done.returncode:
        return {"error": (root / "log.txt").read_text()[-500:]}
    return {"wall_s": wall}


def through_ui(root: Path, days: list[date]) -> dict[str, Any]:
    from training_assets.cli.instance_config import write_instance_config

    home = root / "home"
    home.mkdir(exist_ok=True)
    write_instance_config(home, root)
    (root / "workspace.yaml").write_text(
        "load_from:\n  - python_module:\n      module_name: training_assets.definitions\n"
        "      location_name: training_assets\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    web = ["dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml"]
    daemon = ["dagster._daemon", "run", "-w", "workspace.yaml"]
    with (root / "log.txt").open("w") as log:
        servers = [
            subprocess.Popen(
                [sys.executable, "-m", *command],
                env=environment(root),
                cwd=root,
                stdout=log,
                stderr=log,
            )
            for command in (web, daemon)
        ]
        try:
            until(lambda: ask(port, "{version}"))
            return backfill(port, days)
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait(60)


def backfill(port: int, days: list[date]) -> dict[str, Any]:
    params = {
        "assetSelection": [{"path": [name]} for name in TABLES],
        "partitionNames": [str(day) for day in days],
    }
    started = time.monotonic()
    found = ask(port, _LAUNCH, params=params)["launchPartitionBackfill"]
    if "backfillId" not in found:
        return {"error": json.dumps(found)[:500]}

    def ended() -> str | None:
        status = ask(port, _STATUS, id=found["backfillId"])["partitionBackfillOrError"]["status"]
        is_over = status.startswith(("COMPLETED", "FAILED", "CANCELED"))
        return status if is_over else None

    status = until(ended)
    wall = round(time.monotonic() - started, 2)
    if status != "COMPLETED_SUCCESS":
        return {"error": f"the backfill ended as {status}"}
    return {"wall_s": wall, **shown(port, len(days))}


def shown(port: int, num_days: int) -> dict[str, Any]:
    """What GraphQL says of partitions and checks; ``error`` where a day or a check is missing."""
    num_checks = 0
    for name in TABLES:
        node = ask(port, _ASSETS, key={"path": [name]})["assetNodeOrError"]
        checks = node["assetChecksOrError"]["checks"]
        num_checks += len(checks)
        if node["partitionStats"]["numMaterialized"] != num_days:
            return {"error": f"{name} shows {node['partitionStats']} of {num_days} days"}
        if silent := [c["name"] for c in checks if not c["executionForLatestMaterialization"]]:
            return {"error": f"{name} shows no outcome of {', '.join(silent)}"}
    return {"days_shown": num_days, "checks_shown": num_checks}


def ask(port: int, query: str, **variables: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = json.load(answer)
    if "errors" in content:
        raise SystemExit(json.dumps(content["errors"])[:500])
    return content["data"]


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if answer := found():
                return answer
        except OSError:
            pass
        time.sleep(0.25)
    raise SystemExit(f"no answer within {PATIENCE_SECONDS} seconds")


RUNS = {"cli": through_cli, "ui": through_ui}


def measure(scratch: Path, raw: Path, way: str, days: list[date]) -> dict[str, Any]:
    root = scratch / f"small-days-{os.getpid()}"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(raw, root / "lake")
    try:
        return RUNS[way](root, days)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--days", type=int, default=123)
    parser.add_argument("--through", nargs="+", choices=RUNS, default=["cli"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    # So that the servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scratch = options.scratch.absolute()
    raw = scratch / f"small-days-raw-{options.days}"
    if not raw.exists():
        generate(raw, options.days)
    days = [LAST - timedelta(days=n) for n in reversed(range(options.days))]
    path = options.results / "small_days.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    is_right = True
    for way in options.through:
        found = []
        for repeat in range(options.repeats):
            found.append(measure(scratch, raw, way, days))
            print(f"{repeat + 1} {way}, {options.days} days: {json.dumps(found[-1])}", flush=True)
        content[f"{way}, {options.days} days"] = found
        path.write_text(json.dumps(content, indent=1) + "\n")
        good = [one["wall_s"] for one in found if "error" not in one]
        is_right &= len(good) == len(found)
        if good:
            print(f"{way}, {options.days} days: median {statistics.median(good):.1f} s")
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
