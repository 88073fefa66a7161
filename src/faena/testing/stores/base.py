"""What every part of the store suite stands on: the fixtures and the flags."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest
import pytest_asyncio

from faena.ports.store import Store, StoreOptions
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.factories import JobFactory


class MakeStore(Protocol):
    """Makes a store that is not open yet. All that one test makes stand on the same, at first empty, data."""

    def __call__(self, *, options: StoreOptions, clock: Callable[[], float]) -> Store: ...


OpenDesk = Callable[..., Awaitable[Desk]]
"""Open one more store on the same data; keywords are `StoreOptions`: ``await open_desk(max_crashes=2)``."""


@asynccontextmanager
async def open_store(make_store: MakeStore, clock: Callable[[], float]) -> AsyncIterator[Desk]:
    """Open a store on a clock that runs by itself; the desk's own clock means nothing then."""
    store = make_store(options=StoreOptions(), clock=clock)
    await store.open()
    try:
        yield Desk(store, FakeClock(), JobFactory())
    finally:
        await store.close()


class StoreSuite:
    """The base of every part. A joining store overrides `make_store` and, where it must, the flags."""

    shared = True
    """Several instances can stand on the same data at once."""
    durable = True
    """What was acknowledged is still there when every instance was closed."""
    fills = False
    """`fill` is overridden, so that the tests of a full store can run (rule 10)."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def make_store(self) -> MakeStore:
        raise NotImplementedError(
            f"{type(self).__name__} has no `make_store` fixture; expected one that returns a function "
            "(*, options, clock) -> Store, each call of which opens the same data"
        )

    async def fill(self, store: Store) -> None:
        """Leave an open store no room for more than a few small jobs, so that `insert` soon raises `StoreFull`."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def jobs(self) -> JobFactory:
        return JobFactory()

    @pytest_asyncio.fixture
    async def open_desk(
        self, make_store: MakeStore, clock: FakeClock, jobs: JobFactory
    ) -> AsyncIterator[OpenDesk]:
        opened: list[Store] = []

        async def open_one(**options: Any) -> Desk:
            store = make_store(options=StoreOptions(**options), clock=clock)
            opened.append(store)
            await store.open()
            return Desk(store, clock, jobs)

        yield open_one
        for store in reversed(opened):
            await store.close()

    @pytest_asyncio.fixture
    async def desk(self, open_desk: OpenDesk) -> Desk:
        return await open_desk()

    @pytest_asyncio.fixture
    async def other(self, desk: Desk, open_desk: OpenDesk) -> Desk:
        """A second instance on the data of ``desk``, as another process would have."""
        if not self.shared:
            pytest.skip("this store's data belongs to one instance")
        return await open_desk()
