"""A Redis server for the suites of the engines on it, killed and started as they ask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import ClassVar

import pytest
from redis import Redis

from faena.engines.onredis import OnRedis
from faena.ports.engine import Engine
from faena.testing.engines import FAENA, Transport
from faena.testing.servers import RedisServer

OURS = (FAENA,) if os.environ.get("EVERY_COMMAND") else ()
"""``faena worker`` reads all engines on Redis by the same code: with EVERY_COMMAND=1 each case is run with it, too."""


class RedisTransport(Transport):
    """Keys on a server that is there for this process's tests."""

    engine_class: ClassVar[Callable[[str], OnRedis]]

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.redis = Redis(port=server.port)

    def maker(self) -> Callable[[], Engine]:
        return partial(type(self).engine_class, self.server.url)

    def settings(self) -> Mapping[str, str]:
        name = self.engine_class.name  # type: ignore[attr-defined]
        return {"FAENA_ENGINE": name, "FAENA_STORE": "sqlite", "REDIS_URL": self.server.url}

    def break_down(self) -> None:
        self.server.kill()

    def restore(self) -> None:
        self.server.start()

    def wipe(self) -> None:
        self.redis.flushall()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server of a process's tests; it may be down."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def fresh_server(redis_server: RedisServer) -> RedisServer:
    redis_server.start()
    redis_server.flush()
    return redis_server
