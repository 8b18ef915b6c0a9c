"""A proxy of bytes before a server of any protocol: it can be down, and lose answers."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_STEP = 2**16


class FaultyWire:
    """Stands before a port of this machine.

    ``is_down`` breaks all connections and refuses new ones. A request for which ``loses`` is true
    reaches the server, and its connection breaks instead of the answer.
    """

    def __init__(self, port: int) -> None:
        self.loses: Callable[[bytes], bool] = lambda request: False
        self.lost = 0
        self._to = port
        self._is_down = False
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def is_down(self) -> bool:
        return self._is_down

    @is_down.setter
    def is_down(self, is_down: bool) -> None:
        self._is_down = is_down
        if is_down:
            self._break_all()

    def close(self) -> None:
        self._listening.close()
        self._break_all()

    def _break_all(self) -> None:
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._break(pair)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self._is_down:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._to), 5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                pair = (client, server)
                with self._lock:
                    self._pairs.add(pair)
                breaks = threading.Event()
                for work in (self._ask, self._answer):
                    threading.Thread(target=work, args=(pair, breaks), daemon=True).start()

    def _ask(self, pair: tuple[socket.socket, socket.socket], breaks: threading.Event) -> None:
        client, server = pair
        with suppress(OSError):
            while request := client.recv(_STEP):
                if self.loses(request):
                    breaks.set()
                server.sendall(request)
        self._break(pair)

    def _answer(self, pair: tuple[socket.socket, socket.socket], breaks: threading.Event) -> None:
        client, server = pair
        with suppress(OSError):
            while answer := server.recv(_STEP):
                if breaks.is_set():
                    self.lost += 1
                    break
                client.sendall(answer)
        self._break(pair)

    def _break(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for one in pair:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def faulty_wire(port: int) -> Iterator[FaultyWire]:
    """A proxy to that port, which ends with the block."""
    wire = FaultyWire(port)
    try:
        yield wire
    finally:
        wire.close()


def is_produce(request: bytes) -> bool:
    """Whether a request of Kafka's protocol brings records."""
    return len(request) > 6 and request[4:6] == b"\0\0"
