"""What a power failure may leave of Delta's log on a local disk: its newest files, cut short.

A commit is named before its bytes are synced, so it may come back empty, half, or as zeros. It is
removed then: nobody was told that it stands, since that comes after the sync. So is a checkpoint,
which only repeats what the commits say; those are cleaned up after its sync.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

_FIRST: Final = f"{0:020d}.json"
_HINT: Final = "_last_checkpoint"


def remove_cut_files(log: Path) -> bool:
    """Remove the newest commit and checkpoints if they are cut short; whether any was."""
    try:
        commits = sorted(log.glob("*.json"))
        suspects = [*commits[-1:], *log.glob("*.checkpoint.parquet")]
        removed = [path for path in suspects if _is_removed(path)]
        if any(path.suffix == ".parquet" for path in removed):
            # It only says where to look first, and leads to nothing now.
            (log / _HINT).unlink(missing_ok=True)
    except OSError:
        return False
    return bool(removed)


def _is_removed(path: Path) -> bool:
    with path.open("rb") as file:
        # A lock keeps two from removing it, the second one what was committed in its place.
        fcntl.flock(file, fcntl.LOCK_EX)
        is_there = path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
        if not is_there or not _is_cut(path, file.read()):
            return False
        path.unlink()
        return True


def _is_cut(path: Path, data: bytes) -> bool:
    try:
        if path.suffix == ".parquet":
            pq.read_table(pa.BufferReader(data))
            return False
        for line in data.splitlines():
            json.loads(line)
    except (ValueError, OSError, pa.ArrowException):
        return True
    # An empty commit is read as one without changes, but for the first, which makes the table.
    return not data and path.name == _FIRST
