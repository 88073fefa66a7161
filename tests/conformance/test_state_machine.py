"""Whatever is asked of a store, in whatever order, it does what the model does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from tests.redis_kit import empty_redis, redis_server

from faena.ports.store import Store, StoreOptions
from faena.stores.memory import MemoryStore
from faena.stores.redis.store import RedisStore
from faena.stores.sqlite.store import SQLiteStore
from faena.testing.machine import drive
from faena.testing.servers import RedisServer

__all__ = ["empty_redis", "redis_server"]


class TakingTurns:
    """Several stores on the same data; each call goes to the next one."""

    def __init__(self, *stores: Store) -> None:
        self._stores = stores
        self._turns = itertools.cycle(stores)

    def __getattr__(self, verb: str) -> Any:
        return getattr(next(self._turns), verb)

    async def open(self) -> None:
        for store in self._stores:
            await store.open()

    async def close(self) -> None:
        await asyncio.gather(*(store.close() for store in self._stores))


def test_the_memory_store_agrees_with_the_model() -> None:
    drive(MemoryStore, histories=100)


def test_the_sqlite_store_agrees_with_the_model(tmp_path: Path) -> None:
    numbers = itertools.count()

    def make(*, options: StoreOptions, clock: Callable[[], float]) -> Store:
        return SQLiteStore(tmp_path / str(next(numbers)) / "faena.db", options=options, clock=clock)

    drive(make, histories=40)


def test_three_instances_on_one_file_agree_with_the_model_together(tmp_path: Path) -> None:
    numbers = itertools.count()

    def make(*, options: StoreOptions, clock: Callable[[], float]) -> Store:
        path = tmp_path / str(next(numbers)) / "faena.db"
        stores = [SQLiteStore(path, options=options, clock=clock) for _ in range(3)]
        return cast(Store, TakingTurns(*stores))

    drive(make, histories=15)


def test_the_redis_store_agrees_with_the_model(empty_redis: RedisServer) -> None:
    def make(*, options: StoreOptions, clock: Callable[[], float]) -> Store:
        empty_redis.flush()
        return RedisStore(empty_redis.socket_url, options=options, clock=clock)

    drive(make, histories=40)


def test_three_instances_on_one_redis_agree_with_the_model_together(empty_redis: RedisServer) -> None:
    def make(*, options: StoreOptions, clock: Callable[[], float]) -> Store:
        empty_redis.flush()
        stores = [RedisStore(empty_redis.socket_url, options=options, clock=clock) for _ in range(3)]
        return cast(Store, TakingTurns(*stores))

    drive(make, histories=20)
