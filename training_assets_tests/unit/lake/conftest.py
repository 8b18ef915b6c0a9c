"""The same tests on a local folder, whose name is an odd one, and on an S3 server."""

from pathlib import Path

import pytest

from training_assets.lake import LocalStore, Store, open_store


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "lake [1] of a shop" / "unified_actions")


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """Where a table is to lie; nothing is there yet."""
    if request.param == "local":
        return request.getfixturevalue("local")  # type: ignore[no-any-return]
    url = request.getfixturevalue("s3_server").new_url()
    return open_store(f"{url}/unified_actions")
