"""The HTTP service on a free port of this machine, and clients of it."""

import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import uvloop

from training_assets.service.core import Core
from training_assets.service.health import Health
from training_assets.service.keys import SCOPES, KeyStore
from training_assets.service.logs import new_logger
from training_assets.service.server import Server
from training_assets.service.settings import ServiceSettings

HEADER = "user_id,item_id,interaction_type,timestamp\n"
_READY_SECONDS = 30


@dataclass
class Client:
    """Calls the service with one key; ``text`` is what it sends, empty for nobody."""

    url: str
    text: str = field(repr=False, default="")

    def call(self, method: str, path: str, **given: Any) -> requests.Response:
        headers = dict(given.pop("headers", {}))
        if self.text:
            headers.setdefault("Authorization", f"Bearer {self.text}")
        return requests.request(method, self.url + path, headers=headers, timeout=60, **given)

    def get(self, path: str, **given: Any) -> requests.Response:
        return self.call("GET", path, **given)

    def post(self, path: str, **given: Any) -> requests.Response:
        return self.call("POST", path, **given)

    def upload(
        self, content: bytes, data_type: str = "interactions", query: str = "", **given: Any
    ) -> requests.Response:
        path = f"/internal/data/upload-csv?data_type={data_type}&{query}"
        return self.post(path, data=content, **given)


@dataclass
class Served:
    """A running service; ``log`` is what it said."""

    core: Core
    url: str
    log: io.StringIO
    health: Health

    def client(
        self, tenant: str = "default", scopes: Sequence[str] = SCOPES, **given: Any
    ) -> Client:
        """With a new key."""
        name = f"{tenant}-{time.monotonic_ns()}"
        _, text = KeyStore(self.core.tenants.control).create(name, tenant, scopes, **given)
        return Client(self.url, text)

    @property
    def nobody(self) -> Client:
        return Client(self.url)


@contextmanager
def serving(publisher: Any = None, **given: Any) -> Iterator[Served]:
    """A service in a thread of this process, from its start to its graceful end."""
    log = io.StringIO()
    settings = ServiceSettings(**{"port": 0, "sweep_seconds": 3600, **given})
    core = Core(settings, publisher, new_logger("json", log))
    server = Server(core)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    failed: list[BaseException] = []

    def run() -> None:
        try:
            uvloop.run(server._serve())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    deadline = time.monotonic() + _READY_SECONDS
    while not server.started and not failed and time.monotonic() < deadline:
        time.sleep(0.005)
    if failed:
        raise failed[0]
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(core, f"http://127.0.0.1:{port}", log, server.config.app.state.health)
    finally:
        server.should_exit = True
        thread.join(_READY_SECONDS)


def raw_rows(lake: Path | str, data_type: str = "interactions") -> list[dict[str, Any]]:
    """All rows of the raw layer, as any reader of Parquet sees them, with their day."""
    import pyarrow.parquet as pq

    found = []
    for path in sorted(Path(lake, "raw", data_type).glob("dt=*/*.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            found.append({**row, "dt": path.parent.name.removeprefix("dt=")})
    return found
