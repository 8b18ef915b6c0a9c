"""Uploads on a local store and on S3, without HTTP."""

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from training_assets.service.bodies import Body, unpack
from training_assets.service.settings import ServiceSettings

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(lake=str(tmp_path / "lake"))


@pytest.fixture
def new_body(settings: ServiceSettings) -> Iterator[Callable[..., Body]]:
    """Makes the body of a request of some bytes."""
    made: list[Body] = []

    def new(content: bytes, **headers: str) -> Body:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        made.append(unpack(io.BytesIO(content), named, settings))
        return made[-1]

    yield new
    for body in made:
        body.close()
