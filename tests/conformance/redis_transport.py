"""A Redis server for the suites of the engines on it, killed and started as they ask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from redis import Redis

from faena.engines.onredis import OnRedis
from faena.ports.engine import Engine
from faena.ports.store import Store, StoreOptions
from faena.stores.redis.store import RedisStore
from faena.testing.engines import FAENA, Transport
from faena.testing.servers import RedisServer

OURS = (FAENA,) if os.environ.get("EVERY_COMMAND") else ()
"""``faena worker`` reads all engines on Redis by the same code, and `tests/faults` kills its workers and its supervisor
on each: with EVERY_COMMAND=1 each case is run with it, too."""


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


class OnRedisStore(RedisTransport):
    """What keeps the jobs on another server."""

    def __init__(self, server: RedisServer, store_url: str) -> None:
        super().__init__(server)
        self._store_url = store_url

    def make_store(self, directory: Path) -> Store:
        return RedisStore(self._store_url, options=StoreOptions())

    def settings(self) -> Mapping[str, str]:
        on_redis = {"FAENA_STORE": "redis", "REDIS_URL": self._store_url}
        return {**super().settings(), **on_redis, "FAENA_BROKER_URL": self.server.url}


@pytest.fixture(scope="module")
def store_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def store_url(store_server: RedisServer) -> str:
    store_server.flush()
    return store_server.url


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
