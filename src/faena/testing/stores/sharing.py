"""Two instances on the same data, as two processes have them (rules 2, 3, 6, 9)."""

from __future__ import annotations

import asyncio

from faena.job import Status
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.factories import a_worker
from faena.testing.stores.base import StoreSuite

SOON = 10.0
"""Seconds of real time after which a test gives a waiting call up."""


class Sharing(StoreSuite):
    async def test_what_one_instance_stores_another_sees(self, desk: Desk, other: Desk) -> None:
        job = await desk.enqueue()
        assert await other.look(job) == job
        taken = await other.take(job)
        assert await desk.look(job) == taken
        assert await desk.events(job) == await other.events(job)
        assert await desk.store.counts() == await other.store.counts()

    async def test_two_instances_never_take_the_same_job(self, desk: Desk, other: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(100))
        answers = await asyncio.gather(*(one.claim_next(limit=7) for one in (desk, other) * 10))
        taken = [claim.job.id for claims in answers for claim in claims]
        assert sorted(taken) == sorted(job.id for job in jobs)

    async def test_two_instances_that_claim_an_id_make_one_claim(self, desk: Desk, other: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(50))
        answers = await asyncio.gather(*(one.claim(job) for job in jobs for one in (desk, other)))
        taken = [claim.job for claims in answers for claim in claims]
        assert sorted(job.id for job in taken) == sorted(job.id for job in jobs)
        assert {job.token for job in taken} == {1}

    async def test_a_key_is_one_across_instances(self, desk: Desk, other: Desk) -> None:
        new = desk.jobs.several(40, key="k")
        stores = [desk.store, other.store] * 20
        answers = await asyncio.gather(*(store.insert([one]) for store, one in zip(stores, new, strict=True)))
        assert sum(not inserted.duplicate for (inserted,) in answers) == 1
        assert len(await desk.everything()) == 1

    async def test_an_insert_may_be_repeated_through_another_instance(self, desk: Desk, other: Desk) -> None:
        new = desk.jobs.several(3)
        assert await other.store.insert(new) == await desk.store.insert(new)
        assert len(await desk.everything()) == 3

    async def test_a_claim_may_be_repeated_through_another_instance(self, desk: Desk, other: Desk) -> None:
        await desk.insert(*desk.jobs.several(5))
        first = await desk.claim_next(limit=3, request="again")
        assert len(first) == 3
        second = await other.claim_next(limit=3, request="again")
        assert {claim.job.id for claim in second} == {claim.job.id for claim in first}

    async def test_a_holder_is_fenced_by_another_instances_claim(
        self, desk: Desk, other: Desk, clock: FakeClock
    ) -> None:
        stale = await desk.running(lease=10)
        clock.advance(11)
        await other.store.rescue(limit=10)
        held = await other.take(stale)
        assert not (await desk.report(stale, progress=99)).held
        assert not (await desk.extend(stale)).held
        assert not await desk.finish(stale, result=b"stale")
        assert await desk.look(stale) == held

    async def test_two_rescuers_count_one_crash(self, desk: Desk, other: Desk, clock: FakeClock) -> None:
        jobs = [await desk.running() for _ in range(10)]
        clock.advance(1000)
        answers = await asyncio.gather(*(one.store.rescue(limit=100) for one in (desk, other) * 3))
        assert sorted(one.job_id for answer in answers for one in answer) == [job.id for job in jobs]
        assert {(await desk.look(job)).crashes for job in jobs} == {1}

    async def test_two_promoters_promote_once(self, desk: Desk, other: Desk, clock: FakeClock) -> None:
        jobs = await desk.insert(*desk.jobs.several(10, delay=5))
        clock.advance(6)
        answers = await asyncio.gather(*(one.store.promote(limit=100) for one in (desk, other) * 3))
        assert sorted(one.job_id for answer in answers for one in answer.deliveries) == [
            job.id for job in jobs
        ]
        assert {(await desk.look(job)).seq for job in jobs} == {2}

    async def test_a_cancellation_reaches_the_holder_in_another_instance(
        self, desk: Desk, other: Desk
    ) -> None:
        job = await desk.running()
        await other.store.cancel([job.id])
        assert (await desk.extend(job)).cancel_requested

    async def test_one_log_tells_what_all_instances_did(self, desk: Desk, other: Desk) -> None:
        position = await desk.position()
        job = await desk.enqueue()
        taken = await other.take(job)
        await desk.report(taken, progress=10)
        await other.finish(taken)
        told = [one.event for one in await desk.told_since(position)]
        assert told == list(await desk.events(job))
        assert told == [one.event for one in await other.told_since(position)]

    async def test_a_reader_is_woken_by_another_instance(self, desk: Desk, other: Desk) -> None:
        position = await desk.position()
        waiting = asyncio.create_task(desk.store.published(position, wait=600))
        await asyncio.sleep(0)
        job = await other.enqueue()
        part = await asyncio.wait_for(waiting, SOON)
        assert [one.task_id for one in part.told] == [job.id]

    async def test_work_is_heard_of_from_another_instance(self, desk: Desk, other: Desk) -> None:
        waiting = asyncio.create_task(desk.store.work(["default"], wait=600))
        await asyncio.sleep(0)
        await other.enqueue()
        await asyncio.wait_for(waiting, SOON)
        assert len(await desk.claim_next()) == 1

    async def test_workers_are_known_to_all(self, desk: Desk, other: Desk) -> None:
        await desk.store.beat(a_worker(), ttl=10)
        assert [worker.id for worker in await other.store.workers()] == ["worker-1"]
        await other.store.leave("worker-1")
        assert await desk.store.workers() == []

    async def test_whole_lives_side_by_side_keep_every_count(self, desk: Desk, other: Desk) -> None:
        async def live(one: Desk, new_jobs: int) -> None:
            await one.insert(*one.jobs.several(new_jobs))
            for claim in await one.claim_next(limit=new_jobs):
                await one.report(claim.job, progress=50)
                await one.finish(claim.job)

        await asyncio.gather(*(live(one, 5) for one in (desk, other) * 5))
        while claims := await desk.claim_next():
            for claim in claims:
                await desk.finish(claim.job)
        jobs = await desk.everything()
        assert [job.status for job in jobs] == [Status.COMPLETED] * 50
        await desk.check_counts()
        await other.check_counts()
