"""The long versions of what the suite tries briefly of the service; prints what it found.

python -m training_assets_tests.reliability.service_campaign kills --kills 100 [--s3]
python -m training_assets_tests.reliability.service_campaign contract --examples 300
python -m training_assets_tests.reliability.service_campaign consumer --kills 50
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from training_assets_tests.reliability.service_kills import kill_under_load
from training_assets_tests.support.kafka import broker, make_topics
from training_assets_tests.support.s3 import new_place
from training_assets_tests.support.s3 import serving as serving_s3
from training_assets_tests.support.service import raw_rows, serving
from training_assets_tests.support.service_contract import try_contract


@click.group()
def main() -> None:
    """Campaigns against the service."""


@main.command()
@click.option("--kills", default=100)
@click.option("--seed", default=1)
@click.option("--s3", "is_s3", is_flag=True)
def kills(kills: int, seed: int, is_s3: bool) -> None:
    """Kill a service under load at random moments."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
        lake = f"{folder}/lake"
        if is_s3:
            place = new_place()
            os.environ.update(place.environment)
            stack.enter_context(serving_s3(place))
            lake = f"{place.new_url()}/lake"
        found = kill_under_load(lake, kills, seed)
    click.echo(f"{found.kills} kills, {found.accepted} uploads accepted, {found.refused} refused")
    click.echo(f"{found.rows} rows in the raw layer, {len(found.faults)} faults")
    sys.exit(_told(found.faults))


@main.command()
@click.option("--examples", default=300, help="An operation and mode.")
@click.option("--seed", default=7)
def contract(examples: int, seed: int) -> None:
    """Random requests after the OpenAPI document, with a key and without one."""
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder, serving(lake=folder) as served:
        for text, part in ((served.client().text, examples), ("", max(1, examples // 5))):
            tried, found = try_contract(served.url, text, examples=part, seed=seed)
            click.echo(
                f"{tried} requests {'with' if text else 'without'} a key: {len(found)} faults"
            )
            faults += found
    sys.exit(_told(faults))


@main.command()
@click.option("--kills", default=50)
@click.option("--records", default=1_000_000)
@click.option("--seed", default=3)
def consumer(kills: int, records: int, seed: int) -> None:
    """Kill one of two consumers again and again while they land messages."""
    random_ = random.Random(seed)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, broker() as address:
        make_topics(address, "interactions", "items", "interactions.dlq", "items.dlq", partitions=4)
        poison = _produce(address, records)
        environment = {
            **os.environ,
            "TRAINING_ASSETS_LAKE": folder,
            "TRAINING_ASSETS_KAFKA": address,
            "TRAINING_ASSETS_KAFKA_LOG_LEVEL": "0",
        }
        command = [sys.executable, "-m", "training_assets.cli", "consume", "--drain"]
        command += ["--max-records", "5000", "--max-seconds", "1"]
        killed = 0
        while killed < kills:
            running = [_start(command, environment) for _ in range(2)]
            time.sleep(random_.uniform(2.0, 5.0))
            for process in running:
                killed += process.poll() is None
                process.send_signal(signal.SIGKILL)
                process.wait()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        users = Counter(row["user_id"] for row in raw_rows(folder))
    faults = [f"{user} is there {n} times" for user, n in users.items() if n != 1]
    if len(users) != records - poison:
        faults.append(f"{len(users)} rows of {records - poison}")
    click.echo(f"{killed} kills, {records} records, {poison} of them poison: {len(users)} rows")
    sys.exit(_told(faults))


def _produce(address: str, records: int) -> int:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": address, "linger.ms": 20, "log_level": 0})
    poison = 0
    for number in range(records):
        row: dict[str, Any] = {
            "user_id": f"u{number}",
            "item_id": "i",
            "interaction_type": "click",
            "timestamp": "2026-11-20T10:00:00Z",
        }
        if number % 1000 == 999:
            row, poison = {"item_id": "i"}, poison + 1
        while True:
            try:
                producer.produce("interactions", json.dumps(row), f"u{number}")
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(60)
    return poison


def _start(command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _told(faults: list[str]) -> int:
    for fault in faults[:20]:
        click.echo(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    # Relative to where the repository is.
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[2]))
    main()
