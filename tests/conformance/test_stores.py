"""Every store of Faena keeps every rule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faena.errors import StoreDown
from faena.job import Status
from faena.ports.records import Claim
from faena.ports.store import Store, StoreOptions
from faena.stores.memory import MemoryStore
from faena.stores.sqlite.store import SQLiteStore
from faena.testing.factories import JobFactory
from faena.testing.stores import MakeStore, StoreConformance


class TestMemory(StoreConformance):
    durable = False

    @pytest.fixture
    async def make_store(self) -> MakeStore:
        first: list[MemoryStore] = []

        def make(*, options: StoreOptions, clock: Callable[[], float]) -> Store:
            if first:
                return first[0].beside()
            first.append(MemoryStore(options=options, clock=clock))
            return first[0]

        return make


class TestSQLite(StoreConformance):
    fills = True

    async def fill(self, store: Any) -> None:
        for connection in store._connections:
            connection.pragma("max_page_count", connection.pragma("page_count") + 20)

    @pytest.fixture
    async def make_store(self, tmp_path: Path) -> MakeStore:
        def make(*, options: StoreOptions, clock: Callable[[], float]) -> Store:
            return SQLiteStore(tmp_path / "faena.db", options=options, clock=clock)

        return make


async def test_memory_stores_in_two_threads_share_their_jobs() -> None:
    store = MemoryStore()
    await store.open()
    other = store.beside()

    async def elsewhere() -> list[Claim]:
        await other.open()
        await other.work(["default"], wait=10)
        claims = await other.claim_next(["default"], worker="w", lease=10, limit=10, request="r")
        await other.close()
        return claims

    claiming = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    position = (await store.published(None, wait=0)).position
    await store.insert([JobFactory().new()])
    inserted = await store.published(position, wait=10)
    claimed = await store.published(inserted.position, wait=10) if len(inserted.told) == 1 else inserted
    assert claimed.told[-1].event.status is Status.PROCESSING
    assert len(await claiming) == 1
    await store.close()


async def test_a_memory_store_that_is_not_open_says_what_to_do() -> None:
    with pytest.raises(StoreDown, match=r"await store\.open\(\)"):
        await MemoryStore().counts()
