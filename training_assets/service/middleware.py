"""Around every request: an id, the answer to what went wrong, counts, a log line, the audit."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from random import getrandbits
from time import perf_counter
from typing import Any, Final

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from training_assets.errors import StoreError
from training_assets.service.audit import Call
from training_assets.service.core import Core
from training_assets.service.problems import Problem

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_AUDITED: Final = ("/internal", "/api")
_OUTCOMES: Final = {401: "denied", 403: "denied", 429: "limited"}
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


class AroundRequests:
    """The outermost layer; nothing is answered without it."""

    def __init__(self, app: ASGIApp, core: Core) -> None:
        self._app = app
        self._core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(self._core, scope, send)
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.finish(499)
        except Exception as error:
            if exchange.has_answered:
                raise
            await exchange.answer(_as_problem(error, self._core.log, exchange.request_id))


def _as_problem(error: Exception, log: Any, request_id: str) -> Problem:
    if isinstance(error, Problem):
        if error.__cause__ is not None:
            log.error(error.kind, request_id=request_id, error=str(error.__cause__))
        return error
    if isinstance(error, StoreError):
        log.error("store", request_id=request_id, error=str(error))
        return Problem("unavailable", "The store does not answer at the moment; send it again.")
    log.error("failed", request_id=request_id, error=f"{type(error).__name__}: {error}")
    return Problem("failed", "The request could not be answered; its id is in the log.")


class _Exchange:
    """A request and its answer."""

    def __init__(self, core: Core, scope: Scope, send: Send) -> None:
        self._core = core
        self._scope = scope
        self._send = send
        self._began = perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else f"{getrandbits(64):016x}"
        self.has_answered = False
        state = scope.setdefault("state", {})
        state["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_answered = True
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.request_id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            self.finish(message["status"])
        await self._send(message)

    async def answer(self, problem: Problem) -> None:
        content = orjson.dumps({**problem.body, "request_id": self.request_id})
        headers: Mapping[str, str] = {**problem.headers, "Content-Length": str(len(content))}
        if problem.kind == "limited":
            self._core.metrics.limited.labels("rate", self._tenant_label).inc()
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": content})

    def finish(self, status: int) -> None:
        """Count, log and audit, before the answer is sent."""
        state = self._scope["state"]
        seconds = perf_counter() - self._began
        route = getattr(self._scope.get("route"), "path", "unknown")
        method = self._scope["method"] if self._scope["method"] in _METHODS else "other"
        metrics = self._core.metrics
        metrics.of(metrics.requests, route, method, str(status), self._tenant_label).inc()
        metrics.of(metrics.request_seconds, route).observe(seconds)
        principal = state.get("principal")
        told = {name: state[name] for name in ("upload_id", "rows", "bytes") if name in state}
        if self._scope["path"].startswith(_AUDITED):
            outcome = _OUTCOMES.get(status, "accepted" if status < 400 else "refused")
            self._core.audit.write(
                Call(
                    at=datetime.now(UTC).isoformat(),
                    request_id=self.request_id,
                    tenant=principal.tenant if principal else "",
                    principal=principal.id if principal else "",
                    client=(self._scope.get("client") or ("",))[0],
                    action=f"{method} {route}",
                    outcome=outcome,
                    status=status,
                    **told,
                )
            )
        else:
            self._core.log.info(
                "request",
                request_id=self.request_id,
                action=f"{method} {route}",
                status=status,
                ms=round(seconds * 1000, 2),
            )

    @property
    def _tenant_label(self) -> str:
        principal = self._scope["state"].get("principal")
        return self._core.metrics.tenant(principal.tenant) if principal else ""


_METHODS: Final = {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"}
