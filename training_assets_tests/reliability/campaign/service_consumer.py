"""Consumers of the topics killed again and again while they land messages."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.support.kafka import broker, make_topics

_RECORDS = 50_000
_TOPICS = ("interactions", "items", "interactions.dlq", "items.dlq")
_EVERY = 1000


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """50 kills while a million messages come in, for ``times`` 20."""
    random_ = random.Random(seed)
    wanted, records = max(2, times * 5 // 2), times * _RECORDS
    lake = scratch / "lake"
    with broker() as address:
        make_topics(address, *_TOPICS, partitions=4)
        environment = {
            **os.environ,
            "TRAINING_ASSETS_LAKE": str(lake),
            "TRAINING_ASSETS_KAFKA": address,
            "TRAINING_ASSETS_KAFKA_LOG_LEVEL": "0",
        }
        command = [sys.executable, "-m", "training_assets.cli", "consume", "--drain"]
        command += ["--max-records", "5000", "--max-seconds", "1"]
        killed, sent = 0, 0
        while killed < wanted:
            # Messages come in between the kills, so that there is always something to land.
            share = records * min(wanted, killed + 2) // wanted
            _produce(address, sent, share)
            sent = max(sent, share)
            running = [_start(command, environment) for _ in range(2)]
            time.sleep(random_.uniform(2.0, 6.0))
            for process in running:
                killed += process.poll() is None
                process.send_signal(signal.SIGKILL)
                process.wait()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    users: Counter[str] = Counter()
    for path in lake.glob("raw/interactions/dt=*/*.parquet"):
        users.update(pq.ParquetFile(path).read(["user_id"])[0].to_pylist())
    expected = {f"u{n}" for n in range(records) if not _is_poison(n)}
    lost, twice = expected - users.keys(), [user for user, n in users.items() if n > 1]
    told = f"{len(users):,} rows landed once each, {records - len(expected):,} set aside"
    if lost or twice or users.keys() - expected:
        told = f"NOT AS PROMISED: {len(lost)} lost, {len(twice)} more than once"
    kind = f"SIGKILL of two consumers while {records:,} messages come in"
    print(kind, killed, told, flush=True)
    return [Outcome("service_consumer", kind, killed, told, len(lost))]


def _is_poison(number: int) -> bool:
    return number % _EVERY == _EVERY - 1


def _produce(address: str, start: int, stop: int) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": address, "linger.ms": 20, "log_level": 0})
    for number in range(start, stop):
        row: dict[str, Any] = {
            "user_id": f"u{number}",
            "item_id": "i",
            "interaction_type": "click",
            "timestamp": "2026-11-20T10:00:00Z",
        }
        if _is_poison(number):
            row = {"item_id": "i"}
        while True:
            try:
                producer.produce("interactions", json.dumps(row), f"u{number}")
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0


def _start(command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
