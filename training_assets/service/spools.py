"""Files without a name in which bodies lie while they are read."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings

STEP: Final = 2**20
_IN_MEMORY: Final = 256 * 2**10


def new_spool(settings: ServiceSettings) -> IO[bytes]:
    """A file without a name, in memory while it is small."""
    folder = settings.spool or None
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=folder)


@contextmanager
def told_disk() -> Iterator[None]:
    """A full disk is told as such."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Problem("disk_full", "There is no room for the body.") from None
        raise
