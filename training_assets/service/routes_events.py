"""The route for small requests, often: rows go to the log first, and to the lake from there."""

import asyncio
from typing import IO, Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from training_assets.errors import SchemaError
from training_assets.service.bodies import Body
from training_assets.service.documents import answers, body
from training_assets.service.event_rows import Events, events_of
from training_assets.service.judging import for_clients
from training_assets.service.limits import ROWS
from training_assets.service.problems import Problem
from training_assets.service.requests import (
    Json,
    core_of,
    idempotency_key,
    principal_of,
    received,
    unpacked,
)
from training_assets.service.settings import ServiceSettings
from training_assets.service.topics import ROW_TOPICS

# Of a body that is read in the thread of all.
_QUICK_BYTES: Final = 64 * 2**10
router: Final = APIRouter(tags=["deliver"])
_EXAMPLE: Final = {
    "interaction_id": "e-1",
    "user_id": "u-1",
    "item_id": "i-7",
    "interaction_type": "click",
    "timestamp": "2026-11-20T10:00:00Z",
}


@router.post(
    "/internal/data/events",
    status_code=202,
    summary="Deliver events, as they happen",
    responses=answers(
        {202: "Events"},
        "unreadable",
        "unknown_data_type",
        "timeout",
        "too_large",
        "unsupported_format",
        "rejected_rows",
        "disk_full",
        "not_configured",
    ),
    openapi_extra=body("application/json", "application/x-ndjson", example=_EXAMPLE),
)
async def send_events(
    request: Request,
    data_type: Annotated[
        str, Query(max_length=100, json_schema_extra={"enum": list(ROW_TOPICS)})
    ] = "interactions",
    mode: Literal["strict", "partial"] = "partial",
) -> Response:
    """One object, an array, or one a line. 202 once all replicas of the log have the good ones."""
    return await answer_events(request, data_type, mode)


async def answer_events(request: Request, data_type: str, mode: str) -> Response:
    """Raises ``Problem``."""
    core = core_of(request)
    principal = await principal_of(request, "upload")
    gathering = core.gathering
    if data_type not in ROW_TOPICS:
        raise Problem(
            "unknown_data_type",
            "There is no topic for that data type; expected one of those known.",
            known=sorted(ROW_TOPICS),
        )
    if gathering is None:
        raise Problem("not_configured", "No Kafka is set up here; upload files instead.")
    key = idempotency_key(request)
    by = core.known_deliveries(principal.tenant, data_type)
    if by is None:
        by = await asyncio.to_thread(core.deliveries, principal.tenant, data_type)
    sent = await received(request)

    count = 0

    def read() -> Events:
        nonlocal count
        events = unpacked(
            request,
            principal,
            sent,
            lambda found: _events(found, data_type, key, core.settings),
            is_hashed=False,
        )
        # Before they are judged, which others wait for.
        core.limits.take(principal, ROWS, len(events))
        count = len(events)
        return events

    ready = read
    if not _is_quick(sent):
        # Others would wait for it.
        events = await core.workers.run(sent.tell(), read)
        ready = lambda: events  # noqa: E731
    try:
        verdict, ids = await gathering.take(
            ready, data_type, principal.tenant, by, is_strict=mode == "strict"
        )
    except Problem as problem:
        if problem.kind == "unavailable":
            core.metrics.events.labels("failed").inc(count)
        raise
    request.state.rows = verdict.rows
    tenant = core.metrics.tenant(principal.tenant)
    metrics = core.metrics
    metrics.of(metrics.events, "acknowledged").inc(len(ids))
    metrics.of(metrics.rows, data_type, "accepted", tenant).inc(len(ids))
    metrics.of(metrics.rows, data_type, "rejected", tenant).inc(verdict.rejected)
    return Json({**verdict.report, "event_ids": ids}, 202)


def _is_quick(sent: IO[bytes]) -> bool:
    """Whether it is so little, and not packed, that it may be read while others wait."""
    size = sent.tell()
    sent.seek(0)
    start = sent.read(1)
    sent.seek(size)
    return size <= _QUICK_BYTES and start in (b"{", b"[")


def _events(found: Body, data_type: str, key: str | None, settings: ServiceSettings) -> Events:
    try:
        return events_of(found, data_type, key, settings)
    except SchemaError as error:
        raise Problem("unreadable", for_clients(error)) from None


ROUTE: Final = router.routes[0]
