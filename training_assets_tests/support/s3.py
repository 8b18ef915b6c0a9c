"""A real S3 server: SeaweedFS, one process on loopback, started by the first test that needs it.

The environment names it from the beginning of the session, because engines and their workers read
credentials when they start, which may be before the server does.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

BUCKET: Final = "test"
_READY_SECONDS: Final = 60
_PORTS: Final = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
    "admin.port",
    "admin.port.grpc",
)


@dataclass(frozen=True)
class S3Place:
    """Where the server listens, or will; ``secret`` must never be seen in what a test reads."""

    ports: dict[str, int]
    key: str
    secret: str

    @property
    def port(self) -> int:
        return self.ports["s3.port"]

    @property
    def environment(self) -> dict[str, str]:
        """What every client needs to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
        }

    def new_url(self) -> str:
        """A part of the bucket that no other test uses."""
        return f"s3://{BUCKET}/{secrets.token_hex(6)}"


@pytest.fixture(scope="session", autouse=True)
def s3_environment() -> Iterator[S3Place]:
    """The environment of a server of this session; starts none."""
    place = new_place()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in place.environment.items():
            patch.setenv(name, value)
        yield place


@pytest.fixture(scope="session")
def s3_server(s3_environment: S3Place) -> Iterator[S3Place]:
    """The running server; ends with the session."""
    with serving(s3_environment):
        yield s3_environment


def new_place() -> S3Place:
    """Of a server that is not started yet."""
    return S3Place(_free_ports(), f"key{secrets.token_hex(4)}", secrets.token_hex(16))


@contextmanager
def serving(place: S3Place) -> Iterator["subprocess.Popen[bytes]"]:
    """A server at that place, with an empty bucket; it ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="s3-", dir=_memory()))
    process = _start(place, folder)
    try:
        _wait_until_ready(place, process, folder)
        yield process
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        for port in place.ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


def _start(place: S3Place, folder: Path) -> "subprocess.Popen[bytes]":
    command = [
        str(Path(sys.executable).with_name("weed")),
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-admin.ui=false",
        "-webdav=false",
        "-master.telemetry=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-bucket={BUCKET}",
        *(f"-{name}={port}" for name, port in place.ports.items()),
    ]
    environment = {**os.environ, **place.environment}
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)


def _wait_until_ready(place: S3Place, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    from obstore.store import S3Store

    store = S3Store(BUCKET, retry_config={"max_retries": 0})
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", place.port), timeout=1):
                store.list_with_delimiter()
            return
        except Exception as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (folder / "server.log").read_text()[-2000:]
                raise RuntimeError(f"the S3 server did not start: {log}") from error
            time.sleep(0.05)


def _free_ports() -> dict[str, int]:
    sockets = [socket.socket() for _ in _PORTS]
    try:
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return dict(zip(_PORTS, (found.getsockname()[1] for found in sockets), strict=True))
    finally:
        for found in sockets:
            found.close()


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
