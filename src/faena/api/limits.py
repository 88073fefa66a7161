"""How much a client may send: a cap on request bodies, held before they are read whole."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faena.api.deps import STREAMS_BODY

MAX_BODY = 8 * 1024 * 1024


class BodyLimit:
    """ASGI middleware: a body over the cap ends in 413, announced or not. Routes marked with `streams_body` are
    let through, for they bound what they read by themselves."""

    def __init__(self, app: ASGIApp, *, limit: int = MAX_BODY) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = _announced(scope)
        received = 0

        async def bounded() -> Message:
            """The route is known by now: it is the one that asks for the body."""
            nonlocal received
            if getattr(scope.get("endpoint"), STREAMS_BODY, False):
                return await receive()
            if announced > self._limit:
                raise self._too_large()
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise self._too_large()
            return message

        await self._app(scope, bounded, send)

    def _too_large(self) -> HTTPException:
        told = f"the body is over {self._limit // 1024} KiB: send less, or a reference to where the data is"
        return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, told, headers={"Connection": "close"})


def _announced(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
