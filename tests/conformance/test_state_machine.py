"""Whatever is asked of a store, in whatever order, it does what the model does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from faena.ports.store import Store, StoreOptions
from faena.stores.memory import MemoryStore
from faena.testing.machine import drive


def test_the_memory_store_agrees_with_the_model() -> None:
    drive(MemoryStore)


def test_the_sqlite_store_agrees_with_the_model(tmp_path: Path) -> None:
    module = pytest.importorskip("faena.stores.sqlite.store", exc_type=ModuleNotFoundError)
    numbers = itertools.count()

    def make(*, options: StoreOptions, clock: Callable[[], float]) -> Store:
        return module.SQLiteStore(tmp_path / str(next(numbers)) / "faena.db", options=options, clock=clock)

    drive(make)
