"""The route for small requests, often: rows go to the log first, and to the lake from there."""

import secrets
import time
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response

from training_assets.service.bodies import Body
from training_assets.service.documents import answers, body
from training_assets.service.event_log import EventLog, Message
from training_assets.service.judging import judge_documents
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
from training_assets.service.shapes import format_of, require_shape
from training_assets.service.topics import ROW_TOPICS, headers

router: Final = APIRouter(tags=["deliver"])
_EXAMPLE: Final = {
    "interaction_id": "e-1",
    "user_id": "u-1",
    "item_id": "i-7",
    "interaction_type": "click",
    "timestamp": "2026-11-20T10:00:00Z",
}
_ID_COLUMN: Final = {"interactions": "interaction_id"}


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
    events = await with_body(
        request, principal, lambda found: _judged(found, data_type, mode, key, core.settings)
    )
    core.limits.take(principal, ROWS, max(1, events.report["rows"]))
    await log.send(
        [
            Message(data_type, entity, value, headers(principal.tenant, event_id))
            for entity, event_id, value in events.taken
        ]
    )
    request.state.rows = events.report["rows"]
    tenant = core.metrics.tenant(principal.tenant)
    core.metrics.events.labels("acknowledged").inc(len(events.taken))
    core.metrics.rows.labels(data_type, "accepted", tenant).inc(len(events.taken))
    core.metrics.rows.labels(data_type, "rejected", tenant).inc(events.report["rejected"])
    ids = [event_id for _, event_id, _ in events.taken]
    return Json({**events.report, "event_ids": ids}, 202)


@dataclass(frozen=True)
class _Events:
    """Good rows as (key, event id, JSON), and the report of all."""

    taken: list[tuple[str, str, bytes]]
    report: dict[str, Any]


def _judged(
    found: Body, data_type: str, mode: str, key: str | None, settings: ServiceSettings
) -> _Events:
    documents = _documents(found, settings)
    verdict, numbers = judge_documents(documents, data_type, settings)
    if verdict.rejected and (mode == "strict" or not verdict.accepted):
        raise Problem(
            "rejected_rows",
            f"{verdict.rejected} of {verdict.rows} events are not valid; none was taken.",
            **verdict.report,
        )
    taken = []
    for number in numbers:
        row = orjson.loads(documents[number - 1])
        event_id = _event_id(row, data_type, key, number)
        if data_type in _ID_COLUMN:
            row[_ID_COLUMN[data_type]] = event_id
        entity = row.get(ROW_TOPICS[data_type], "")
        taken.append((str(entity), event_id, orjson.dumps(row)))
    return _Events(taken, verdict.report)


def _event_id(row: dict[str, Any], data_type: str, key: str | None, number: int) -> str:
    given = row.get(_ID_COLUMN.get(data_type, ""))
    if given not in (None, ""):
        return str(given)
    return f"{key}:{number}" if key is not None else _new_id()


def _new_id() -> str:
    """Of 128 bits, in the order of time (UUID version 7)."""
    milliseconds = time.time_ns() // 1_000_000
    bits = (milliseconds << 80) | (0x7 << 76) | (secrets.randbits(12) << 64)
    bits |= (0b10 << 62) | secrets.randbits(62)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _documents(found: Body, settings: ServiceSettings) -> list[bytes]:
    """Each event as JSON; one that is no JSON as it was sent, so that its row is refused."""
    kind = format_of(found)
    if kind not in ("json", "jsonl"):
        raise Problem("unsupported_format", "The body is not JSON; expected an object.")
    require_shape(found, kind, settings)
    content = found.file.read()
    if kind == "jsonl":
        documents = [line.strip() for line in content.split(b"\n") if line.strip()]
    else:
        try:
            parsed = orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError:
            raise Problem("unreadable", "The body is not whole JSON.") from None
        rows = parsed if isinstance(parsed, list) else [parsed]
        documents = [orjson.dumps(row) for row in rows]
    if not documents:
        raise Problem("unreadable", "There are no events.")
    if len(documents) > settings.max_events:
        raise Problem("too_large", f"There are more than {settings.max_events} events.")
    if max(map(len, documents)) > settings.max_event_bytes:
        raise Problem("too_large", f"An event is larger than {settings.max_event_bytes} bytes.")
    return documents
