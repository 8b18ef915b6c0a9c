"""Publishes a day again and again, killed one step later each time; prints what each kill left.

A step is whatever touches the file system, as Python's audit hooks tell. Each attempt is a forked
process; so this runs in a process of its own, without an engine's threads.

    python -m training_assets_tests.reliability.kill_at_every_step ROOT exchange|fallback|first
"""

import json
import os
import shutil
import signal
import sys
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

from training_assets.lake import publishing
from training_assets_tests.reliability.days import Content, content, leftovers, publish

OTHER_DAY = date(2024, 7, 1)
_EVENTS = ("open", "os.", "shutil.", "fcntl.")


def killed_at(step: int, root: Path) -> bool:
    """Whether a run that publishes version 2 was killed when it began the step."""
    child = os.fork()
    if not child:
        _kill_at(step)
        publish(root, 2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _kill_at(step: int) -> None:
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event.startswith(_EVENTS):
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def name_of(found: Content, versions: dict[str, Content]) -> str:
    return next((name for name, files in versions.items() if files == found), "torn")


def main(root: Path, case: str) -> None:
    if case == "fallback":
        publishing._exchange = lambda one, other: False  # type: ignore[assignment]
    versions: dict[str, Content] = {"absent": {}}
    for version, name in ((1, "old"), (2, "new")):
        publish(root / name, version)
        versions[name] = content(root / name)
    seen, repaired, wrong = Counter[str](), Counter[str](), []
    step = 1
    while True:
        lake = root / "lake"
        shutil.rmtree(lake, ignore_errors=True)
        if case != "first":
            publish(lake, 1)
        if not killed_at(step, lake):
            break
        seen[name_of(content(lake), versions)] += 1
        # Any run repairs what a killed one left, whichever days it builds.
        publish(lake, 1, OTHER_DAY)
        repaired[name_of(content(lake), versions)] += 1
        if left := leftovers(lake):
            wrong.append(f"step {step}: left {left}")
        publish(lake, 2)
        if content(lake) != versions["new"] or leftovers(lake):
            wrong.append(f"step {step}: not as undisturbed after the next run")
        step += 1
    print(json.dumps({"steps": step - 1, "seen": seen, "repaired": repaired, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
