"""The HTTP service in its own process, and a client beside it on the same cores.

    python -m benchmarks.service [--rows 100000] [--s3] [--kafka] [--out FILE]
                                 [--only upload,validate,events,features,store,memory]

Beside each figure stands what is bare: pyarrow's own parser on the same bytes, and a put of the
same bytes into the same store. The lake is a local folder in memory, or with ``--s3`` an S3 server
on this machine (SeaweedFS); with ``--kafka`` uploads are announced to a broker on this machine
(Tansu), and events are taken. Both come with the test extra.
"""

import argparse
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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import psutil
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import json as arrow_json

from training_assets.lake import open_store
from training_assets.online import open_store as open_online
from training_assets.online.encoding import column_types, encode
from training_assets.service.bodies import Body
from training_assets.service.judging import Verdict
from training_assets.service.keys import SCOPES, KeyStore
from training_assets.service.landing import WrittenFile
from training_assets.service.receipts import Asked
from training_assets.service.settings import ServiceSettings
from training_assets.service.tenants import SERVICE, Tenants
from training_assets.service.uploads import Attempt
from training_assets_tests.support import kafka, s3

REPEATS: Final = 3
DAYS: Final = 3
CLIENTS: Final = 16
SECONDS: Final = 5.0
MEMORY_BYTES: Final = 2 * 2**30
USERS: Final = 1_000_000
FILES: Final = 12
FILE_BYTES: Final = 8 * 2**20
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

    def connect(self) -> "Connection":
        return Connection(self.port, self.key)

    def cpu(self) -> float:
        used = psutil.Process(self.process.pid).cpu_times()
        return float(used.user + used.system)

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def _wait(self) -> None:
        while True:
            try:
                self.connect().call("GET", "/health/ready")
                return
            except (OSError, RuntimeError):
                pass
            if self.process.poll() is not None:
                raise RuntimeError("the service did not start")
            time.sleep(0.05)


class Connection:
    """A client that costs little, since it stands on the same cores."""

    def __init__(self, port: int, key: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._fixed = f"Host: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n".encode()

    def call(self, method: str, path: str, body: "bytes | Iterable[bytes]" = b"") -> bytes:
        """The body of an answer below 300; raises ``RuntimeError`` for another."""
        head = b"%b %b HTTP/1.1\r\n%b" % (method.encode(), path.encode(), self._fixed)
        if isinstance(body, bytes):
            self._socket.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        else:
            self._socket.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for part in body:
                self._socket.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            self._socket.sendall(b"0\r\n\r\n")
        return self._answer(path)

    def _answer(self, path: str) -> bytes:
        data = self._socket.recv(65536)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        place = head.index(b"content-length: ") + 16
        size = int(head[place:].split(b"\r\n", 1)[0])
        while len(data) < end + 4 + size:
            data += self._more()
        if not head.startswith(b"http/1.1 2"):
            raise RuntimeError(f"{path}: {data[:300]!r}")
        return data[end + 4 :]

    def _more(self) -> bytes:
        data = self._socket.recv(2**20)
        if not data:
            raise ConnectionError("the service has closed the connection")
        return data


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


def uploads(service: Service, rows: int) -> Figures:
    connection = service.connect()
    found: Figures = {}
    for name, make, path in (
        ("csv", rows_csv, "/internal/data/upload-csv?data_type=interactions&backfill=true"),
        ("json", rows_json, "/internal/data/interactions?backfill=true"),
    ):
        bodies = iter([make(rows, secrets.token_hex(2)) for _ in range(REPEATS)])
        before = service.cpu()
        timed = best(lambda p=path, b=bodies: connection.call("POST", p, next(b)))
        found[name] = rates(rows, timed, service.cpu() - before)
    return found


def store_writes(lake: str, folder: Path) -> Figures:
    """What the protocol of an upload makes of a store's speed: intent, files, receipt."""
    store = open_store(lake)
    paths = [folder / f"{number}.parquet" for number in range(FILES)]
    for path in paths:
        path.write_bytes(os.urandom(FILE_BYTES))
    own, total = Tenants(ServiceSettings(lake=lake)).store("default"), FILES * FILE_BYTES

    def upload() -> None:
        verdict = Verdict("csv", 1, 1, files=[WrittenFile(date(2026, 11, 20), p, 1) for p in paths])
        attempt = Attempt(own, secrets.token_hex(16))
        asked = Asked("default", "interactions", "strict", None, True, "bench", "bench")
        body = Body(io.BytesIO(), 0, 0, "")
        attempt.run(attempt.receipt_of(asked, body, verdict, datetime.now(UTC)), verdict)

    def put(path: Path) -> None:
        store.put(f"{SERVICE}/bench/{secrets.token_hex(8)}", path.read_bytes())

    bare, _ = best(lambda: [put(path) for path in paths])
    with ThreadPoolExecutor(4) as pool:
        at_once, _ = best(lambda: list(pool.map(put, paths)))
    middle, _ = best(upload)
    return {
        "upload_MB_per_second": round(total / middle / 1e6),
        "bare_puts_MB_per_second": round(total / bare / 1e6),
        "four_bare_puts_at_once_MB_per_second": round(total / at_once / 1e6),
        "bytes": total,
    }


def validation(service: Service, rows: int) -> Figures:
    connection = service.connect()
    csv, lines = rows_csv(rows, "v"), rows_json(rows, "v")
    path = "/api/validation/validate?data_type=interactions"
    found: Figures = {}
    for name, body in (("csv", csv), ("json", lines)):
        before = service.cpu()
        timed = best(lambda b=body: connection.call("POST", path, b))
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


def under_load(
    service: Service, clients: int, call: Callable[[Connection, int], object]
) -> Figures:
    """Clients that call as fast as they are answered, each over a connection of its own."""
    before = service.cpu()
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
    found = latencies(times)
    cpu_ms = (service.cpu() - before) / len(times) * 1000
    return {**found, "per_second": round(len(times) / SECONDS), "cpu_ms_each": round(cpu_ms, 3)}


def events(service: Service, address: str) -> Figures:
    row = {
        "user_id": "u1",
        "item_id": "i1",
        "interaction_type": "click",
        "timestamp": "2026-11-20T10:00:00Z",
    }
    single, many = json.dumps(row).encode(), json.dumps([row] * 100).encode()
    path = "/internal/data/events"
    one = under_load(service, CLIENTS, lambda c, _: c.call("POST", path, single))
    batch = under_load(service, CLIENTS, lambda c, _: c.call("POST", path, many))
    batch["rows_per_second"] = batch["per_second"] * 100
    batch["rows_per_cpu_second"] = round(100_000 / batch["cpu_ms_each"])
    sent = one["requests"] + batch["requests"] * 100
    lost = sent - records(address, "interactions")
    return {"single": one, "batches_of_100": batch, "sent": sent, "lost": lost}


def records(address: str, topic: str) -> int:
    """Different events that are in a topic now."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": address, "group.id": "bench", "log_level": 0})
    known = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in known])
    found: set[bytes] = set()
    while messages := consumer.consume(10_000, 5.0):
        found |= {dict(m.headers())["event_id"] for m in messages if m.error() is None}
    consumer.close()
    return len(found)


def features(service: Service, lake: str) -> Figures:
    numbers = np.arange(USERS)
    rows = pa.table({"customer_id": numbers, **{f"f{n}": numbers % 97 for n in range(20)}})

    def blocks() -> Any:
        for batch in rows.to_batches(10_000):
            yield batch["customer_id"].to_pylist(), encode(pa.table(batch), "customer_id")

    with open_online(f"sqlite:{lake}/online") as store:
        began = time.perf_counter()
        columns = column_types(rows.schema, "customer_id")
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
        "one_key": under_load(service, 1, lambda c, _: c.call("GET", keys[next(turn) % 5000])),
        "hundred_keys": under_load(service, 1, lambda c, _: c.call("POST", path, hundred)),
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
    found = json.loads(service.connect().call("POST", path, pieces()))
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


@contextmanager
def servers(has_s3: bool, has_kafka: bool) -> Iterator[tuple[str, str]]:
    """URL of a lake on S3, and the address of a broker; empty without."""
    with ExitStack() as stack:
        url = address = ""
        if has_s3:
            place = s3.new_place()
            os.environ.update(place.environment)
            stack.enter_context(s3.serving(place))
            url = place.new_url()
        if has_kafka:
            address = stack.enter_context(kafka.broker())
            kafka.make_topics(address, "interactions", "items", "uploads", partitions=4)
        yield url, address


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", default="upload,validate,events,features,store,memory")
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--memory-bytes", type=int, default=MEMORY_BYTES)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with (
        servers(given.s3, given.kafka) as (remote, address),
        tempfile.TemporaryDirectory(dir="/dev/shm", prefix="service-") as folder,
    ):
        lake = remote or f"{folder}/lake"
        found: Figures = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "load_before": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            "lake": "SeaweedFS, in memory" if remote else "local, in memory",
            "log": "Tansu, in memory" if address else "none",
        }
        service = Service(lake, address, folder)
        cases: dict[str, Callable[[], Figures]] = {
            "upload": lambda: uploads(service, given.rows),
            "validate": lambda: validation(service, given.rows),
            "store": lambda: store_writes(lake, Path(folder)),
            "memory": lambda: memory(service, given.memory_bytes),
        }
        if address:
            cases["events"] = lambda: events(service, address)
        if not remote:
            cases["features"] = lambda: features(service, lake)
        try:
            for name in given.only.split(","):
                if name in cases:
                    found[name] = cases[name]()
        finally:
            service.process.terminate()
            service.process.wait(60)
    text = json.dumps(found, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
