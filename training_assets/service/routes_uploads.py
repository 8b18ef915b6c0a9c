"""Routes that take deliveries, and the one that only judges them."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from training_assets.service.access import Principal
from training_assets.service.bodies import Body
from training_assets.service.core import Core
from training_assets.service.documents import answers, body
from training_assets.service.judging import judge_body, table_of
from training_assets.service.limits import ROWS
from training_assets.service.problems import Problem
from training_assets.service.receipts import (
    Asked,
)
from training_assets.service.requests import (
    Json,
    core_of,
    idempotency_key,
    principal_of,
    with_body,
)
from training_assets.service.routes_receipts import shown_receipt
from training_assets.service.shapes import format_of
from training_assets.service.terms import deliveries_of
from training_assets.service.uploads import Accepted

router: Final = APIRouter(tags=["deliver"])
DATA_TYPES: Final = ("interactions", "items", "users")
_UPLOAD_PROBLEMS: Final = (
    "unreadable",
    "unknown_data_type",
    "timeout",
    "too_large",
    "unsupported_format",
    "rejected_rows",
    "disk_full",
    "not_configured",
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
        shown_receipt(core, accepted.receipt, accepted.is_replay, accepted.done)
        | ({"warnings": list(accepted.warnings)}),
        status_code=200 if accepted.is_replay else 201,
        headers={"Location": f"/internal/data/uploads/{accepted.receipt.id}"},
    )


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
        by = deliveries_of(core.tenants.lake(principal.tenant), data_type)
        verdict = judge_body(found, data_type, core.settings, by)
        core.limits.take(principal, ROWS, verdict.rows)
        request.state.rows = verdict.rows
        return {"valid": not verdict.rejected, **verdict.report}

    with core.limits.upload(principal):
        return Json(await with_body(request, principal, judged))
