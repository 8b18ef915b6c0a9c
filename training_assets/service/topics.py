"""Names of topics, headers of messages, and the options of Kafka's clients."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import KafkaException

from training_assets.errors import SettingsError
from training_assets.service.settings import ServiceSettings

UPLOADS: Final = "uploads"
FEATURES: Final = "features"
TRAINING: Final = "training"
# Topics whose records are rows, by data type, and the column by which they are kept in order.
ROW_TOPICS: Final = {"interactions": "user_id", "items": "item_id"}
DEAD: Final = ".dlq"
SCHEMA_VERSION: Final = "1"
TENANT_HEADER: Final = "tenant"
EVENT_HEADER: Final = "event_id"
SCHEMA_HEADER: Final = "schema"
GROUP: Final = "training-assets"

Headers = list[tuple[str, str | bytes | None]]
_OF_CONSUMERS: Final = ("session.", "auto.offset.", "fetch.", "group.", "heartbeat.", "max.poll.")
_OPTION: Final = re.compile(r'property:? \\*"(?P<name>[a-z0-9._]+)')


def topic(settings: ServiceSettings, name: str) -> str:
    """The name with the prefix of this installation."""
    return f"{settings.kafka_prefix}{name}"


def headers(tenant: str, event_id: str | None = None, **more: str) -> Headers:
    found = {TENANT_HEADER: tenant, SCHEMA_HEADER: SCHEMA_VERSION, **more}
    if event_id is not None:
        found[EVENT_HEADER] = event_id
    return [(name, value.encode()) for name, value in found.items()]


def producer_options(settings: ServiceSettings) -> dict[str, Any]:
    """All replicas, in order, none twice; what the settings say wins."""
    own = {
        name: value
        for name, value in settings.kafka_options.items()
        if not name.startswith(_OF_CONSUMERS)
    }
    return {
        "bootstrap.servers": settings.kafka,
        "client.id": "training-assets",
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 1,
        "compression.type": "lz4",
        "delivery.timeout.ms": 20_000,
        "message.max.bytes": 4 * 2**20,
        "queue.buffering.max.messages": 500_000,
        **own,
    }


def consumer_options(settings: ServiceSettings) -> dict[str, Any]:
    """Positions are those of the claims; the group's are committed for showing lag."""
    return {
        "bootstrap.servers": settings.kafka,
        "client.id": "training-assets-consume",
        "group.id": GROUP,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        **settings.kafka_options,
    }


@contextmanager
def checked_options() -> Iterator[None]:
    """Around the making of a client; raises ``SettingsError`` for options that it does not take.

    Names the option and not its value, which may be a password.
    """
    try:
        yield
    except KafkaException as error:
        named = _OPTION.search(str(error))
        raise SettingsError(
            f"kafka: the option {named['name'] if named else '?'} is not known, or has a value "
            "that it cannot have; expected one of librdkafka. Correct the variable "
            "TRAINING_ASSETS_KAFKA_… of that name."
        ) from None


def told(event: Mapping[str, Any]) -> bytes:
    """A message as JSON."""
    import orjson

    return orjson.dumps(dict(event))
