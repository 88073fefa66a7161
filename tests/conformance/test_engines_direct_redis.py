"""The worker parts of the engine suite on `direct` with the jobs in Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.redis_kit import empty_redis, redis_server

from faena.engines.direct import DirectEngine
from faena.ports.engine import Engine
from faena.ports.store import Store, StoreOptions
from faena.stores.redis.store import RedisStore
from faena.testing.engines import ProcessConformance, Transport
from faena.testing.servers import RedisServer

__all__ = ["empty_redis", "redis_server"]


class RedisOnly(Transport):
    """There is nothing between the store and the worker; the store is a Redis."""

    def __init__(self, directory: Path, url: str) -> None:
        self._directory = directory
        self._url = url

    def maker(self) -> Callable[[], Engine]:
        return DirectEngine

    def make_store(self, directory: Path) -> Store:
        return RedisStore(self._url, options=StoreOptions())

    def settings(self) -> Mapping[str, str]:
        return {
            "FAENA_ENGINE": "direct",
            "FAENA_STORE": "redis",
            "REDIS_URL": self._url,
            "FAENA_DATA_DIR": str(self._directory),
        }


class TestDirectOnRedisInProcesses(ProcessConformance):
    @pytest.fixture
    def transport(self, tmp_path: Path, empty_redis: RedisServer) -> Transport:
        return RedisOnly(tmp_path, empty_redis.url)
