"""The worker: taking jobs, stopping, leases, and engines that deliver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from ringing import Ringing

import crew_kit
from crew_kit import crew
from faena.engines.direct import DirectEngine
from faena.errors import StoreDown
from faena.job import Job, Status
from faena.ports.engine import Delivery
from faena.ports.records import Claim, Held, Lease, WorkerInfo
from faena.stores.memory import MemoryStore


async def get(at_work: crew_kit.Crew, job_id: str) -> Job:
    (job,) = await at_work.store.get([job_id])
    assert job is not None
    return job


async def test_no_more_jobs_run_at_once_than_there_are_slots() -> None:
    async with crew(threads=2) as at_work:
        ids = [await at_work.enqueue("waits_for_ever") for _ in range(4)]
        for job_id in ids[:2]:
            await at_work.started(job_id)
        assert [(await get(at_work, job_id)).status for job_id in ids[2:]] == [Status.PENDING] * 2


async def test_a_stop_waits_for_what_runs() -> None:
    gate = crew_kit.new_gate()
    async with crew() as at_work:
        job_id = await at_work.enqueue("passes_the_gate")
        await asyncio.to_thread(gate.entered.wait, 5)
        at_work.worker.stop()
        gate.open.set()
        await at_work.running
        assert (await get(at_work, job_id)).status is Status.COMPLETED


async def test_a_worker_that_is_stopped_before_it_runs_takes_nothing() -> None:
    store = MemoryStore()
    await store.open()
    worker = crew_kit.Worker(
        tasks=crew_kit.app.tasks,
        store=store,
        engine=DirectEngine(),
        connect=store.beside,
        options=crew_kit.WorkerOptions(queues=("default",)),
    )
    worker.stop()
    job = crew_kit.JobFactory().new(task="add")
    await store.insert([job])
    await worker.run()
    assert [one.status for one in await store.get([job.id]) if one is not None] == [Status.PENDING]


async def test_a_cancelled_run_hands_back_its_jobs() -> None:
    async with crew(grace=0.0) as at_work:
        job_id = await at_work.enqueue("waits_for_ever")
        await at_work.started(job_id)
        at_work.running.cancel()
        await asyncio.wait([at_work.running])
        assert at_work.running.cancelled()
        job = await get(at_work, job_id)
        at_work.running = asyncio.create_task(asyncio.sleep(0))
    assert (job.status, job.attempt) == (Status.PENDING, 0)


class SlowClaims(MemoryStore):
    """Its claims come back when a test says so."""

    def prepare(self) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def claim_next(self, queues: Sequence[str], **options: object) -> list[Claim]:
        claims = await super().claim_next(queues, **options)  # type: ignore[arg-type]
        if claims:
            self.asked.set()
            await self.answer.wait()
        return claims


async def test_jobs_that_were_claimed_and_not_started_are_handed_back_at_a_stop() -> None:
    store = SlowClaims()
    store.prepare()
    async with crew(store=store) as at_work:
        job_id = await at_work.enqueue("add", a=1)
        await store.asked.wait()
        at_work.worker.stop()
        store.answer.set()
        await at_work.running
        job = await get(at_work, job_id)
    assert (job.status, job.attempt) == (Status.PENDING, 0)


class LostAnswers(MemoryStore):
    """Carries claims out and loses the first answer."""

    lost = 0

    async def claim_next(self, queues: Sequence[str], **options: object) -> list[Claim]:
        claims = await super().claim_next(queues, **options)  # type: ignore[arg-type]
        if claims and not self.lost:
            self.lost += 1
            raise StoreDown("the answer was lost")
        return claims


async def test_a_claim_whose_answer_was_lost_is_asked_for_again() -> None:
    store = LostAnswers()
    async with crew(store=store) as at_work:
        job = await at_work.run("add", a=1)
    assert (job.status, job.attempt, job.crashes, store.lost) == (Status.COMPLETED, 1, 0, 1)


async def test_a_worker_shows_itself_and_says_farewell() -> None:
    async with crew() as at_work:
        job_id = await at_work.enqueue("waits_for_ever")
        await at_work.started(job_id)
        async with asyncio.timeout(10):
            while not (found := await at_work.store.workers()):
                await asyncio.sleep(0.01)
        assert (found[0].id, found[0].slots, "add" in found[0].tasks) == (at_work.worker.id, 4, True)
        at_work.worker.stop(now=True)
        await at_work.running
        assert await at_work.store.workers() == []


class Thieving(MemoryStore):
    """Tells holders that their lease is gone, when a test says so."""

    thief = False

    def beside(self) -> MemoryStore:
        other = Thieving(ledger=self._ledger)
        other.owner = self  # type: ignore[attr-defined]
        return other

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Held]:
        if self.owner.thief:  # type: ignore[attr-defined]
            return [Held(held=False) for _ in leases]
        return await super().extend(leases, lease=lease)

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        owner = getattr(self, "owner", None)
        return [None for _ in ids] if owner is not None and owner.thief else await super().get(ids)


async def test_an_attempt_that_lost_its_lease_ends_and_records_nothing() -> None:
    store = Thieving()
    async with crew(store=store, lease=0.5) as at_work:
        job_id = await at_work.enqueue("waits_for_ever")
        await at_work.started(job_id)
        store.thief = True
        await at_work.until(
            job_id, lambda story: story.job.crashes > 0
        )  # rescued: nobody extends it any more
        assert (await get(at_work, job_id)).error is None


class Unreachable(MemoryStore):
    """The heartbeat's connection, which does not work."""

    async def open(self) -> None:
        raise StoreDown("no way")


class Divided(MemoryStore):
    """Reachable by the worker, not by its heartbeat."""

    def beside(self) -> MemoryStore:
        return Unreachable(ledger=self._ledger)


async def test_when_the_heartbeat_can_not_reach_the_store_an_attempt_ends_with_its_lease() -> None:
    async with crew(store=Divided(), lease=0.3, threads=1) as at_work:
        job_id = await at_work.enqueue("waits_for_ever")
        await at_work.until(job_id, lambda story: story.job.crashes > 0)
        assert (await at_work.until(job_id, lambda story: story.job.token >= 2)).error is None


async def deliver(at_work: crew_kit.Crew, engine: Ringing, *job_ids: str) -> None:
    jobs = [Delivery(job_id=job_id, task="add", queue="default") for job_id in job_ids]
    await asyncio.to_thread(engine.deliver, jobs)


async def test_an_engine_that_repeats_itself_runs_each_job_once() -> None:
    engine = Ringing()
    engine.repeat = 20
    async with crew(engine=engine) as at_work:
        ids = [await at_work.enqueue("add", a=number) for number in range(20)]
        await deliver(at_work, engine, *ids, "no-such-job")
        jobs = [await at_work.final(job_id) for job_id in ids]
    assert [(job.status, job.attempt, job.token) for job in jobs] == [(Status.COMPLETED, 1, 1)] * 20


async def test_an_engine_that_is_down_is_served_again() -> None:
    engine = Ringing()
    engine.fail_serving = 2
    async with crew(engine=engine) as at_work:
        job_id = await at_work.enqueue("add", a=1)
        await deliver(at_work, engine, job_id)
        assert (await at_work.final(job_id)).status is Status.COMPLETED


async def test_a_retry_is_promoted_and_delivered() -> None:
    engine = Ringing()
    async with crew(engine=engine) as at_work:
        job_id = await at_work.enqueue("fails", times=1)
        await deliver(at_work, engine, job_id)
        assert (await at_work.final(job_id)).attempt == 2
    assert engine.delivered == [job_id, job_id]


async def test_jobs_handed_back_are_delivered_for_other_workers() -> None:
    engine = Ringing()
    async with crew(engine=engine) as at_work:
        job_id = await at_work.enqueue("waits_for_ever")
        await deliver(at_work, engine, job_id)
        await at_work.started(job_id)
        at_work.worker.stop(now=True)
        await at_work.running
        assert (await get(at_work, job_id)).status is Status.PENDING
    assert engine.delivered == [job_id, job_id]


async def test_a_worker_that_hands_back_waits_for_the_engine_and_takes_it_for_no_function(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Slow(Ringing):
        def deliver(self, deliveries: Sequence[Delivery]) -> None:
            if self.delivered:
                time.sleep(0.3)
            super().deliver(deliveries)

    engine = Slow()
    async with crew(engine=engine) as at_work:
        job_id = await at_work.enqueue("waits_for_ever")
        await deliver(at_work, engine, job_id)
        await at_work.started(job_id)
        at_work.worker.stop(now=True)
        await at_work.running
        assert (at_work.worker.stuck, engine.delivered) == (0, [job_id, job_id])
    assert "left behind" not in caplog.text


async def test_an_engine_thread_is_free_when_its_attempt_was_left_behind(tmp_path: crew_kit.Path) -> None:
    engine = Ringing()
    async with crew(engine=engine, threads=1) as at_work:
        stubborn = await at_work.enqueue("ignores_its_timeout", path=str(tmp_path / "end"))
        after = await at_work.enqueue("add", a=1)
        await deliver(at_work, engine, stubborn, after)
        assert (await at_work.final(after)).status is Status.COMPLETED
        (tmp_path / "end").touch()


async def test_a_worker_whose_intake_breaks_says_so() -> None:
    async with crew() as at_work:
        await at_work.run("add", a=1)
        at_work.worker._intake.stop()  # type: ignore[union-attr]
        with pytest.raises(RuntimeError, match="nobody stopped it"):
            await at_work.running
        at_work.running = asyncio.create_task(asyncio.sleep(0))


async def test_a_worker_says_loudly_that_another_one_runs_another_engine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    await store.open()
    other = WorkerInfo(
        id="w1", host="h", pid=1, engine="huey", queues=("default",), slots=1, version="0", started_at=0.0
    )
    await store.beat(other, ttl=60)
    async with crew(store=store) as at_work:
        await at_work.run("add", a=1)
    assert "worker w1 runs huey, and here jobs are left in the store for direct workers" in caplog.text
