"""When a holder goes silent: `rescue` (rules 1, 4, 8)."""

from __future__ import annotations

import pytest

from faena.events import EventType
from faena.job import Status, Step
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.stores.base import OpenDesk, StoreSuite


class Rescuing(StoreSuite):
    async def test_a_job_whose_lease_expired_is_pending_again(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running(lease=10)
        clock.advance(11)
        (delivery,) = await desk.store.rescue(limit=10)
        assert (delivery.job_id, delivery.task, delivery.queue) == (job.id, job.task, job.queue)
        waiting = await desk.look(job)
        assert (waiting.status, waiting.lease_until) == (Status.PENDING, None)

    async def test_a_delivery_bears_the_priority(self, desk: Desk, clock: FakeClock) -> None:
        await desk.running(lease=10, priority=4)
        clock.advance(11)
        (delivery,) = await desk.store.rescue(limit=10)
        assert delivery.priority == 4

    async def test_a_crash_is_counted_apart_and_gives_the_attempt_back(self, desk: Desk) -> None:
        job = await desk.running(max_attempts=1)
        waiting = await desk.crash(job)
        assert (waiting.attempt, waiting.crashes, waiting.token) == (0, 1, 1)
        again = await desk.take(job)
        assert (again.attempt, again.crashes, again.token) == (1, 1, 2)

    async def test_a_lease_that_still_runs_is_left_alone(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running(lease=10)
        clock.advance(9)
        assert await desk.store.rescue(limit=10) == []
        assert await desk.look(job) == job

    async def test_a_clock_that_is_set_back_takes_no_job_away(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running(lease=10)
        clock.advance(-3600)
        assert await desk.store.rescue(limit=10) == []
        assert await desk.finish(job)

    @pytest.mark.parametrize("status", sorted(set(Status) - {Status.PROCESSING}))
    async def test_only_running_jobs_are_rescued(self, desk: Desk, clock: FakeClock, status: Status) -> None:
        job = await desk.in_status(status)
        clock.advance(1000)
        assert await desk.store.rescue(limit=10) == []
        assert await desk.look(job) == job

    async def test_a_rescue_is_one_status_event(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.crash(job)
        event = await desk.last_event(job)
        assert (event.seq, event.type, event.status) == (3, EventType.STATUS, Status.PENDING)
        assert event.attempt == 1

    async def test_a_job_that_kills_its_worker_k_times_fails(self, open_desk: OpenDesk) -> None:
        desk = await open_desk(max_crashes=3)
        job = await desk.enqueue(max_attempts=10)
        for _ in range(2):
            await desk.crash(await desk.take(job))
        assert (await desk.look(job)).status is Status.PENDING
        ended = await desk.crash(await desk.take(job))
        assert (ended.status, ended.crashes) == (Status.FAILED, 3)
        assert ended.error is not None
        assert ended.error.type == "Crashed"
        assert "crashed its worker" in ended.error.message
        assert ended.worker == "w"
        assert ended.finished_at == desk.clock.now
        assert ended.expires_at == desk.clock.now + 86400

    async def test_the_event_of_the_last_crash_tells_why(self, open_desk: OpenDesk) -> None:
        desk = await open_desk(max_crashes=1)
        job = await desk.running()
        ended = await desk.crash(job)
        event = await desk.last_event(job)
        assert ended.error is not None
        assert event.message == f"Crashed: {ended.error.message}"
        assert (event.status, event.attempt) == (Status.FAILED, 1)

    async def test_a_job_that_fails_by_crashing_is_not_delivered(self, open_desk: OpenDesk) -> None:
        desk = await open_desk(max_crashes=1)
        await desk.running()
        desk.clock.advance(1000)
        assert await desk.store.rescue(limit=10) == []

    async def test_no_other_job_suffers_from_one_that_crashes(self, open_desk: OpenDesk) -> None:
        desk = await open_desk(max_crashes=1)
        crashing, good = await desk.running(lease=10), await desk.running(lease=100_000)
        await desk.crash(crashing)
        assert await desk.look(good) == good
        assert await desk.finish(good)

    async def test_attempts_never_exceed_the_maximum(self, open_desk: OpenDesk) -> None:
        desk = await open_desk(max_crashes=5)
        job = await desk.enqueue(max_attempts=2)
        for step in (None, Step.RETRY, None, Step.SNOOZE, None, Step.RELEASE, Step.RETRY):
            taken = await desk.take(job)
            assert taken.attempt <= 2
            if step is None:
                await desk.crash(taken)
            else:
                await desk.finish(taken, step)
            desk.clock.advance(1)
            await desk.store.promote(limit=10)
        ended = await desk.look(job)
        assert (ended.status, ended.attempt, ended.crashes) == (Status.FAILED, 2, 3)

    async def test_a_cancelled_job_whose_holder_went_silent_ends_cancelled(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.store.cancel([job.id])
        desk.clock.advance(1000)
        assert await desk.store.rescue(limit=10) == []
        ended = await desk.look(job)
        assert (ended.status, ended.crashes) == (Status.CANCELLED, 1)

    async def test_no_more_than_the_limit_are_rescued(self, desk: Desk) -> None:
        jobs = [await desk.running() for _ in range(5)]
        desk.clock.advance(1000)
        rescued = []
        for expected in (2, 2, 1, 0):
            deliveries = await desk.store.rescue(limit=2)
            assert len(deliveries) == expected
            rescued += [delivery.job_id for delivery in deliveries]
        assert sorted(rescued) == [job.id for job in jobs]
        await desk.check_counts()

    async def test_a_rescued_job_can_be_taken_at_once(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.crash(job)
        (claim,) = await desk.claim_next()
        assert claim.job.id == job.id
        assert await desk.finish(claim.job)
