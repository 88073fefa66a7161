"""The worker part of the engine suite with the jobs in Redis: on a server beside the engine's, which is taken away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.conformance.redis_transport import RedisTransport, fresh_server, redis_server
from tests.conformance.test_engines_dramatiq import DramatiqTransport
from tests.conformance.test_engines_huey_redis import HueyRedisTransport

from faena.ports.store import Store, StoreOptions
from faena.stores.redis.store import RedisStore
from faena.testing.engines import Transport, WorkerConformance
from faena.testing.servers import RedisServer

__all__ = ["fresh_server", "redis_server"]


@pytest.fixture(scope="module")
def store_server(redis_server: RedisServer) -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server
        server.close()


@pytest.fixture
def store_url(store_server: RedisServer) -> str:
    store_server.flush()
    return store_server.url


class OnRedisStore(RedisTransport):
    """What keeps the jobs on the other server."""

    def __init__(self, server: RedisServer, store_url: str) -> None:
        super().__init__(server)
        self._store_url = store_url

    def make_store(self, directory: Path) -> Store:
        return RedisStore(self._store_url, options=StoreOptions())

    def settings(self) -> Mapping[str, str]:
        on_redis = {"FAENA_STORE": "redis", "REDIS_URL": self._store_url}
        return {**super().settings(), **on_redis, "FAENA_BROKER_URL": self.server.url}


class DramatiqWithRedisStore(OnRedisStore, DramatiqTransport):
    pass


class HueyWithRedisStore(OnRedisStore, HueyRedisTransport):
    pass


class TestDramatiqWithAWorkerOnRedis(WorkerConformance):
    @pytest.fixture
    def transport(self, fresh_server: RedisServer, store_url: str) -> Transport:
        return DramatiqWithRedisStore(fresh_server, store_url)


class TestHueyWithAWorkerOnRedis(WorkerConformance):
    @pytest.fixture
    def transport(self, fresh_server: RedisServer, store_url: str) -> Transport:
        return HueyWithRedisStore(fresh_server, store_url)
