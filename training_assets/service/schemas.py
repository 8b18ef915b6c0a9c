"""JSON Schema of every body that is answered or asked for, and examples."""

from collections.abc import Mapping
from typing import Any, Final, get_args

from training_assets.service.problems import schema
from training_assets.sources.judged import Code

CODES: Final[tuple[str, ...]] = get_args(Code)
_COUNT: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "string", "format": "date-time"}


def ref(name: str) -> dict[str, Any]:
    """Names one of ``SCHEMAS``."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(of: Any) -> dict[str, Any]:
    return {"type": "array", "items": of}


_REPORT: Final = {
    "rows": _COUNT,
    "accepted": _COUNT,
    "rejected": _COUNT,
    "counts": _list(ref("Count")),
    "warnings": _list(ref("Count")),
}
_UPLOAD: Final = {
    "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "data_type": _TEXT,
    "mode": {"type": "string", "enum": ["strict", "partial"]},
    "format": _TEXT,
    "backfill": {"type": "boolean"},
    "sha256": _TEXT,
    "bytes": _COUNT,
    **_REPORT,
    "received_at": _TIME,
    "request_id": _TEXT,
    "days": {"type": "object", "additionalProperties": _COUNT},
    "files": _list(_TEXT),
    "replay_of": {"type": ["string", "null"]},
    "replayed": {"type": "boolean"},
    "delivered": {"type": "boolean"},
    "event": {"type": "string", "enum": ["published", "pending", "none"]},
}
_STATE: Final = _object(
    "state",
    state={"type": "string", "enum": ["ok", "degraded", "down"]},
    latency_ms={"type": ["number", "null"]},
)
SCHEMAS: Final[Mapping[str, Any]] = {
    "Problem": schema(),
    "Count": _object(
        "column code count",
        column=_TEXT,
        code={"type": "string", "enum": list(CODES)},
        count=_COUNT,
    ),
    "RowError": _object(
        "row code message",
        row=_COUNT,
        line={"type": ["integer", "null"]},
        column={"type": ["string", "null"]},
        code={"type": "string", "enum": list(CODES)},
        message=_TEXT,
        value={"type": ["string", "null"], "maxLength": 400},
    ),
    "Upload": _object("id data_type rows accepted rejected days delivered event", **_UPLOAD),
    "Uploads": _object(
        "day uploads",
        day={"type": "string", "format": "date"},
        uploads=_list(
            _object(
                "id data_type accepted rejected bytes received_at",
                id=_TEXT,
                data_type=_TEXT,
                accepted=_COUNT,
                rejected=_COUNT,
                bytes=_COUNT,
                received_at=_TIME,
            )
        ),
    ),
    "UploadErrors": _object(
        "id total errors", id=_TEXT, total=_COUNT, errors=_list(ref("RowError"))
    ),
    "Usage": _object(
        "days totals",
        days=_list(_object("day uploads accepted rejected bytes", day=_TEXT)),
        totals=_object("uploads accepted rejected bytes"),
    ),
    "Limits": _object(
        "upload minute",
        upload={"type": "object", "additionalProperties": _COUNT},
        minute={"type": "object", "additionalProperties": _object("most left")},
    ),
    "Validation": _object(
        "valid rows accepted rejected counts errors",
        valid={"type": "boolean"},
        **_REPORT,
        errors=_list(ref("RowError")),
        truncated={"type": "boolean"},
    ),
    "Events": _object(
        "accepted rejected event_ids",
        accepted=_COUNT,
        rejected=_COUNT,
        event_ids=_list(_TEXT),
        counts=_list(ref("Count")),
        warnings=_list(ref("Count")),
        errors=_list(ref("RowError")),
        rows=_COUNT,
        truncated={"type": "boolean"},
    ),
    "JsonSchema": {"type": "object"},
    "Health": _object(
        "status checks",
        status={"type": "string", "enum": ["ok", "degraded", "down"]},
        checks={"type": "object", "additionalProperties": _STATE},
    ),
    "Live": _object("status", status=_TEXT),
    "About": _object("name version links", name=_TEXT, version=_TEXT),
    "Features": _object(
        "id state dt version values",
        id=_TEXT,
        state={"type": "string", "enum": ["found", "stale", "expired", "not_found"]},
        dt={"type": ["string", "null"], "format": "date"},
        age_seconds={"type": ["number", "null"]},
        version={"type": ["string", "null"]},
        values={"type": ["object", "null"]},
    ),
    "FeatureQuery": _object(
        "ids",
        ids={
            "type": "array",
            "maxItems": 1000,
            "items": {"anyOf": [{"type": "string", "maxLength": 255}, {"type": "integer"}]},
        },
        features={"type": ["array", "null"], "items": _TEXT},
    ),
    "RunQuery": _object(
        "assets start_date",
        assets={
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"},
        },
        start_date={"type": "string", "format": "date"},
        end_date={"type": ["string", "null"], "format": "date"},
    ),
    "FeatureList": _object("results", results=_list(ref("Features"))),
    "Run": _object("run_id status", run_id=_TEXT, status=_TEXT),
}
EXAMPLES: Final[Mapping[str, Any]] = {
    "Upload": {
        "id": "9f2c1e7ab3d8456e8f10c2d4a6b80e12",
        "data_type": "interactions",
        "rows": 2,
        "accepted": 2,
        "rejected": 0,
        "days": {"2026-11-20": 2},
        "files": [
            "raw/interactions/dt=2026-11-20/u-9f2c1e7ab3d8456e8f10c2d4a6b80e12-00000.parquet"
        ],
        "replayed": False,
        "delivered": True,
        "event": "none",
    },
    "Validation": {
        "valid": False,
        "rows": 2,
        "accepted": 1,
        "rejected": 1,
        "counts": [{"column": "rating", "code": "out_of_range", "count": 1}],
        "warnings": [],
        "errors": [
            {
                "row": 2,
                "line": 3,
                "column": "rating",
                "code": "out_of_range",
                "message": "rating is above 5",
                "value": "9",
            }
        ],
        "truncated": False,
    },
}
