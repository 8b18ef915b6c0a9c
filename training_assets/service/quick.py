"""What comes a thousand times a second, answered without being routed, which takes longer.

Of requests in their plainest form; all others are routed, and the same code answers them.
"""

import re
from collections.abc import Coroutine
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from training_assets.service import routes_events, routes_features

_ENTITY: Final = re.compile(r"/api/features/(?P<kind>users|items)/(?P<id>[^/\n]{1,255})")
_EVENTS: Final = "/internal/data/events"
# By query, the type of the events.
_DATA_TYPES: Final = {
    b"": "interactions",
    b"data_type=interactions": "interactions",
    b"data_type=items": "items",
}


class QuickRoutes:
    """Before the router, and within what goes around each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = _answering(scope, receive) if scope["type"] == "http" else None
        answer = self._app if answering is None else await answering
        await answer(scope, receive, send)


def _answering(scope: Scope, receive: Receive) -> Coroutine[Any, Any, Response] | None:
    method, path, query = scope["method"], scope["path"], scope["query_string"]
    if method == "GET" and not query and (found := _ENTITY.fullmatch(path)):
        kind: routes_features.Kind = "users" if found["kind"] == "users" else "items"
        scope["route"] = routes_features.ROUTES[kind]
        return routes_features.answer_one(Request(scope, receive), kind, found["id"])
    if method == "POST" and path == _EVENTS and query in _DATA_TYPES:
        scope["route"] = routes_events.ROUTE
        return routes_events.answer_events(Request(scope, receive), _DATA_TYPES[query], "partial")
    return None
