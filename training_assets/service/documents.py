"""The OpenAPI document: every body, every error and how to authenticate."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from training_assets.service.problems import KINDS, MEDIA_TYPE
from training_assets.service.schemas import EXAMPLES, SCHEMAS, ref

_DESCRIPTION: Final = """
Deliver interactions, items and users; read features by key. Nothing is answered with 2xx before it
is durable. Send an `Idempotency-Key` and repeat a request as often as you like: it counts once.
"""
_OF_EVERY_CALL: Final = ("unauthenticated", "forbidden", "limited", "unavailable")


def answers(
    successes: Mapping[int, str], *kinds: str, is_open: bool = False
) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route: schema names by status, and the problems that it may answer."""
    found: dict[int | str, dict[str, Any]] = {}
    for status, name in successes.items():
        content: dict[str, Any] = {"schema": ref(name)}
        if name in EXAMPLES:
            content["example"] = EXAMPLES[name]
        found[status] = {"description": name, "content": {"application/json": content}}
    for kind in (*kinds, *(() if is_open else _OF_EVERY_CALL)):
        status, title = KINDS[kind]
        if status in found:
            known = found[status]["description"]
            found[status]["description"] = known if title in known else f"{known}; {title}"
            continue
        found[status] = {
            "description": title,
            "content": {MEDIA_TYPE: {"schema": ref("Problem"), "example": _example(kind)}},
        }
        if status in (429, 503):
            found[status]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
    return found


def _example(kind: str) -> dict[str, Any]:
    status, title = KINDS[kind]
    example: dict[str, Any] = {
        "type": f"urn:training-assets:problem:{kind}",
        "title": title,
        "status": status,
        "detail": f"{title}.",
    }
    if kind == "rejected_rows":
        example |= {
            "rows": 2,
            "accepted": 1,
            "rejected": 1,
            "counts": [{"column": "rating", "code": "out_of_range", "count": 1}],
        }
    return example


def body(*media: str, example: Any = None) -> dict[str, Any]:
    """``openapi_extra`` of a route that reads its body itself."""
    content: dict[str, Any] = {}
    for kind in media:
        text: dict[str, Any] = {"schema": {"type": "string"}}
        if kind == "multipart/form-data":
            text = {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        elif kind == "application/json":
            record = {"type": "object"}
            text = {"schema": {"oneOf": [record, {"type": "array", "items": record}]}}
            if example is not None:
                text["example"] = example
        content[kind] = text
    return {"requestBody": {"required": True, "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document, made once."""
    if app.openapi_schema:
        return app.openapi_schema
    found = get_openapi(
        title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes
    )
    components = found.setdefault("components", {})
    components["schemas"] = dict(SCHEMAS)
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of 'training-assets keys create', or a token of the issuer.",
        }
    }
    for path, operations in found["paths"].items():
        for operation in operations.values():
            # FastAPI's own error, which is never answered here.
            if operation["responses"].get("422", {}).get("content", {}).get("application/json"):
                del operation["responses"]["422"]
            if path.startswith(("/internal", "/api")):
                operation["security"] = [{"bearer": []}]
    app.openapi_schema = found
    return found
