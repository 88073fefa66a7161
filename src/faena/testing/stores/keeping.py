"""What is kept and for how long: `prune`, `close`, `check` (rule 1)."""

from __future__ import annotations

import pytest

from faena.job import Status, Step
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.stores.base import OpenDesk, StoreSuite


class Keeping(StoreSuite):
    async def test_a_final_job_is_deleted_when_its_time_is_over(
        self, open_desk: OpenDesk, clock: FakeClock
    ) -> None:
        desk = await open_desk(result_ttl=100, failure_ttl=200)
        done, failed = await desk.in_status(Status.COMPLETED), await desk.in_status(Status.FAILED)
        clock.advance(101)
        assert await desk.store.prune(limit=10) == 1
        assert await desk.store.get([done.id, failed.id]) == [None, failed]
        clock.advance(100)
        assert await desk.store.prune(limit=10) == 1
        assert await desk.store.get([failed.id]) == [None]

    async def test_nothing_disappears_before_its_time(self, open_desk: OpenDesk, clock: FakeClock) -> None:
        desk = await open_desk(result_ttl=100, failure_ttl=200)
        jobs = [await desk.in_status(status) for status in Status]
        clock.advance(99)
        assert await desk.store.prune(limit=10) == 0
        assert await desk.store.get([job.id for job in jobs]) == jobs

    async def test_a_live_job_is_never_deleted(self, desk: Desk, clock: FakeClock) -> None:
        live = (Status.SCHEDULED, Status.PENDING, Status.PROCESSING)
        jobs = [await desk.in_status(status) for status in live]
        clock.advance(1_000_000_000)
        assert await desk.store.prune(limit=10) == 0
        assert await desk.store.get([job.id for job in jobs]) == jobs

    async def test_a_deleted_job_takes_its_story_with_it(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.in_status(Status.COMPLETED)
        clock.advance(1_000_000)
        await desk.store.prune(limit=10)
        assert await desk.store.story(job.id) is None
        assert await desk.claim(job) == []
        assert not await desk.finish(job)
        assert not (await desk.report(job, progress=1)).held

    async def test_no_more_than_the_limit_are_deleted(self, desk: Desk, clock: FakeClock) -> None:
        for _ in range(5):
            await desk.in_status(Status.COMPLETED)
        clock.advance(1_000_000)
        assert [await desk.store.prune(limit=2) for _ in range(4)] == [2, 2, 1, 0]
        await desk.check_counts()

    async def test_a_ttl_of_its_own_is_kept_to(self, desk: Desk, clock: FakeClock) -> None:
        short, long = await desk.running(), await desk.running()
        await desk.finish(short, ttl=5)
        await desk.finish(long, ttl=1_000_000)
        clock.advance(500_000)
        assert await desk.store.prune(limit=10) == 1
        assert await desk.store.get([short.id]) == [None]
        assert (await desk.look(long)).status is Status.COMPLETED

    # Closing and opening

    async def test_a_store_may_be_closed_twice(self, open_desk: OpenDesk) -> None:
        desk = await open_desk()
        await desk.enqueue()
        await desk.store.close()
        await desk.store.close()

    async def test_what_was_acknowledged_is_there_after_a_restart(self, open_desk: OpenDesk) -> None:
        if not self.durable:
            pytest.skip("this store keeps nothing when it is closed")
        desk = await open_desk()
        jobs = [await desk.in_status(status, key=f"key-{status}") for status in Status]
        stories = [await desk.events(job) for job in jobs]
        await desk.store.close()
        again = await open_desk()
        assert [await again.look(job) for job in jobs] == jobs
        assert [await again.events(job) for job in jobs] == stories
        await again.check_counts()

    async def test_the_log_goes_on_where_it_was_after_a_restart(self, open_desk: OpenDesk) -> None:
        if not self.durable:
            pytest.skip("this store keeps nothing when it is closed")
        desk = await open_desk()
        position = await desk.position()
        first = await desk.enqueue()
        await desk.store.close()
        again = await open_desk()
        second = await again.enqueue()
        assert [one.task_id for one in await again.told_since(position)] == [first.id, second.id]

    async def test_a_holder_survives_the_restart_of_its_store(self, open_desk: OpenDesk) -> None:
        if not self.durable:
            pytest.skip("this store keeps nothing when it is closed")
        desk = await open_desk()
        job = await desk.running(key="k")
        await desk.report(job, number=1, progress=10)
        await desk.store.close()
        again = await open_desk()
        assert (await again.report(job, number=1, progress=90)).held
        assert (await again.look(job)).progress == 10
        assert await again.finish(job, Step.COMPLETE, result=b"1")
        assert await again.finish(job, Step.COMPLETE, result=b"1")
        assert (await again.look(job)).seq == 4

    async def test_check_says_how_the_store_is(self, desk: Desk) -> None:
        health = await desk.store.check()
        assert health.name == desk.store.name != ""
        assert health.version
        assert health.location
