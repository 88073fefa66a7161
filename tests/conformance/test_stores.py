"""Every store of Faena keeps every rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faena.ports.store import Store, StoreOptions
from faena.stores.memory import MemoryStore
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
        module = pytest.importorskip("faena.stores.sqlite.store", exc_type=ModuleNotFoundError)

        def make(*, options: StoreOptions, clock: Callable[[], float]) -> Store:
            return module.SQLiteStore(tmp_path / "faena.db", options=options, clock=clock)

        return make
