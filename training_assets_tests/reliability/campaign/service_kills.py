"""The service killed at random moments while clients upload, with Kafka up and down."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.reliability.service_kills import kill_under_load
from training_assets_tests.support.kafka import broker_behind_wire, make_topics
from training_assets_tests.support.s3 import new_place
from training_assets_tests.support.s3 import serving as serving_s3


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """50 kills on each store for ``times`` 20, half of them with a broker that comes and goes."""
    kills = max(1, times * 5 // 4)
    outcomes = []
    with _s3() as remote:
        for store, lake in (("a local store", str(scratch)), ("S3", remote)):
            for has_kafka in (False, True):
                outcomes.append(_killed(store, f"{lake}/{has_kafka}", kills, seed, has_kafka))
    return outcomes


def _killed(store: str, lake: str, kills: int, seed: int, has_kafka: bool) -> Outcome:
    kind = f"SIGKILL of the service under load, {store}"
    if not has_kafka:
        found = kill_under_load(lake, kills, seed)
        result = "each of their rows is in the raw layer once"
    else:
        kind += ", Kafka up and down"
        with broker_behind_wire() as (address, wire):
            make_topics(address, "uploads")
            found = kill_under_load(lake, kills, seed, wire=wire)
        result = "each of their rows is in the raw layer once, and each was announced"
    told = f"{found.accepted} uploads accepted, {found.refused} refused; {result}"
    if found.faults:
        told = f"NOT AS PROMISED: {'; '.join(found.faults[:5])}"
    print(kind, found.kills, told, flush=True)
    lost = sum(fault.endswith("is lost") for fault in found.faults)
    return Outcome("service_kills", kind, found.kills, told, lost)


@contextmanager
def _s3() -> Iterator[str]:
    place = new_place()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in place.environment.items():
            patch.setenv(name, value)
        with serving_s3(place):
            yield place.new_url()
