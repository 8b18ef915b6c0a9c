"""Dagster runs of the command line, tied to the life of the process that carries them out.

Dagster learns of the end of a run from the run itself, so that one that is killed stays STARTED.
Here a run has a tag that names a lock, which its process holds as long as it lives.
"""

import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import dagster as dg

from training_assets.cli.process_locks import Locks

_TAG: Final = "training_assets/process"
_UNFINISHED: Final = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@contextmanager
def own_run(instance: dg.DagsterInstance, home: Path) -> Iterator[dict[str, str]]:
    """The tags of a run of this process; ends those of processes that are gone.

    Within, SIGTERM does what Ctrl-C does: the run is recorded as ended, and nothing comes after it.
    """
    locks = Locks.of_processes(home)
    number = secrets.randbits(48)
    while not (held := locks.try_hold(number)):
        number = secrets.randbits(48)
    _end_abandoned(instance, locks)
    try:
        with held, _interruptible():
            yield {_TAG: str(number)}
    finally:
        # An interrupt between Dagster's own precautions leaves even this process's run open.
        _end_abandoned(instance, locks)


def _end_abandoned(instance: dg.DagsterInstance, locks: Locks) -> None:
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        number = run.tags.get(_TAG, "")
        if not number.isdigit():
            continue
        if held := locks.try_hold(int(number)):
            with held:
                instance.report_run_failed(
                    run,
                    "The process of this run is gone: it was stopped, or its machine went down. "
                    "Days that it did not report are as they were, or published and whole.",
                )


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` in the end if SIGINT or SIGTERM came, whoever caught it.

    Dagster records an interrupted run as a failed one and returns.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    receiver, sender = socket.socketpair()
    with receiver, sender:
        receiver.setblocking(False)
        sender.setblocking(False)
        wakeup = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        handler = signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, handler)
            signal.set_wakeup_fd(wakeup)
        with suppress(BlockingIOError):
            if {signal.SIGINT, signal.SIGTERM} & set(receiver.recv(4096)):
                raise KeyboardInterrupt
