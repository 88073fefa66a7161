"""The workers: `beat`, `leave`, `workers`."""

from __future__ import annotations

from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.factories import a_worker
from faena.testing.stores.base import StoreSuite


class Workers(StoreSuite):
    async def test_a_worker_is_remembered_as_it_described_itself(self, desk: Desk, clock: FakeClock) -> None:
        worker = a_worker(running=("job-1", "job-2"), tasks=("add",), memory=50_000_000)
        await desk.store.beat(worker, ttl=10)
        described = {field: getattr(worker, field) for field in worker.__struct_fields__}
        assert await desk.store.workers() == [a_worker(**described | {"beat_at": clock.now})]

    async def test_a_later_beat_replaces_the_one_before(self, desk: Desk, clock: FakeClock) -> None:
        await desk.store.beat(a_worker(running=("job-1",)), ttl=10)
        clock.advance(5)
        await desk.store.beat(a_worker(), ttl=10)
        (worker,) = await desk.store.workers()
        assert (worker.running, worker.beat_at) == ((), clock.now)

    async def test_a_silent_worker_is_forgotten(self, desk: Desk, clock: FakeClock) -> None:
        await desk.store.beat(a_worker(id="short"), ttl=10)
        await desk.store.beat(a_worker(id="long"), ttl=100)
        clock.advance(11)
        assert [worker.id for worker in await desk.store.workers()] == ["long"]

    async def test_a_beat_keeps_a_worker(self, desk: Desk, clock: FakeClock) -> None:
        for _ in range(3):
            await desk.store.beat(a_worker(), ttl=10)
            clock.advance(9)
        assert len(await desk.store.workers()) == 1

    async def test_a_worker_that_leaves_is_forgotten(self, desk: Desk) -> None:
        await desk.store.beat(a_worker(id="one"), ttl=10)
        await desk.store.beat(a_worker(id="two"), ttl=10)
        await desk.store.leave("one")
        assert [worker.id for worker in await desk.store.workers()] == ["two"]

    async def test_a_worker_that_is_unknown_may_leave(self, desk: Desk) -> None:
        await desk.store.leave("nobody")
        assert await desk.store.workers() == []

    async def test_a_worker_that_was_forgotten_may_come_back(self, desk: Desk, clock: FakeClock) -> None:
        await desk.store.beat(a_worker(), ttl=10)
        clock.advance(100)
        assert await desk.store.workers() == []
        await desk.store.beat(a_worker(), ttl=10)
        assert len(await desk.store.workers()) == 1
