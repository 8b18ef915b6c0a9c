"""Routes that start runs on demand."""

import re
from datetime import date
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Request, Response

from training_assets.service.documents import answers
from training_assets.service.problems import Problem
from training_assets.service.requests import Json, core_of, principal_of, small_body
from training_assets.service.runs import Runs

router: Final = APIRouter(tags=["runs"])
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RUN_ID: Final = re.compile(r"[0-9a-f-]{36}")
_MAX_BODY: Final = 64 * 2**10
_MAX_DAYS: Final = 366
_MAX_ASSETS: Final = 50


@router.post(
    "/api/runs",
    status_code=202,
    summary="Materialize assets over a range of days",
    responses=answers(
        {202: "Run"}, "unreadable", "invalid_parameter", "timeout", "too_large", "not_configured"
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/RunQuery"},
                    "example": {
                        "assets": ["unified_actions"],
                        "start_date": "2026-11-01",
                        "end_date": "2026-11-07",
                    },
                }
            },
        }
    },
)
async def start_run(request: Request) -> Response:
    """Through Dagster; answers as soon as the run is queued."""
    core = core_of(request)
    principal = await principal_of(request, "run")
    runs = _runs(request)
    core.require_running()
    assets, first, last = await _query(request)
    started = await core.workers.run(
        0, lambda: runs.launch(principal.tenant, [[name] for name in assets], first, last)
    )
    return Json(started, 202, headers={"Location": f"/api/runs/{started['run_id']}"})


@router.get(
    "/api/runs/{run_id}",
    summary="How a run is",
    responses=answers({200: "Run"}, "not_found", "invalid_parameter", "not_configured"),
)
async def get_run(request: Request, run_id: Annotated[str, Path(max_length=64)]) -> Response:
    """Of a run that this tenant started here."""
    core = core_of(request)
    principal = await principal_of(request, "run")
    runs = _runs(request)
    if not _RUN_ID.fullmatch(run_id):
        raise Problem("not_found", "There is no such run.")
    return Json(await core.workers.run(0, lambda: runs.status(principal.tenant, run_id)))


def _runs(request: Request) -> Runs:
    url = core_of(request).settings.dagster
    if not url:
        raise Problem("not_configured", "No Dagster is set up here (TRAINING_ASSETS_DAGSTER).")
    return Runs(url)


async def _query(request: Request) -> tuple[list[str], date, date]:
    content = await small_body(request, _MAX_BODY)
    try:
        found: dict[str, Any] = orjson.loads(content)
        assets = found["assets"]
        first = date.fromisoformat(found["start_date"])
        last = date.fromisoformat(found.get("end_date") or found["start_date"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Problem(
            "unreadable", "The body does not name assets, start_date and end_date."
        ) from None
    are_names = isinstance(assets, list) and all(
        isinstance(name, str) and _NAME.fullmatch(name) for name in assets
    )
    if not are_names or not 1 <= len(assets) <= _MAX_ASSETS:
        raise Problem("unreadable", f"assets are not 1 to {_MAX_ASSETS} names of assets.")
    if not 0 <= (last - first).days < _MAX_DAYS:
        raise Problem("unreadable", f"The days are not a range of at most {_MAX_DAYS}.")
    return assets, first, last
