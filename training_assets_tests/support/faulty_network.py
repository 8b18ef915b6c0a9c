"""A proxy between a client and the S3 server that loses answers, refuses, and cuts bodies.

A rule is asked about each request, by its method, path and headers; it says what to do with it.
"""

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# None: as the server answers. An HTTP status: the server is not asked, and this is the answer.
# "lost": the server does it, and the connection breaks before the answer. "cut": the answer breaks
# off in the middle. "refused": the connection breaks before the server is asked. A tuple: the
# server does it, and this status is the answer.
Fault = int | str | tuple[str, int] | None
Rule = Callable[[str, str, Mapping[str, str]], Fault]

# How long its end takes to be seen.
_POLL_SECONDS = 0.01


@contextmanager
def faulty_network(port: int, rule: Rule) -> Iterator[str]:
    """URL of a proxy to the server at this port of this machine."""

    class Handler(_Handler):
        server_port = port
        fault_of = staticmethod(rule)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_port: int
    fault_of: Rule

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.fault_of(self.command, self.path, self.headers)
        if isinstance(fault, int):
            return self._answer(fault, {}, f"<Error><Code>Fault{fault}</Code></Error>".encode())
        if fault == "refused":
            return self._hang_up()
        status, headers, answer = self._asked(body)
        if fault == "lost":
            return self._hang_up()
        if isinstance(fault, tuple):
            return self._answer(fault[1], {}, b"<Error><Code>InternalError</Code></Error>")
        if fault == "cut":
            self._answer(status, headers, answer, sent=len(answer) // 2)
            return self._hang_up()
        return self._answer(status, headers, answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _asked(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=30)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, sent: int | None = None
    ) -> None:
        self.send_response_only(status)
        kept = {"Content-Length": str(len(body))} | {
            name: value
            for name, value in headers.items()
            if name.lower() not in ("transfer-encoding", "connection")
        }
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""
