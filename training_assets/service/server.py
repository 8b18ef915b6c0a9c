"""Runs the application under uvicorn, until it is told to stop."""

import asyncio
import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import orjson
import pyarrow as pa
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from training_assets.service.app import create_app
from training_assets.service.core import Core
from training_assets.service.problems import Problem

_KEEP_ALIVE_SECONDS: Final = 30
_BACKLOG: Final = 1024
# How long a thread that judges may keep the event loop waiting for the interpreter.
_SWITCH_SECONDS: Final = 0.001
# How many new objects Python's collector waits for: a hundred events are a hundred and more, and
# none of them is garbage that only it can find.
_NEW_OBJECTS: Final = 20_000


class _Protocol(HttpToolsProtocol):
    """Tells what is no HTTP in the words of every other error."""

    def send_400_response(self, msg: str) -> None:
        problem = Problem("unreadable", "The request is no HTTP that can be read.")
        content = orjson.dumps(problem.body)
        lines = {**problem.headers, "Content-Length": str(len(content)), "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head.encode() + b"\r\n" + content)
        self.transport.close()


class Server(uvicorn.Server):
    """Answers 503 to what is new from the first signal on, while what runs ends."""

    def __init__(self, core: Core) -> None:
        self._core = core
        settings = core.settings
        super().__init__(
            uvicorn.Config(
                create_app(core),
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http=_Protocol,
                access_log=False,
                log_level="warning",
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=int(settings.stop_seconds),
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal ends the service as it should, so the process then ends with 0."""
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._core.is_stopping = True
        super().handle_exit(sig, frame)


def serve(core: Core) -> None:
    """Returns once it is stopped; raises ``SystemExit`` where it cannot start."""
    _give_memory_back()
    sys.setswitchinterval(_SWITCH_SECONDS)
    server = Server(core)
    _collect_seldom()
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve())


def _collect_seldom() -> None:
    """What is there from the start stays, so that the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])


def _give_memory_back() -> None:
    """Arrow's own choice of an allocator keeps tens of megabytes of an upload after its end."""
    # An Arrow that was built without jemalloc keeps its own choice.
    with suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())
