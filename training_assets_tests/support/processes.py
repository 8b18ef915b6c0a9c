"""Child processes for races and kills: forked from a server that has imported all, so in moments.

The library of Delta's log has threads, so a process that used it cannot be forked itself.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

_SECONDS = 120


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "training_assets_tests.support.rival_runs"])
    return context


def start(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Run a function of a module in a child, with the environment that this process has now."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    child = _context().Process(target=_run, args=(environment, target, arguments))
    child.start()
    return child


def new_queue() -> Any:
    return _context().Queue()


def new_event() -> Any:
    return _context().Event()


def new_barrier(parties: int) -> Any:
    return _context().Barrier(parties)


def _run(
    environment: Mapping[str, str], target: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ.update(environment)
    target(*arguments)


def finish(child: ForkServerProcess) -> int:
    """Its exit status; minus the signal that ended it."""
    child.join(_SECONDS)
    if child.exitcode is None:
        child.kill()
        raise TimeoutError(f"the child was at work for more than {_SECONDS} s")
    return child.exitcode


def was_killed(child: ForkServerProcess) -> bool:
    return finish(child) == -signal.SIGKILL


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
