"""The worker part of the engine suite with the jobs in Redis, for every engine: on a server beside the engine's,
which is taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.conformance.redis_transport import (
    OnRedisStore,
    fresh_server,
    redis_server,
    store_server,
    store_url,
)
from tests.conformance.test_engines_arq import ARQTransport
from tests.conformance.test_engines_celery import CeleryTransport
from tests.conformance.test_engines_dramatiq import DramatiqTransport
from tests.conformance.test_engines_huey_redis import HueyRedisTransport
from tests.conformance.test_engines_rq import RQTransport

from faena.engines.direct import DirectEngine
from faena.ports.engine import Engine
from faena.ports.store import Store, StoreOptions
from faena.stores.redis.store import RedisStore
from faena.testing.engines import Transport, WorkerConformance
from faena.testing.servers import RedisServer

__all__ = ["fresh_server", "redis_server", "store_server", "store_url"]


class DramatiqWithRedisStore(OnRedisStore, DramatiqTransport):
    pass


class HueyWithRedisStore(OnRedisStore, HueyRedisTransport):
    pass


class CeleryWithRedisStore(OnRedisStore, CeleryTransport):
    pass


class RQWithRedisStore(OnRedisStore, RQTransport):
    pass


class ARQWithRedisStore(OnRedisStore, ARQTransport):
    pass


class DirectWithRedisStore(Transport):
    """There is nothing between the store and the worker."""

    def __init__(self, _: RedisServer, store_url: str) -> None:
        self._store_url = store_url

    def maker(self) -> Callable[[], Engine]:
        return DirectEngine

    def make_store(self, directory: Path) -> Store:
        return RedisStore(self._store_url, options=StoreOptions())

    def settings(self) -> Mapping[str, str]:
        return {"FAENA_ENGINE": "direct", "FAENA_STORE": "redis", "REDIS_URL": self._store_url}


ENGINES = [
    DirectWithRedisStore,
    HueyWithRedisStore,
    DramatiqWithRedisStore,
    CeleryWithRedisStore,
    RQWithRedisStore,
    ARQWithRedisStore,
]


@pytest.mark.parametrize("made", ENGINES, ids=lambda made: made.__name__.partition("With")[0].lower())
class TestWithAWorkerOnRedis(WorkerConformance):
    @pytest.fixture
    def transport(
        self, fresh_server: RedisServer, store_url: str, made: Callable[[RedisServer, str], Transport]
    ) -> Transport:
        return made(fresh_server, store_url)
