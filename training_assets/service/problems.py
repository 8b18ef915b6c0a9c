"""What a client is told when something is wrong: RFC 9457, ``application/problem+json``."""

from collections.abc import Mapping
from typing import Any, Final

MEDIA_TYPE: Final = "application/problem+json"
_URN: Final = "urn:training-assets:problem:"
# By short name: HTTP status and title. The list is closed, and the docs show it.
KINDS: Final[Mapping[str, tuple[int, str]]] = {
    "unreadable": (400, "The body cannot be read"),
    "invalid_parameter": (400, "A parameter is not valid"),
    "unauthenticated": (401, "A valid key or token is needed"),
    "forbidden": (403, "The key may not do this"),
    "not_found": (404, "There is no such thing"),
    "unknown_data_type": (404, "The data type is unknown"),
    "method_not_allowed": (405, "The method is not allowed here"),
    "timeout": (408, "The body came too slowly"),
    "too_large": (413, "A limit of size is exceeded"),
    "unsupported_format": (415, "The format is not taken"),
    "rejected_rows": (422, "Rows are not valid"),
    "key_reused": (422, "The idempotency key belongs to other content"),
    "limited": (429, "Too much in too short a time"),
    "failed": (500, "Something went wrong here"),
    "not_configured": (501, "This is not set up here"),
    "unavailable": (503, "Not possible at the moment"),
    "disk_full": (507, "There is no room left"),
}
RETRY_SECONDS: Final = 5


class Problem(Exception):  # noqa: N818 - the RFC calls it so
    """Raised anywhere below a request; becomes the answer. ``detail`` never holds a secret."""

    def __init__(
        self, kind: str, detail: str, *, retry_after: float | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.members = members
        self.status, self.title = KINDS[kind]
        if retry_after is None and self.status in (429, 503):
            retry_after = RETRY_SECONDS
        self.retry_after = retry_after
        self.allowed = ""

    @property
    def headers(self) -> dict[str, str]:
        found = {"Content-Type": MEDIA_TYPE}
        if self.retry_after is not None:
            found["Retry-After"] = str(max(1, round(self.retry_after + 0.5)))
        if self.allowed:
            found["Allow"] = self.allowed
        if self.status == 401:
            found["WWW-Authenticate"] = 'Bearer realm="training-assets"'
        return found

    @property
    def body(self) -> dict[str, Any]:
        return {
            "type": _URN + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }


def schema() -> dict[str, Any]:
    """JSON Schema of every error body."""
    count = {"type": "integer", "minimum": 0}
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": [_URN + kind for kind in KINDS]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "request_id": {"type": "string"},
            "known": {"type": "array", "items": {"type": "string"}},
            "rows": count,
            "accepted": count,
            "rejected": count,
            "counts": {"type": "array", "items": {"$ref": "#/components/schemas/Count"}},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/RowError"}},
            "truncated": {"type": "boolean"},
        },
    }
