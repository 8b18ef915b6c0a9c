import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from training_assets.online import OnlineStore, open_store
from training_assets_tests.support.online_cases import NOW

Opens = Callable[..., OnlineStore]


@pytest.fixture(params=["sqlite", "redis", "dynamodb"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opens]:
    """Opens the same new place again and again, by default at ``NOW``."""
    url = _url(request, tmp_path)
    opened: list[OnlineStore] = []

    def opens(now: datetime = NOW) -> OnlineStore:
        opened.append(open_store(url, clock=lambda: now.astimezone(UTC)))
        return opened[-1]

    yield opens
    for store in opened:
        store.close()


@pytest.fixture
def store(opens: Opens) -> OnlineStore:
    return opens()


def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name = secrets.token_hex(4)
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'online'}"
    if request.param == "redis":
        return f"{request.getfixturevalue('valkey_url')}?prefix={name}"
    endpoint = request.getfixturevalue("dynamodb_endpoint")
    return f"dynamodb://features-{name}?region=eu-central-1&endpoint={endpoint}"
