"""The server process: uvicorn, on loopback only, that ends open streams before it waits for connections."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from faena.api.auth import check_bind
from faena.api.deps import Services

GRACE = 10
"""Seconds that requests under way have when the server stops."""
MAX_WS_MESSAGE = 1024 * 1024


class ApiServer(uvicorn.Server):
    """uvicorn's server; when it stops, live streams end first, for they would never end by themselves."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then let requests finish."""
        await self._services.client.live.close()
        await super().shutdown(sockets)


def make_server(api: FastAPI, *, host: str, port: int, log_level: str = "warning") -> ApiServer:
    """Return a server for `create_app`'s application; ``await server.serve()`` runs it. Raises `InvalidSettings` for
    an address that is not loopback."""
    services: Services = api.state.faena
    check_bind(host, secret=services.settings.secret)
    config = uvicorn.Config(
        api,
        host=host,
        port=port,
        log_level=log_level,
        access_log=False,
        timeout_graceful_shutdown=GRACE,
        ws_max_size=MAX_WS_MESSAGE,
        server_header=False,
    )
    return ApiServer(config, services)
