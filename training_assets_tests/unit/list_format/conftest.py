"""Files of both writers: the one for lists, and Arrow's, which it is held against."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from training_assets.list_format import LIST_FORMATS
from training_assets_tests.unit.list_format.columns import write_groups


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists") / "part-00000.parquet"


@pytest.fixture(scope="module", params=LIST_FORMATS)
def write(request: pytest.FixtureRequest) -> Any:
    """``write_groups`` by each of the writers."""
    return partial(write_groups, list_format=request.param)
