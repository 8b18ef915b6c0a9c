"""The command that serves Dagster's UI: its webserver and its daemon, as long as both live."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from training_assets.cli.console import console
from training_assets.cli.instance import open_instance
from training_assets.errors import EngineError

_END_SECONDS: Final = 30
_QUIET: Final = ("warning", "--code-server-log-level", "warning")
_SERVERS: Final = {
    "webserver": ["dagster_webserver", "--dagster-log-level", *_QUIET],
    "daemon": ["dagster._daemon", "run", "--log-level", *_QUIET],
}


@click.command()
@click.option("--port", default=3000, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
def ui(port: int, host: str) -> None:
    """Serve the Dagster UI on the same instance, with its daemon for backfills and schedules."""
    # The servers would make the databases of a new instance at the same time, and spoil them.
    with open_instance() as (_, home):
        pass
    with _stop_signals() as stop:
        has_workspace = Path("workspace.yaml").exists()
        where = ["-w", "workspace.yaml"] if has_workspace else ["-m", "training_assets.definitions"]
        _require_free(host, port)
        console.print(f"http://{host}:{port} shows {home}; Ctrl-C ends it", soft_wrap=True)
        at = ["--port", str(port), "--host", host]
        with _processes({"webserver": [*where, *at], "daemon": where}) as processes:
            while not stop.wait(0.5):
                for name, process in processes.items():
                    if process.poll() is not None:
                        raise EngineError(
                            f"ui: the {name} ended with exit code {process.returncode}; expected "
                            "it to run until it is stopped. See its messages above."
                        )


def _require_free(host: str, port: int) -> None:
    """Dagster would take another port, and the address that was printed would be a stranger's."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EngineError(
                f"ui: port {port} of {host} cannot be had ({error.strerror}); expected a free one. "
                "End what uses it, or choose another with --port."
            ) from error


@contextmanager
def _processes(arguments: dict[str, Sequence[str]]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Both servers, ended in order when the block is left, however that happens."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, given in arguments.items():
            # In a group of its own: Ctrl-C of the terminal is for this process, which tells them.
            started[name] = subprocess.Popen(
                [sys.executable, "-m", *_SERVERS[name], *given], start_new_session=True
            )
        yield started
    finally:
        for process in started.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in started.values():
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Set by Ctrl-C or SIGTERM."""
    stop = threading.Event()
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, lambda *_: stop.set()) for name in names}
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
