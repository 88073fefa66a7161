"""The store on Redis keeps every rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.redis_kit import empty_redis, redis_server

from faena.ports.store import Store, StoreOptions
from faena.stores.redis.store import RedisStore
from faena.testing.servers import RedisServer
from faena.testing.stores import MakeStore, StoreConformance

__all__ = ["empty_redis", "redis_server"]


class TestRedis(StoreConformance):
    fills = True

    async def fill(self, store: Any) -> None:
        used = int((await store._info()).fields["used_memory"])
        await store._line("CONFIG", "SET", "maxmemory", used + 100_000)

    @pytest.fixture
    async def make_store(self, empty_redis: RedisServer) -> MakeStore:
        def make(*, options: StoreOptions, clock: Callable[[], float]) -> Store:
            return RedisStore(empty_redis.socket_url, options=options, clock=clock)

        return make
