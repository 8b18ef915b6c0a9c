"""Routes that take deliveries, and those that tell what became of them."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import orjson
import pyarrow as pa
from fastapi import APIRouter, Path, Query, Request, Response

from training_assets.lake import Store
from training_assets.service.access import Principal
from training_assets.service.bodies import Body
from training_assets.service.core import Core
from training_assets.service.documents import answers, body
from training_assets.service.judging import as_error, judge_body, table_of
from training_assets.service.limits import BYTES, REQUESTS, ROWS
from training_assets.service.problems import Problem
from training_assets.service.receipts import (
    Asked,
    Receipt,
    find_receipt,
    indexed,
    is_upload_id,
)
from training_assets.service.rejects import FAULTS
from training_assets.service.requests import (
    Json,
    core_of,
    idempotency_key,
    principal_of,
    with_body,
)
from training_assets.service.shapes import format_of
from training_assets.service.uploads import Accepted
from training_assets.sources.judged import Fault

router: Final = APIRouter(tags=["deliver"])
DATA_TYPES: Final = ("interactions", "items", "users")
_MAX_LISTED: Final = 1000
_MAX_USAGE_DAYS: Final = 31
_UPLOAD_PROBLEMS: Final = (
    "unreadable",
    "unknown_data_type",
    "timeout",
    "too_large",
    "unsupported_format",
    "rejected_rows",
    "disk_full",
)
_EXAMPLE: Final = {
    "user_id": "u-1",
    "item_id": "i-7",
    "interaction_type": "click",
    "timestamp": "2026-11-20T10:00:00Z",
}
Mode = Literal["strict", "partial"]
DataType = Annotated[
    str, Query(max_length=100, json_schema_extra={"enum": list(DATA_TYPES)}, examples=["items"])
]
_Backfill = Annotated[bool, Query(description="File every row by its own time, closed days too.")]
_UploadId = Annotated[str, Path(max_length=64, examples=["9f2c1e7ab3d8456e8f10c2d4a6b80e12"])]
_KEY_HEADER: Final = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "The same key counts once; without one, the same content does.",
            "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
        }
    ]
}


@router.post(
    "/internal/data/upload-csv",
    status_code=201,
    summary="Deliver a file",
    responses=answers({201: "Upload", 200: "Upload"}, *_UPLOAD_PROBLEMS),
    openapi_extra={
        **body("multipart/form-data", "text/csv", "application/octet-stream"),
        **_KEY_HEADER,
    },
)
async def upload_file(
    request: Request, data_type: DataType, mode: Mode = "strict", backfill: _Backfill = False
) -> Response:
    """CSV, JSON lines or Parquet, by content; multipart with one file, or the file as the body;
    also gzip or zstd. `strict` stores nothing if one row is bad, `partial` the good ones."""
    return await _upload(request, data_type, mode, backfill, takes_any=True)


def _json_route(data_type: str) -> None:
    @router.post(
        f"/internal/data/{data_type}",
        status_code=201,
        name=f"upload_{data_type}",
        summary=f"Deliver {data_type} as JSON",
        responses=answers({201: "Upload", 200: "Upload"}, *_UPLOAD_PROBLEMS),
        openapi_extra={
            **body(
                "application/json",
                "application/x-ndjson",
                example=_EXAMPLE if data_type == "interactions" else None,
            ),
            **_KEY_HEADER,
        },
    )
    async def upload_json(
        request: Request, mode: Mode = "strict", backfill: _Backfill = False
    ) -> Response:
        """One object, an array of them, or one a line."""
        return await _upload(request, data_type, mode, backfill, takes_any=False)


for _data_type in DATA_TYPES:
    _json_route(_data_type)


async def _upload(
    request: Request, data_type: str, mode: Mode, backfill: bool, *, takes_any: bool
) -> Response:
    core = core_of(request)
    principal = await principal_of(request, "upload")
    table_of(data_type)
    asked = Asked(
        tenant=principal.tenant,
        data_type=data_type,
        mode=mode,
        key=idempotency_key(request),
        backfill=backfill,
        principal=principal.id,
        request_id=request.state.request_id,
    )

    def accept(found: Body) -> Accepted:
        if not takes_any and format_of(found) not in ("json", "jsonl"):
            raise Problem("unsupported_format", "The body is not JSON; expected an object.")
        uploads = core.uploads(principal.tenant)
        return uploads.accept(asked, found, lambda n: core.limits.take(principal, ROWS, n))

    with core.limits.upload(principal):
        try:
            accepted = await with_body(request, principal, accept)
        except Problem as problem:
            _count_refused(core, principal, data_type, problem)
            raise
    _count_accepted(core, request, accepted)
    return Json(
        _shown(core, accepted.receipt, accepted.is_replay, accepted.is_delivered)
        | ({"warnings": list(accepted.warnings)}),
        status_code=200 if accepted.is_replay else 201,
        headers={"Location": f"/internal/data/uploads/{accepted.receipt.id}"},
    )


def _shown(core: Core, receipt: Receipt, is_replay: bool, is_delivered: bool) -> dict[str, Any]:
    event = "none"
    if core.publisher is not None:
        event = "published" if is_delivered else "pending"
    state = {"replayed": is_replay, "delivered": is_delivered, "event": event}
    return receipt.public | state


def _count_accepted(core: Core, request: Request, accepted: Accepted) -> None:
    receipt = accepted.receipt
    request.state.upload_id = receipt.id
    request.state.rows = receipt.rows
    if accepted.is_replay:
        return
    tenant = core.metrics.tenant(receipt.tenant)
    rows = core.metrics.rows
    rows.labels(receipt.data_type, "accepted", tenant).inc(receipt.accepted)
    rows.labels(receipt.data_type, "rejected", tenant).inc(receipt.rejected)
    core.metrics.bytes.labels(receipt.data_type, tenant).inc(receipt.bytes)
    _count_codes(core, receipt.data_type, tenant, receipt.counts)


def _count_refused(core: Core, principal: Principal, data_type: str, problem: Problem) -> None:
    tenant = core.metrics.tenant(principal.tenant)
    if problem.kind == "rejected_rows":
        rejected = problem.members["rejected"]
        core.metrics.rows.labels(data_type, "rejected", tenant).inc(rejected)
        _count_codes(core, data_type, tenant, problem.members["counts"])


def _count_codes(core: Core, data_type: str, tenant: str, counts: Any) -> None:
    for one in counts:
        core.metrics.rejects.labels(data_type, one["code"], tenant).inc(one["count"])


@router.get(
    "/internal/data/uploads",
    summary="Accepted uploads of a day",
    responses=answers({200: "Uploads"}, "invalid_parameter"),
)
async def list_uploads(
    request: Request,
    day: Annotated[date | None, Query(description="Of arrival, UTC; default today.")] = None,
    limit: Annotated[int, Query(ge=1, le=_MAX_LISTED)] = 100,
) -> Response:
    """Newest first."""
    core = core_of(request)
    principal = await principal_of(request, "read")
    wanted = day or datetime.now(UTC).date()
    store = core.tenants.store(principal.tenant)
    found = await core.workers.run(0, lambda: indexed(store, wanted)[:limit])
    return Json({"day": str(wanted), "uploads": [vars(one) for one in found]})


@router.get(
    "/internal/data/uploads/{upload_id}",
    summary="What became of an upload",
    responses=answers({200: "Upload"}, "not_found", "invalid_parameter"),
)
async def get_upload(request: Request, upload_id: _UploadId) -> Response:
    """Its receipt, and whether it is delivered and announced."""
    core = core_of(request)
    principal = await principal_of(request, "read")

    def find() -> dict[str, Any]:
        receipt = _receipt(core, principal, upload_id)
        is_pending = core.outbox(principal.tenant).is_pending(receipt)
        return _shown(core, receipt, False, not is_pending)

    return Json(await core.workers.run(0, find))


@router.get(
    "/internal/data/uploads/{upload_id}/errors",
    summary="Refused rows of an upload",
    responses=answers({200: "UploadErrors"}, "not_found", "invalid_parameter"),
)
async def get_upload_errors(
    request: Request,
    upload_id: _UploadId,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=_MAX_LISTED)] = _MAX_LISTED,
) -> Response:
    """Every fault, by row; of an upload in mode `partial`."""
    core = core_of(request)
    principal = await principal_of(request, "read")

    def find() -> dict[str, Any]:
        receipt = _receipt(core, principal, upload_id)
        store = core.tenants.store(principal.tenant)
        total, errors = _faults(store, receipt, offset, limit)
        return {"id": receipt.id, "total": total, "errors": errors}

    return Json(await core.workers.run(0, find))


def _receipt(core: Core, principal: Principal, upload_id: str) -> Receipt:
    if is_upload_id(upload_id):
        found = find_receipt(core.tenants.store(principal.tenant), upload_id)
        if found is not None:
            return found
    raise Problem("not_found", "There is no accepted upload with that id.")


def _faults(
    store: Store, receipt: Receipt, offset: int, limit: int
) -> tuple[int, list[dict[str, Any]]]:
    total = sum(one["count"] for one in receipt.counts)
    if receipt.rejects is None:
        return 0, []
    packed = store.read(f"{receipt.rejects}/{FAULTS}")
    errors = []
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
        for number, line in enumerate(_lines(stream)):
            if number >= offset + limit:
                break
            if number >= offset:
                errors.append(as_error(Fault(**orjson.loads(line))))
    return total, errors


def _lines(stream: Any) -> Any:
    waiting = b""
    while step := stream.read(2**20):
        *lines, waiting = (waiting + step).split(b"\n")
        yield from lines


@router.get(
    "/internal/usage",
    summary="Totals by day",
    responses=answers({200: "Usage"}, "invalid_parameter"),
)
async def get_usage(
    request: Request, days: Annotated[int, Query(ge=1, le=_MAX_USAGE_DAYS)] = 7
) -> Response:
    """Uploads, rows and bytes that were accepted, by day of arrival."""
    core = core_of(request)
    principal = await principal_of(request, "read")
    store = core.tenants.store(principal.tenant)
    today = datetime.now(UTC).date()
    wanted = [today - timedelta(days=n) for n in range(days)]
    found = await core.workers.run(0, lambda: [_usage(store, day) for day in wanted])
    names = ("uploads", "accepted", "rejected", "bytes")
    totals = {name: sum(one[name] for one in found) for name in names}
    return Json({"days": found, "totals": totals})


def _usage(store: Store, day: date) -> dict[str, Any]:
    found = indexed(store, day)
    return {
        "day": str(day),
        "uploads": len(found),
        "accepted": sum(one.accepted for one in found),
        "rejected": sum(one.rejected for one in found),
        "bytes": sum(one.bytes for one in found),
    }


@router.get("/internal/limits", summary="The limits in force", responses=answers({200: "Limits"}))
async def get_limits(request: Request) -> Response:
    """Of an upload, and what of the running minute is left."""
    core = core_of(request)
    principal = await principal_of(request, "read")
    settings = core.settings
    upload = {
        "packed_bytes": settings.max_packed_bytes,
        "bytes": settings.max_bytes,
        "ratio": settings.max_ratio,
        "rows": settings.max_rows,
        "columns": settings.max_columns,
        "line_bytes": settings.max_line_bytes,
        "nesting": settings.max_nesting,
        "days": settings.max_days,
        "at_once": settings.uploads_at_once,
        "events": settings.max_events,
        "event_bytes": settings.max_event_bytes,
    }
    most = core.limits.of(principal)
    minute = {
        name: {"most": most[name], "left": core.limits.left(principal, name)}
        for name in (REQUESTS, ROWS, BYTES)
    }
    return Json({"upload": upload, "minute": minute})


@router.post(
    "/api/validation/validate",
    tags=["validate"],
    summary="Judge a delivery, and store nothing",
    responses=answers({200: "Validation"}, *_UPLOAD_PROBLEMS),
    openapi_extra=body(
        "text/csv",
        "application/json",
        "application/x-ndjson",
        "multipart/form-data",
        example=[_EXAMPLE],
    ),
)
async def validate(request: Request, data_type: DataType) -> Response:
    """The same verdict as that of an upload; 200 also where rows are bad."""
    core = core_of(request)
    principal = await principal_of(request, "validate")
    table_of(data_type)

    def judged(found: Body) -> dict[str, Any]:
        verdict = judge_body(found, data_type, core.settings)
        core.limits.take(principal, ROWS, verdict.rows)
        request.state.rows = verdict.rows
        return {"valid": not verdict.rejected, **verdict.report}

    with core.limits.upload(principal):
        return Json(await with_body(request, principal, judged))
