"""Lakes in memory where there is such a file system: on disks, syncing is most of the time."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    if not _MEMORY.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="training_assets-", dir=_MEMORY))
    yield folder
    shutil.rmtree(folder)
