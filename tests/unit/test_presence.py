"""A server tells the store which engine it delivers to, and whoever starts beside it on another one says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.api_kit import Kit, opened, serving
from tests.crew_kit import crew

from faena.engines.direct import DirectEngine
from faena.engines.huey import HueyEngine
from faena.insights import at_work, other_engines
from faena.ports.engine import Engine
from faena.presence import keep_telling
from faena.stores.memory import MemoryStore
from faena.testing.factories import a_worker


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    await store.open()
    yield store
    await store.close()


@asynccontextmanager
async def a_server(store: MemoryStore, engine: Engine) -> AsyncIterator[None]:
    telling = asyncio.create_task(keep_telling(store, engine))
    while not await store.workers():
        await asyncio.sleep(0)
    yield
    telling.cancel()
    with suppress(asyncio.CancelledError):
        await telling


@pytest.fixture
def huey(tmp_path: Path) -> Iterator[HueyEngine]:
    engine = HueyEngine(tmp_path)
    yield engine
    engine.close()


async def test_a_server_is_no_worker_and_leaves_when_it_ends(store: MemoryStore) -> None:
    async with a_server(store, DirectEngine()):
        [server] = await store.workers()
        assert (server.role, server.engine, server.slots) == ("server", "direct", 0)
        assert at_work([server]) == []
    assert await store.workers() == []


async def test_a_worker_says_that_a_server_delivers_to_another_engine(
    store: MemoryStore, huey: HueyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    told = "delivers its jobs to huey, and here the engine is direct: no message is taken there"
    async with a_server(store, huey), crew(store=store):
        while told not in caplog.text:
            await asyncio.sleep(0.01)


async def test_a_server_says_that_a_worker_runs_another_engine(
    store: MemoryStore, huey: HueyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    await store.beat(a_worker(engine="rq"), ttl=60)
    telling = asyncio.create_task(keep_telling(store, huey))
    while len(await store.workers()) < 2:
        await asyncio.sleep(0)
    telling.cancel()
    await asyncio.wait([telling])
    assert "worker worker-1 runs rq, and here jobs are delivered to huey" in caplog.text


def test_a_server_that_leaves_its_jobs_in_the_store_is_told_to_a_worker_that_waits_for_messages(
    huey: HueyEngine,
) -> None:
    [told] = other_engines([a_worker(id="s1", role="server", engine="direct")], huey)
    assert told == (
        "server s1 leaves its jobs in the store for direct workers, and here the engine is huey: its jobs are found "
        "seconds later, when they are delivered again. Start all of them with the same FAENA_ENGINE"
    )


async def test_an_api_is_told_of_in_health_and_not_among_the_workers() -> None:
    async with (
        opened(Kit()) as kit,
        serving(kit.api) as running,
        httpx.AsyncClient(base_url=running.url) as http,
    ):
        while not await kit.store.workers():
            await asyncio.sleep(0.01)
        answer = await http.get("/workers")
        assert answer.json() == {"workers": []}
        other = a_worker(id="s2", role="server", engine="celery")
        await kit.store.beat(other, ttl=60)
        warnings = (await http.get("/health")).json()["warnings"]
        assert any("server s2 delivers its jobs to celery" in told for told in warnings)
