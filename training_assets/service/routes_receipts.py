"""Routes that tell what became of deliveries, and how much may be delivered."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

import orjson
import pyarrow as pa
from fastapi import APIRouter, Path, Query, Request, Response

from training_assets.lake import Store
from training_assets.service.access import Principal
from training_assets.service.core import Core
from training_assets.service.documents import answers
from training_assets.service.judging import as_error
from training_assets.service.limits import BYTES, REQUESTS, ROWS
from training_assets.service.outbox import Done
from training_assets.service.problems import Problem
from training_assets.service.receipts import Receipt, find_receipt, indexed, is_upload_id
from training_assets.service.rejects import FAULTS
from training_assets.service.requests import Json, core_of, principal_of
from training_assets.sources.judged import Fault

router: Final = APIRouter(tags=["deliver"])
_MAX_LISTED: Final = 1000
_MAX_USAGE_DAYS: Final = 31
_UploadId = Annotated[str, Path(max_length=64, examples=["9f2c1e7ab3d8456e8f10c2d4a6b80e12"])]


def shown_receipt(core: Core, receipt: Receipt, is_replay: bool, done: Done) -> dict[str, Any]:
    """A receipt as clients see it, with what became of it."""
    event = "none"
    if core.publisher is not None:
        event = "published" if done.is_announced else "pending"
    state = {"replayed": is_replay, "delivered": done.is_delivered, "event": event}
    return receipt.public | state


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
        done = core.outbox(principal.tenant).done(receipt)
        return shown_receipt(core, receipt, False, done)

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
