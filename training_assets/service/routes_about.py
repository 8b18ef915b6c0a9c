"""Routes that tell of the service: what it is, whether it works, what it counts."""

import asyncio
import hmac
from importlib.metadata import version
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from training_assets.service.documents import answers
from training_assets.service.health import Health
from training_assets.service.judging import table_of
from training_assets.service.metrics import CONTENT_TYPE
from training_assets.service.problems import Problem
from training_assets.service.requests import Json, core_of, principal_of
from training_assets.service.settings import is_loopback
from training_assets.sources.rules import json_schema

router: Final = APIRouter(tags=["about"])
VERSION: Final = version("training-assets")
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")


@router.get("/", summary="What this is", responses=answers({200: "About"}, is_open=True))
async def about() -> Response:
    """Name, version and links."""
    links = {name: f"/{name}" for name in ("docs", "openapi.json", "health", "metrics")}
    return Json({"name": "training-assets", "version": VERSION, "links": links})


@router.get(
    "/health/live", summary="Is it running?", responses=answers({200: "Live"}, is_open=True)
)
async def live() -> Response:
    """Always 200 while the process answers."""
    return Json({"status": "ok"})


@router.get(
    "/health/ready",
    summary="Are uploads taken?",
    responses=answers({200: "Health", 503: "Health"}, is_open=True),
)
async def ready(request: Request) -> Response:
    """200 once a write to the store has succeeded lately; 503 otherwise, and while stopping."""
    health = _health(request)
    return Json(health.report, status_code=200 if health.is_ready else 503)


@router.get(
    "/health",
    summary="The state of everything it depends on",
    responses=answers({200: "Health", 503: "Health"}, is_open=True),
)
async def health(request: Request) -> Response:
    """503 only where uploads are not taken; Kafka that is down makes it *degraded*."""
    found = _health(request)
    return Json(found.report, status_code=200 if found.is_ready else 503)


@router.get(
    "/metrics",
    summary="For Prometheus",
    responses={
        200: {"description": "Text", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **answers({}, "unauthenticated", is_open=True),
    },
)
async def metrics(request: Request) -> Response:
    """From this machine, or with the token of SERVICE_METRICS_TOKEN: it names tenants."""
    core = core_of(request)
    token = core.settings.metrics_token
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    has_token = bool(token) and scheme.lower() == "bearer"
    if not (has_token and hmac.compare_digest(given.strip().encode(), token.encode())):
        client = request.client.host if request.client else ""
        is_relayed = any(name in request.headers for name in _FORWARDED)
        if token or is_relayed or not is_loopback(client):
            raise Problem("unauthenticated", "Metrics need their token.")
    return Response(core.metrics.page(), headers={"Content-Type": CONTENT_TYPE})


@router.get(
    "/api/validation/schema/{data_type}",
    tags=["validate"],
    summary="JSON Schema of a data type",
    responses=answers(
        {200: "JsonSchema"}, "unknown_data_type", "invalid_parameter", "not_configured"
    ),
)
async def get_schema(
    request: Request, data_type: Annotated[str, Path(max_length=100, examples=["items"])]
) -> Response:
    """Made from the platform's own schema and rules."""
    core = core_of(request)
    principal = await principal_of(request, "validate")
    table_of(data_type)
    by = await asyncio.to_thread(core.deliveries, principal.tenant, data_type)
    found: dict[str, Any] = json_schema(data_type, by.terms)
    return Json(found)


def _health(request: Request) -> Health:
    found: Health = request.app.state.health
    return found
