"""One folder takes the place of another, whole, and so that it outlives a power failure.

Where the file system can exchange two folders, a day is replaced in one step. Where it cannot, the
old day waits under ``<root>/_retired`` between two renames; ``restore_retired`` puts it back after
a kill. The steps by name, and what each leaves, are in docs/publishing.md.
"""

import ctypes
import errno
import os
import shutil
from collections.abc import Collection
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

from training_assets.lake.locks import Locks

DAY_PREFIX: Final = "dt="
_RETIRED: Final = "_retired"
_CANNOT: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def publish_folder(staged: Path, root: Path, table: str, name: str) -> bool:
    """Make a staged folder the published one; the caller holds the lock of its day.

    The old day takes its place, and is to be removed with the staging area: a reader may be in the
    middle of listing it, and would miss files without a word.

    Returns False, and touches nothing, where the published one already has the same bytes. Raises
    ``OSError``; the published one then stands as it was.
    """
    target = root / table / name
    if target.parent.is_symlink():
        # Its days would be written and replaced outside of the lake.
        raise OSError(errno.ELOOP, "the folder of the table is a link", str(target.parent))
    if same_files(staged, target):
        shutil.rmtree(staged)
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    _sync_tree(staged)
    if not _appear(staged, target) and not _exchange(staged, target):
        _replace(staged, target, root / _RETIRED / table / name)
    _sync(target.parent)
    return True


def _appear(staged: Path, target: Path) -> bool:
    """Rename a folder to where there is none; False where there is one."""
    if target.exists():
        return False
    try:
        os.rename(staged, target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def restore_retired(root: Path, held: Collection[date]) -> None:
    """Put back days that a kill between two renames left away.

    Only those among ``held``, whose locks the caller has, and those whose lock is free: of any
    other, a run that is alive is in the middle.
    """
    base = root / _RETIRED
    for retired in sorted(base.glob(f"**/{DAY_PREFIX}*")):
        day = date.fromisoformat(retired.name.removeprefix(DAY_PREFIX))
        if day in held:
            _restore(retired, root / retired.relative_to(base))
        elif lock := Locks.of_days(root).try_hold(day.toordinal()):
            with lock:
                _restore(retired, root / retired.relative_to(base))


def _restore(retired: Path, target: Path) -> None:
    if not retired.exists():
        return
    if target.exists():
        shutil.rmtree(retired)
    else:
        os.rename(retired, target)
        _sync(target.parent)


def _replace(staged: Path, target: Path, retired: Path) -> None:
    retired.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(retired, ignore_errors=True)
    os.rename(target, retired)
    try:
        os.rename(staged, target)
    except BaseException:
        os.rename(retired, target)
        raise
    _sync(target.parent)
    os.rename(retired, staged)


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, also in folders within them."""
    names = _files(one)
    return (
        other.is_dir()
        and names == _files(other)
        and all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
    )


def _files(folder: Path) -> dict[Path, int]:
    """Sizes by relative path, in name order."""
    files = (path for path in sorted(folder.rglob("*")) if not path.is_dir())
    return {path.relative_to(folder): path.stat().st_size for path in files}


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    """Have the file, or the names in the folder, on the disk and not only in memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems sync files but refuse to sync folders.
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(handle)


@cache
def _renameat2() -> Any:
    try:
        return ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system or the file system cannot."""
    call = _renameat2()
    at_cwd, exchange = -100, 2
    if call is None:
        return False
    if call(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(other))
