"""A service in its own process that is killed again and again while clients upload.

Each client sends files with rows of its own until they are accepted, as real ones do: after a
broken connection or a 503 it sends the same again.
"""

import http.client
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from training_assets.service.core import Core
from training_assets.service.keys import KeyStore
from training_assets.service.receipts import OUTBOX, RECEIPTS, find_receipt
from training_assets.service.settings import ServiceSettings
from training_assets_tests.support.faulty_wire import FaultyWire
from training_assets_tests.support.kafka import free_port, keys_of
from training_assets_tests.support.service import HEADER

_ROWS = 40
_READY_SECONDS = 240


@dataclass
class Process:
    """The service on a port of its own."""

    lake: str
    environment: Mapping[str, str]
    port: int = field(default_factory=free_port)
    running: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        # What the command does, without loading the other commands each time.
        code = (
            "from training_assets.service.core import Core\n"
            "from training_assets.service.server import serve\n"
            "from training_assets.service.settings import ServiceSettings\n"
            "serve(Core(ServiceSettings.from_env()))"
        )
        own = {
            "TRAINING_ASSETS_LAKE": self.lake,
            "TRAINING_ASSETS_SERVICE_PORT": str(self.port),
            "TRAINING_ASSETS_SERVICE_SWEEP_SECONDS": "1",
        }
        self.running = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **self.environment, **own},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if self.running.poll() is not None:
                raise RuntimeError(f"the service ended with {self.running.poll()} at its start")
            try:
                with urllib.request.urlopen(f"{self.url}/health/ready", timeout=2):
                    return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("the service did not become ready")

    def kill(self) -> None:
        self.running.send_signal(signal.SIGKILL)
        self.running.wait()

    def stop(self) -> int:
        self.running.send_signal(signal.SIGTERM)
        code: int = self.running.wait(60)
        return code


@dataclass
class Sender:
    """A client that sends files one after another until told to stop."""

    number: int
    url: str
    key: str
    accepted: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    wrong: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        count = 0
        while not stop.is_set():
            name = f"c{self.number}-{count}"
            # Every fifth file has a bad row, and is refused whole.
            self._send(name, is_bad=count % 5 == 4, stop=stop)
            count += 1

    def _send(self, name: str, *, is_bad: bool, stop: threading.Event) -> None:
        days = (18, 19, 20)
        rows = [f"{name}-{n},i,click,2026-11-{days[n % 3]}T10:00:00Z\n" for n in range(_ROWS)]
        content = HEADER + "".join(rows) + (",i,click,2026-11-18T10:00:00Z\n" if is_bad else "")
        request = urllib.request.Request(
            f"{self.url}/internal/data/upload-csv?data_type=interactions&backfill=true",
            content.encode(),
            {"Authorization": f"Bearer {self.key}", "Idempotency-Key": name},
        )
        # What was begun is brought to an end, also after the signal to stop.
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    self.accepted[name] = json.loads(answer.read())["id"]
                    return
            except urllib.error.HTTPError as error:
                if error.code == 422:
                    self.refused += 1
                    self.wrong += [] if is_bad else [f"{name} was refused"]
                    return
                if error.code not in (429, 503):
                    self.wrong.append(f"{name} was answered {error.code}")
                    return
            except (OSError, http.client.HTTPException):
                # Also an answer that breaks off in the middle.
                pass
            time.sleep(0.02)


@dataclass(frozen=True)
class Outcome:
    """What was found after all kills; ``faults`` should be empty."""

    kills: int
    accepted: int
    refused: int
    rows: int
    faults: list[str]


def kill_under_load(
    lake: str, kills: int, seed: int, *, clients: int = 3, wire: FaultyWire | None = None
) -> Outcome:
    """Kill a service at random moments, and look whether each accepted row is there once.

    With the ``wire`` to a broker, which has the topic ``uploads`` of two partitions, that breaks
    now and then, and each accepted upload must be announced all the same.
    """
    random_ = random.Random(seed)
    kafka = f"127.0.0.1:{wire.port}" if wire else ""
    environment = {"TRAINING_ASSETS_KAFKA": kafka, "TRAINING_ASSETS_KAFKA_LOG_LEVEL": "0"}
    core = Core(ServiceSettings(lake=lake, kafka=kafka, kafka_options={"log_level": "0"}))
    _, key = KeyStore(core.tenants.control).create("load", "default", ["upload", "read"])
    process = Process(lake, environment)
    process.start()
    process.wait_until_ready()
    senders = [Sender(n, process.url, key) for n in range(clients)]
    stop = threading.Event()
    threads = [threading.Thread(target=one.run, args=(stop,)) for one in senders]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            time.sleep(random_.uniform(0.01, 0.6))
            process.kill()
            process.start()
            process.wait_until_ready()
            if wire is not None:
                wire.is_down = random_.random() < 0.5
    finally:
        if wire is not None:
            wire.is_down = False
        stop.set()
        for thread in threads:
            thread.join(120)
        code = process.stop()
    outcome = _outcome(core, senders, kills)
    if kafka:
        accepted = {id_ for one in senders for id_ in one.accepted.values()}
        told = keys_of(kafka, "uploads")
        outcome.faults.extend(f"{id_} was not announced" for id_ in accepted - set(told))
        outcome.faults.extend(f"{id_} is no upload" for id_ in set(told) - accepted)
    core.close()
    if code != 0:
        outcome.faults.append(f"the service ended with {code}")
    return outcome


def _swept(core: Core) -> int:
    """What is left in the outbox: attempts that were never accepted aside, nothing."""
    deadline = time.monotonic() + _READY_SECONDS
    outbox, store = core.outbox("default"), core.tenants.store("default")
    while True:
        outbox.sweep(0)
        left = [Path(entry.path).name.split(".")[0] for entry in store.list(OUTBOX)]
        pending = sum(find_receipt(store, one) is not None for one in left)
        if not pending or time.monotonic() > deadline:
            return pending
        # The log waits for some seconds after it was down.
        time.sleep(0.2)


def _outcome(core: Core, senders: list[Sender], kills: int) -> Outcome:
    pending = _swept(core)
    lake = core.tenants.lake("default")
    paths = [entry.path for entry in lake.raw.list("interactions")]
    users: Counter[str] = Counter()
    for content in lake.raw.read_all(paths):
        users.update(pq.read_table(io.BytesIO(content), columns=["user_id"])[0].to_pylist())
    accepted = {name: id_ for one in senders for name, id_ in one.accepted.items()}
    expected = {f"{name}-{n}" for name in accepted for n in range(_ROWS)}
    faults = [text for one in senders for text in one.wrong]
    faults += [f"{pending} uploads are not finished"] if pending else []
    faults += [f"{user} is there {n} times" for user, n in users.items() if n != 1]
    faults += [f"{user} is lost" for user in expected - set(users)]
    faults += [f"{user} was never accepted" for user in set(users) - expected]
    store = core.tenants.store("default")
    receipts = {Path(e.path).stem for e in store.list(RECEIPTS)}
    if receipts != set(accepted.values()):
        faults.append(f"{len(receipts)} receipts, {len(accepted)} accepted")
    refused = sum(one.refused for one in senders)
    return Outcome(kills, len(accepted), refused, sum(users.values()), faults)
