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


class Server:
    """The server of a process's tests; it may be down."""

    def __init__(self) -> None:
        self._server = RedisServer()
        self._runs = False
        self.url = self._server.url
        self.client = Redis(port=self._server.port)

    def start(self) -> None:
        if not self._runs:
            self._server.start()
            self._runs = True

    def kill(self) -> None:
        if self._runs:
            self._server.kill()
            self._runs = False

    def close(self) -> None:
        self.client.close()
        self._server.close()


class RedisTransport(Transport):
    """Keys on a server that is there for this process's tests."""

    engine_class: ClassVar[Callable[[str], OnRedis]]

    def __init__(self, server: Server) -> None:
        self.server = server
        self.redis = server.client

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
def redis_server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.close()


@pytest.fixture
def fresh_server(redis_server: Server) -> Server:
    redis_server.start()
    redis_server.client.flushall()
    return redis_server
