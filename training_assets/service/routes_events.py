"""The route for small requests, often: rows go to the log first, and to the lake from there."""

from itertools import chain
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from training_assets.errors import SchemaError
from training_assets.service.bodies import Body
from training_assets.service.documents import answers, body
from training_assets.service.event_log import EventLog, Message
from training_assets.service.event_rows import Event, events_of
from training_assets.service.judging import Documents, for_clients
from training_assets.service.limits import ROWS
from training_assets.service.problems import Problem
from training_assets.service.requests import (
    Json,
    core_of,
    idempotency_key,
    principal_of,
    with_body,
)
from training_assets.service.settings import ServiceSettings
from training_assets.service.topics import EVENT_HEADER, ROW_TOPICS, headers

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
    log = core.publisher
    if data_type not in ROW_TOPICS:
        raise Problem(
            "unknown_data_type",
            "There is no topic for that data type; expected one of those known.",
            known=sorted(ROW_TOPICS),
        )
    if not isinstance(log, EventLog):
        raise Problem("not_configured", "No Kafka is set up here; upload files instead.")
    key = idempotency_key(request)
    events, by = await with_body(
        request,
        principal,
        lambda found: (
            _events(found, data_type, key, core.settings),
            core.deliveries(principal.tenant, data_type),
        ),
    )
    # Before they are judged, which others wait for.
    core.limits.take(principal, ROWS, len(events))
    names = dict.fromkeys(chain.from_iterable(one.names for one in events))
    documents = Documents([one.document for one in events], names)
    verdict, numbers = await core.gathering.judge(documents, data_type, by)
    if verdict.rejected and (mode == "strict" or not verdict.accepted):
        raise Problem(
            "rejected_rows",
            f"{verdict.rejected} of {verdict.rows} events are not valid; none was taken.",
            **verdict.report,
        )
    taken = [events[number - 1] for number in numbers]
    told = headers(principal.tenant)
    await log.send(
        [
            Message(data_type, one.entity, one.document, [*told, (EVENT_HEADER, one.id.encode())])
            for one in taken
        ]
    )
    request.state.rows = verdict.rows
    tenant = core.metrics.tenant(principal.tenant)
    core.metrics.events.labels("acknowledged").inc(len(taken))
    core.metrics.rows.labels(data_type, "accepted", tenant).inc(len(taken))
    core.metrics.rows.labels(data_type, "rejected", tenant).inc(verdict.rejected)
    return Json({**verdict.report, "event_ids": [one.id for one in taken]}, 202)


def _events(found: Body, data_type: str, key: str | None, settings: ServiceSettings) -> list[Event]:
    try:
        return events_of(found, data_type, key, settings)
    except SchemaError as error:
        raise Problem("unreadable", for_clients(error)) from None


ROUTE: Final = router.routes[0]
