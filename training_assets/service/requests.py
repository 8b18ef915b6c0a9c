"""What routes ask of a request: who sends it, how, and its body in a file."""

import asyncio
import re
from collections.abc import Callable
from decimal import Decimal
from typing import IO, Any, Final, TypeVar

import orjson
from fastapi import Request, Response

from training_assets.service.access import Principal
from training_assets.service.bodies import Body, receive, unpack
from training_assets.service.core import Core
from training_assets.service.limits import BYTES, REQUESTS
from training_assets.service.problems import Problem

_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_T = TypeVar("_T")


class Json(Response):
    """An answer in JSON: exact numbers as text, times as ISO 8601."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=_exact)


def _exact(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


def core_of(request: Request) -> Core:
    core: Core = request.app.state.core
    return core


async def principal_of(request: Request, scope: str) -> Principal:
    """Who asks, counted as one request; raises ``Problem`` unless they may."""
    core = core_of(request)
    principal = await core.access.principal(request.headers)
    request.state.principal = principal
    principal.require(scope)
    core.limits.take(principal, REQUESTS)
    return principal


def idempotency_key(request: Request) -> str | None:
    """Raises ``Problem`` for one that cannot be kept apart from others."""
    given = request.headers.get("idempotency-key")
    if given is None:
        return None
    if not _KEY.fullmatch(given):
        raise Problem(
            "invalid_parameter", "Idempotency-Key is not 1 to 255 printable ASCII characters."
        )
    return given


async def small_body(request: Request, most: int) -> bytes:
    """A body of at most so many bytes; raises ``Problem`` for a larger or slow one."""
    content = b""
    seconds = core_of(request).settings.body_seconds
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                content += chunk
                if len(content) > most:
                    raise Problem("too_large", f"The body is larger than {most} bytes.")
    except TimeoutError:
        raise Problem("timeout", f"The body was not there after {seconds:g} seconds.") from None
    return content


async def with_body(request: Request, principal: Principal, work: Callable[[Body], _T]) -> _T:
    """Receive the body, then unpack it and do the work with it in a thread."""
    sent = await received(request)
    size = sent.tell()
    return await core_of(request).workers.run(
        size, lambda: unpacked(request, principal, sent, work)
    )


async def received(request: Request) -> IO[bytes]:
    """The body as it was sent, in a file at its end; raises ``Problem``."""
    core = core_of(request)
    core.require_running()
    with core.metrics.stage("receive"):
        return await receive(request.stream(), request.headers, core.settings)


def unpacked(
    request: Request,
    principal: Principal,
    sent: IO[bytes],
    work: Callable[[Body], _T],
    *,
    is_hashed: bool = True,
) -> _T:
    """What the work makes of a body that was received, which is closed then; for a thread."""
    core = core_of(request)
    body = unpack(sent, request.headers, core.settings, is_hashed=is_hashed)
    try:
        core.limits.take(principal, BYTES, body.size)
        request.state.bytes = body.size
        return work(body)
    finally:
        body.close()
