"""Who may talk to the server. Without tokens: this machine only, and no page of another site.

Two gates, since binding to loopback alone does not keep a browser from being used against its owner:

* `check_bind`: the server listens on a loopback address and refuses any other.
* `LoopbackOnly`: a request must name a loopback host (a foreign name that resolves here is DNS rebinding), and
  what changes something, or opens a WebSocket, must not come from another site's page.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from faena.api.problems import Problem
from faena.errors import InvalidSettings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
TOKENS_COME_LATER = (
    "FAENA_SECRET is set, but this release has no tokens yet: they come with a later one. Unset it (the server then "
    "listens on this machine only), rather than run unprotected in the belief to be protected"
)


def check_secret(secret: str | None) -> None:
    """Refuse a secret that could not be honoured. Raises `InvalidSettings`."""
    if secret is not None:
        raise InvalidSettings([TOKENS_COME_LATER])


def check_bind(host: str, *, secret: str | None = None) -> None:
    """Refuse to listen where others could reach an unprotected server. Raises `InvalidSettings`."""
    check_secret(secret)
    if not is_loopback(host):
        told = (
            f"API_HOST={host} would let other machines in, and this release has no tokens to tell who may: use "
            "127.0.0.1, ::1 or localhost"
        )
        raise InvalidSettings([told])


def is_loopback(host: str) -> bool:
    """True for ``localhost``, names below it, and loopback addresses; never for what needs a look-up."""
    bare = host.removeprefix("[").removesuffix("]").rstrip(".").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


class LoopbackOnly:
    """ASGI middleware: foreign hosts and other sites' pages get 403 before any route runs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = _fault(scope) if scope["type"] in ("http", "websocket") else None
        if fault is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": fault[:120]})
        else:
            await Problem(403, fault, kind="foreign-request")(scope, receive, send)


def _fault(scope: Scope) -> str | None:
    headers = Headers(scope=scope)
    host = _host_of(f"//{headers.get('host', '')}")
    if host is None or not is_loopback(host):
        return f"the host {headers.get('host', '')!r} is not this machine: use http://127.0.0.1 or localhost"
    if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
        return None
    origin = headers.get("origin")
    if origin is not None and not _is_local_origin(origin):
        return f"pages of {origin!r} may not use this server"
    return None


def _is_local_origin(origin: str) -> bool:
    host = _host_of(origin)
    return host is not None and is_loopback(host)


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
