"""A server's own entry among the processes of a store: which engine it delivers to, for whoever starts beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from contextlib import suppress
from importlib.metadata import version
from typing import Final

from faena.errors import StoreFault, Unavailable
from faena.insights import other_engines
from faena.ports.engine import Engine
from faena.ports.records import WorkerInfo
from faena.ports.store import Store

log = logging.getLogger(__name__)

EVERY: Final = 10.0
"""Seconds between two beats."""


async def keep_telling(store: Store, engine: Engine, *, every: float = EVERY) -> None:
    """Tell the store of this server until cancelled; say once, loudly, who uses another engine. Takes no notice of a
    store that is down: it is told when it answers again."""
    server = _server(engine)
    told = False
    try:
        while True:
            with suppress(Unavailable, StoreFault):
                if not told:
                    for sentence in other_engines(await store.workers(), engine):
                        log.warning(sentence)
                    told = True
                await store.beat(server, ttl=3 * every)
            await asyncio.sleep(every)
    finally:
        with suppress(Unavailable, StoreFault):
            await store.leave(server.id)


def _server(engine: Engine) -> WorkerInfo:
    host, pid = socket.gethostname(), os.getpid()
    return WorkerInfo(
        id=f"{host}:{pid}:{secrets.token_hex(3)}",
        role="server",
        host=host,
        pid=pid,
        engine=engine.name,
        queues=(),
        slots=0,
        version=version("faena"),
        started_at=time.time(),
    )
