"""Migrates an old lake again and again, killed a few steps later each time; prints what it found.

A step is whatever touches the file system, as Python's audit hooks tell. Each attempt is a forked
process; so this runs in a process of its own, which never uses Delta's library itself.

    python -m training_assets_tests.reliability.kill_migration FOLDER
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from training_assets.errors import LakeFormatError
from training_assets.lake import Lake, LocalStore, migrate
from training_assets.schemas import TABLES
from training_assets_tests.support.old_lakes import TABLE_NAMES, write_old_lake
from training_assets_tests.support.published_days import DAYS, numbers_of, rows_by_delta

_EVERY = 9
_EVENTS = ("open", "os.", "shutil.", "fcntl.")
A, B = DAYS[:2]


def main(folder: Path) -> None:
    step, outcomes, faults = 1, {"refused as old": 0, "readable": 0}, []
    root, answer = folder / "lake", folder / "answer.json"
    write_old_lake(root, [A, B])
    while _forked(partial(_migrate_until, step, root)):
        assert not _forked(partial(_look_and_go_on, root, answer))
        found = json.loads(answer.read_text())
        outcomes[found["before"]] += 1
        faults += [f"step {step}: {fault}" for fault in found["faults"]]
        shutil.rmtree(root)
        write_old_lake(root, [A, B])
        step += _EVERY
    print(json.dumps({"steps": step, "faults": faults, **outcomes}))


def _migrate_until(fatal: int, root: Path) -> None:
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event.startswith(_EVENTS):
            count += 1
            if count == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    migrate(root, list(TABLES.values()))


def _look_and_go_on(root: Path, answer: Path) -> None:
    try:
        Lake.at(root).days("unified_actions")
        before = "readable"
    except LakeFormatError:
        before = "refused as old"
    faults = _faults(root) if before == "readable" else []
    migrate(root, list(TABLES.values()))
    faults += [*_faults(root), *_left_of_old(root)]
    answer.write_text(json.dumps({"before": before, "faults": faults}))


def _faults(root: Path) -> list[str]:
    """What is not as it was of the first table, once it counts as migrated."""
    now = Lake.at(root).snapshot("unified_actions")
    faults = [] if now.days == [A, B] else [f"days {now.days}"]
    for number, day in enumerate(now.days, 1):
        if set(numbers_of(now, day)) != {number}:
            faults.append(f"rows of {day}")
        if now.content(day) != f"content-{number}":
            faults.append(f"content of {day}")
        beside = now.store.read(f"{now.quarantine_path(day)}/source=clicks/part-00000.pq")
        if beside != f"rows of {number}".encode():
            faults.append(f"quarantine of {day}")
    if rows_by_delta(now.store) != dict.fromkeys(now.days, 4):
        faults.append("rows by Delta")
    return faults


def _left_of_old(root: Path) -> list[str]:
    files = [e.path for name in TABLE_NAMES for e in LocalStore(root / name).list()]
    left = [path for path in files if path.startswith("dt=") and not path.endswith(".parquet")]
    return left + sorted({entry.name for entry in root.iterdir()} - set(TABLE_NAMES))


def _forked(action: Callable[[], None]) -> bool:
    """Whether the child that did it was killed."""
    child = os.fork()
    if not child:
        action()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), code
    return code != 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
