"""The application: all routes, and what runs beside them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from training_assets.errors import StoreError
from training_assets.service import (
    routes_about,
    routes_events,
    routes_features,
    routes_receipts,
    routes_runs,
    routes_uploads,
)
from training_assets.service.core import Core
from training_assets.service.documents import document
from training_assets.service.event_log import EventLog
from training_assets.service.health import PROBE_SECONDS, Health
from training_assets.service.middleware import AroundRequests
from training_assets.service.problems import Problem
from training_assets.service.quick import QuickRoutes
from training_assets.service.tokens import require_keys

_AUDIT_SECONDS: Final = 5
_LAG_SECONDS: Final = 15
_ANNOUNCE_SECONDS: Final = 30
_BY_STATUS: Final = {
    400: "unreadable",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}
_ROUTERS: Final = (
    routes_uploads.router,
    routes_receipts.router,
    routes_events.router,
    routes_features.router,
    routes_runs.router,
    routes_about.router,
)


def create_app(core: Core) -> FastAPI:
    """Raises ``SettingsError`` for settings that cannot work; touches no store yet."""
    require_keys(core.settings)
    app = FastAPI(
        title="training-assets",
        version=routes_about.VERSION,
        lifespan=_lifespan,
        redirect_slashes=False,
        strict_content_type=False,
        # Metrics are our own, and to ask for another's takes time in each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.core = core
    app.state.health = Health(core)
    app.state.health.add("outbox", core.outbox_state)
    app.state.health.add("online", core.online_state)
    if isinstance(core.publisher, EventLog):
        app.state.health.add("kafka", core.require_log)
    for router in _ROUTERS:
        app.include_router(router)
    app.add_exception_handler(HTTPException, _raise_http)
    app.add_exception_handler(RequestValidationError, _raise_parameter)
    app.add_middleware(QuickRoutes)
    app.add_middleware(AroundRequests, core=core)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Refuses a store that ignores conditions; ends with everything written down."""
    core: Core = app.state.core
    health: Health = app.state.health
    await asyncio.to_thread(core.tenants.control.require_conditions)
    await health.probe()
    running = [
        asyncio.create_task(_every(seconds, work, core))
        for seconds, work in (
            (PROBE_SECONDS, health.probe),
            (core.settings.sweep_seconds, lambda: _in_thread(core.sweep)),
            (_AUDIT_SECONDS, lambda: _in_thread(core.audit.flush)),
            (_LAG_SECONDS, lambda: _in_thread(core.measure_lag)),
            (_ANNOUNCE_SECONDS, lambda: _in_thread(core.announce)),
        )
    ]
    core.log.info("started", auth=core.settings.auth, host=core.settings.host)
    try:
        yield
    finally:
        core.is_stopping = True
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.to_thread(core.close)
        core.log.info("stopped")


async def _every(seconds: float, work: Callable[[], Awaitable[None]], core: Core) -> None:
    """One failed time does not end it."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception as error:
            core.log.warning("later", error=f"{type(error).__name__}: {error}")


async def _in_thread(work: Callable[[], Any]) -> None:
    with suppress(StoreError):
        await asyncio.to_thread(work)


def _raise_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, "unreadable")
    problem = Problem(
        kind,
        "There is nothing at this address."
        if kind == "not_found"
        else "The request cannot be taken so.",
    )
    if error.headers and "Allow" in error.headers:
        problem.allowed = error.headers["Allow"]
    raise problem


def _raise_parameter(request: Request, error: Exception) -> Response:
    """Names the parameters that are wrong, and never repeats them."""
    assert isinstance(error, RequestValidationError)
    found = {f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()}
    raise Problem("invalid_parameter", "; ".join(sorted(found))[:500])
