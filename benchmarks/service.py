"""The HTTP service in its own process, and a client beside it on the same cores.

    python -m benchmarks.service [--rows 100000] [--only upload,validate,events,features,memory]
                                 [--s3 URL] [--kafka HOST:PORT] [--out FILE]

Beside each figure stands what is bare: pyarrow's own parser on the same bytes, and a put of the
same bytes into the same store. The lake is a local folder, or ``--s3``, with credentials in the
environment. Events need ``--kafka``, with the topics ``interactions``, ``items`` and ``uploads``.
"""

import argparse
import http.client
import io
import json
import os
import platform
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import json as arrow_json

from training_assets.lake import open_store
from training_assets.online import open_store as open_online
from training_assets.service.keys import SCOPES, KeyStore
from training_assets.service.settings import ServiceSettings
from training_assets.service.tenants import Tenants

REPEATS: Final = 3
DAYS: Final = 3
CLIENTS: Final = 16
SECONDS: Final = 5.0
MEMORY_BYTES: Final = 2 * 2**30
USERS: Final = 1_000_000
_SERVE: Final = (
    "from training_assets.service.core import Core\n"
    "from training_assets.service.server import serve\n"
    "from training_assets.service.settings import ServiceSettings\n"
    "serve(Core(ServiceSettings.from_env()))"
)
Figures = dict[str, Any]


class Service:
    """The process, and a key that may do all."""

    def __init__(self, lake: str, kafka: str, spool: str) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        own = {
            "LAKE": lake,
            "KAFKA": kafka,
            "SERVICE_PORT": str(self.port),
            "SERVICE_SPOOL": spool,
            "SERVICE_MAX_PACKED_BYTES": str(2**33),
            "SERVICE_MAX_BYTES": str(2**33),
            "SERVICE_MAX_ROWS": "100000000",
            "SERVICE_UPLOADS_AT_ONCE": "64",
        }
        environment = {f"TRAINING_ASSETS_{name}": value for name, value in own.items() if value}
        control = Tenants(ServiceSettings(lake=lake)).control
        _, self.key = KeyStore(control).create(secrets.token_hex(4), "default", SCOPES)
        with Path(spool, "service.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SERVE], env={**os.environ, **environment}, stdout=log
            )
        self._wait()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)

    def call(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any = None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {content[:300]!r}")
        found: dict[str, Any] = json.loads(content)
        return found

    def cpu(self) -> float:
        used = psutil.Process(self.process.pid).cpu_times()
        return float(used.user + used.system)

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def _wait(self) -> None:
        while True:
            try:
                connection = self.connect()
                connection.request("GET", "/health/ready")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                raise RuntimeError("the service did not start")
            time.sleep(0.05)


def rows_csv(rows: int, salt: str) -> bytes:
    lines = ["user_id,item_id,interaction_type,timestamp,device_type"]
    lines += [
        f"u{salt}{n % 9973},i{n % 4999},click,2026-11-{18 + n % DAYS}T"
        f"{n % 24:02}:{n % 60:02}:{n * 7 % 60:02}Z,mobile"
        for n in range(rows)
    ]
    return ("\n".join(lines) + "\n").encode()


def rows_json(rows: int, salt: str) -> bytes:
    table = arrow_csv.read_csv(
        io.BytesIO(rows_csv(rows, salt)),
        convert_options=arrow_csv.ConvertOptions(column_types={"timestamp": pa.string()}),
    )
    return "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()


def best(work: Callable[[], Any]) -> tuple[float, list[float]]:
    """Median and all of the times, in seconds."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times), times


def rates(rows: int, timed: tuple[float, list[float]], cpu: float = 0.0) -> Figures:
    """``cpu`` are seconds of all repeats, which other work on the machine does not lengthen."""
    middle, times = timed
    found = {"rows_per_cpu_second": round(rows * len(times) / cpu)} if cpu else {}
    return found | {
        "rows_per_second": round(rows / middle),
        "best": round(rows / min(times)),
        "seconds": [round(one, 3) for one in times],
    }


def uploads(service: Service, lake: str, rows: int) -> Figures:
    connection = service.connect()
    found: Figures = {}
    for name, make, path in (
        ("csv", rows_csv, "/internal/data/upload-csv?data_type=interactions&backfill=true"),
        ("json", rows_json, "/internal/data/interactions?backfill=true"),
    ):
        bodies = iter([make(rows, secrets.token_hex(2)) for _ in range(REPEATS)])
        before = service.cpu()
        timed = best(lambda p=path, b=bodies: service.call(connection, "POST", p, next(b)))
        found[name] = rates(rows, timed, service.cpu() - before)
    store = open_store(lake)
    content = rows_csv(rows, "x")
    middle, _ = best(lambda: store.put(f"bench/{secrets.token_hex(4)}", content))
    found["bare_put_MB_per_second"] = round(len(content) / middle / 1e6)
    found["bytes"] = len(content)
    return found


def validation(service: Service, rows: int) -> Figures:
    connection = service.connect()
    csv, lines = rows_csv(rows, "v"), rows_json(rows, "v")
    path = "/api/validation/validate?data_type=interactions"
    found: Figures = {}
    for name, body in (("csv", csv), ("json", lines)):
        before = service.cpu()
        timed = best(lambda b=body: service.call(connection, "POST", path, b))
        found[name] = rates(rows, timed, service.cpu() - before)
    return found | {
        "bare_pyarrow_csv": rates(rows, best(lambda: arrow_csv.read_csv(io.BytesIO(csv)))),
        "bare_pyarrow_json": rates(rows, best(lambda: arrow_json.read_json(io.BytesIO(lines)))),
    }


def latencies(times: list[float]) -> Figures:
    ordered = sorted(times)
    return {
        "p50_ms": round(ordered[len(ordered) // 2] * 1000, 2),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 2),
        "requests": len(ordered),
    }


def under_load(service: Service, clients: int, call: Callable[[Any, int], None]) -> Figures:
    """Clients that call as fast as they are answered, each over a connection of its own."""
    stop = time.perf_counter() + SECONDS
    times: list[float] = []
    lock = threading.Lock()

    def run(number: int) -> None:
        connection, own = service.connect(), []
        while (began := time.perf_counter()) < stop:
            call(connection, number)
            own.append(time.perf_counter() - began)
        with lock:
            times.extend(own)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(run, range(clients)))
    return {**latencies(times), "per_second": round(len(times) / SECONDS)}


def events(service: Service) -> Figures:
    row = {
        "user_id": "u1",
        "item_id": "i1",
        "interaction_type": "click",
        "timestamp": "2026-11-20T10:00:00Z",
    }
    single, many = json.dumps(row).encode(), json.dumps([row] * 100).encode()
    path = "/internal/data/events"
    one = under_load(service, CLIENTS, lambda c, _: service.call(c, "POST", path, single) and None)
    batch = under_load(service, CLIENTS, lambda c, _: service.call(c, "POST", path, many) and None)
    batch["rows_per_second"] = batch["per_second"] * 100
    return {"single": one, "batches_of_100": batch}


def features(service: Service, lake: str) -> Figures:
    names = [f"f{n}" for n in range(20)]
    block = 20_000

    def blocks() -> Any:
        for start in range(0, USERS, block):
            ids = list(range(start, start + block))
            yield ids, [json.dumps([n % 97] * len(names)).encode() for n in ids]

    with open_online(f"sqlite:{lake}/online") as store:
        began = time.perf_counter()
        columns = [(name, "int64") for name in names]
        today = datetime.now(UTC).date()
        content = secrets.token_hex(8)
        store.load("users", today, blocks(), content=content, columns=columns, num_rows=USERS)
        load_seconds = time.perf_counter() - began
    keys = [f"/api/features/users/{n * 7919 % USERS}" for n in range(5000)]
    hundred = json.dumps({"ids": [n * 104729 % USERS for n in range(100)]}).encode()
    turn = iter(range(10**9))
    path = "/api/features/users:batchGet"
    return {
        "load_seconds": round(load_seconds, 2),
        "one_key": under_load(
            service, 1, lambda c, _: service.call(c, "GET", keys[next(turn) % 5000]) and None
        ),
        "hundred_keys": under_load(
            service, 1, lambda c, _: service.call(c, "POST", path, hundred) and None
        ),
    }


def memory(service: Service, size: int) -> Figures:
    """One upload of that many bytes, sent in pieces; the most that the process held meanwhile."""
    block = rows_csv(200_000, "m")
    header, _, lines = block.partition(b"\n")
    before, most = service.memory(), [0]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.1):
            most[0] = max(most[0], service.memory())

    def pieces() -> Any:
        yield header + b"\n"
        for _ in range(size // len(lines)):
            yield lines

    watching = threading.Thread(target=watch)
    watching.start()
    began = time.perf_counter()
    path = "/internal/data/upload-csv?data_type=interactions&backfill=true"
    found = service.call(service.connect(), "POST", path, pieces())
    seconds = time.perf_counter() - began
    is_over.set()
    watching.join()
    return {
        "bytes": found["bytes"],
        "rows": found["rows"],
        "seconds": round(seconds, 1),
        "MB_before": before // 10**6,
        "MB_at_most": most[0] // 10**6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", default="upload,validate,events,features,memory")
    parser.add_argument("--s3", default="")
    parser.add_argument("--kafka", default="")
    parser.add_argument("--memory-bytes", type=int, default=MEMORY_BYTES)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    wanted = given.only.split(",")
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="service-") as folder:
        local = f"{folder}/lake"
        lake = given.s3 or local
        service = Service(lake, given.kafka, folder)
        found: Figures = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "load_before": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            "store": "s3" if given.s3 else "local, in memory",
        }
        try:
            if "upload" in wanted:
                found["upload"] = uploads(service, lake, given.rows)
            if "validate" in wanted:
                found["validate"] = validation(service, given.rows)
            if "events" in wanted and given.kafka:
                found["events"] = events(service)
            if "features" in wanted and not given.s3:
                found["features"] = features(service, local)
            if "memory" in wanted:
                found["memory"] = memory(service, given.memory_bytes)
        finally:
            service.process.terminate()
            service.process.wait(60)
    text = json.dumps(found, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
