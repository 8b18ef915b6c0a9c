"""Routes that read features by key from the online store of the tenant."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.routing import APIRoute

from training_assets.errors import DayNotPublishedError, SettingsError
from training_assets.online import Answer
from training_assets.service.core import Core
from training_assets.service.documents import answers
from training_assets.service.problems import Problem
from training_assets.service.requests import Json, core_of, principal_of, small_body

router: Final = APIRouter(tags=["features"])
Kind = Literal["users", "items"]
_MAX_IDS: Final = 1000
_MAX_BODY: Final = 2**20
_Features = Annotated[
    str | None, Query(max_length=10_000, description="Names with commas; all by default.")
]
_Version = Annotated[str | None, Query(max_length=200, description="A kept version, pinned.")]
_Id = Annotated[str, Path(max_length=255, examples=["17"])]


def _routes(kind: Kind) -> None:
    @router.get(
        f"/api/features/{kind}/{{entity_id}}",
        name=f"get_{kind}",
        summary=f"Features of one of the {kind}",
        responses=answers({200: "Features"}, "not_found", "invalid_parameter"),
    )
    async def get_one(
        request: Request, entity_id: _Id, features: _Features = None, version: _Version = None
    ) -> Response:
        """As of the last loaded day, with that day and its age; `expired` ones have no values."""
        return await answer_one(request, kind, entity_id, _names(features), version)

    @router.post(
        f"/api/features/{kind}:batchGet",
        name=f"batch_{kind}",
        summary=f"Features of many {kind}",
        responses=answers(
            {200: "FeatureList"},
            "unreadable",
            "not_found",
            "timeout",
            "too_large",
            "invalid_parameter",
        ),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/FeatureQuery"},
                        "example": {"ids": ["17", "18"]},
                    }
                },
            }
        },
    )
    async def get_many(request: Request, version: _Version = None) -> Response:
        """In the order asked, all of one version; ids without any have the state `not_found`."""
        principal = await principal_of(request, "read")
        query = await _query(request)
        found = await _read(core_of(request), principal.tenant, kind, *query, version)
        return Json({"results": found})


for _kind in ("users", "items"):
    _routes(_kind)  # type: ignore[arg-type]
# By kind, of the read of one.
ROUTES: Final = {
    route.name.removeprefix("get_"): route
    for route in router.routes
    if isinstance(route, APIRoute) and route.name.startswith("get_")
}


async def answer_one(
    request: Request,
    kind: Kind,
    entity_id: str,
    features: list[str] | None = None,
    version: str | None = None,
) -> Response:
    """Features of one id; raises ``Problem``."""
    principal = await principal_of(request, "read")
    read = await _read(core_of(request), principal.tenant, kind, [entity_id], features, version)
    found = read[0]
    if found["state"] == "not_found":
        raise Problem("not_found", "There are no features for that id.")
    return Json(found, headers={"ETag": f'"{found["version"]}"'})


async def _read(
    core: Core,
    tenant: str,
    kind: Kind,
    ids: Sequence[int | str],
    features: list[str] | None,
    version: str | None,
) -> list[dict[str, Any]]:
    store = core.online(tenant)

    def read() -> list[Answer]:
        return store.get(kind, ids, features=features, version=version)

    with core.metrics.feature_seconds.labels(kind).time():
        try:
            # To have a thread do it would take longer than to read a row of a file.
            is_short = store.is_local and len(ids) == 1
            found = read() if is_short else await core.workers.run(0, read)
        except SettingsError:
            raise Problem("invalid_parameter", "A feature of that name is not served.") from None
        except DayNotPublishedError:
            raise Problem("not_found", "That version is not kept.") from None
    for state, count in Counter(one.state for one in found).items():
        core.metrics.feature_requests.labels(kind, state).inc(count)
    if found and found[0].age_seconds is not None:
        core.metrics.feature_age.labels(kind).set(found[0].age_seconds)
    return [_shown(asked, one) for asked, one in zip(ids, found, strict=True)]


def _shown(asked: int | str, answer: Answer) -> dict[str, Any]:
    return {
        "id": str(asked),
        "state": answer.state,
        "dt": str(answer.dt) if answer.dt else None,
        "age_seconds": answer.age_seconds,
        "version": answer.version,
        "values": answer.values,
    }


def _names(features: str | None) -> list[str] | None:
    if features is None:
        return None
    return [name.strip() for name in features.split(",") if name.strip()]


async def _query(request: Request) -> tuple[list[int | str], list[str] | None]:
    """Ids and names of features of a body; raises ``Problem``."""
    content = await small_body(request, _MAX_BODY)
    try:
        found = orjson.loads(content)
        ids, features = found["ids"], found.get("features")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Problem("unreadable", 'The body is not {"ids": [...], "features": [...]}.') from None
    if not isinstance(ids, list) or not all(_is_id(one) for one in ids):
        raise Problem("unreadable", "ids are not texts or integers.")
    if len(ids) > _MAX_IDS:
        raise Problem("too_large", f"There are more than {_MAX_IDS} ids.")
    is_none = features is None
    if not is_none and not (
        isinstance(features, list) and all(isinstance(f, str) for f in features)
    ):
        raise Problem("unreadable", "features are not names.")
    return ids, features


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) < 256
