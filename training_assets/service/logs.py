"""One line a request, as JSON or for people; never a key, a token or content."""

import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import orjson
import structlog

from training_assets.sources import printable

_MAX_TEXT: Final = 500


def new_logger(style: str, stream: TextIO | None = None) -> Any:
    """A logger to standard output; ``style`` is "json" or "console"."""
    renderer: Any = structlog.processors.JSONRenderer(_written)
    if style == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=False)
    return structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stdout),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _escaped,
            renderer,
        ],
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _written(event: Any, default: Any) -> str:
    return orjson.dumps(event, default=default).decode()


def _escaped(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable(value)[:_MAX_TEXT]
    return event
