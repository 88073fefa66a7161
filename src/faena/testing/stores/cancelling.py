"""Calling jobs off: `cancel` and `purge`."""

from __future__ import annotations

import pytest

from faena.events import EventType
from faena.job import Status, Step
from faena.ports.records import CancelResult
from faena.testing.clock import FakeClock
from faena.testing.desk import BOOM, Desk
from faena.testing.stores.base import StoreSuite


class Cancelling(StoreSuite):
    @pytest.mark.parametrize("status", [Status.SCHEDULED, Status.PENDING])
    async def test_a_waiting_job_is_cancelled_at_once(
        self, desk: Desk, clock: FakeClock, status: Status
    ) -> None:
        job = await desk.in_status(status)
        assert await desk.store.cancel([job.id]) == [CancelResult.CANCELLED]
        ended = await desk.look(job)
        assert (ended.status, ended.finished_at) == (Status.CANCELLED, clock.now)
        event = await desk.last_event(job)
        assert (event.seq, event.type, event.status) == (2, EventType.STATUS, Status.CANCELLED)

    async def test_a_cancelled_job_never_runs(self, desk: Desk, clock: FakeClock) -> None:
        pending, scheduled = await desk.enqueue(), await desk.enqueue(delay=5)
        await desk.store.cancel([pending.id, scheduled.id])
        clock.advance(10)
        promoted = await desk.store.promote(limit=10)
        assert (promoted.deliveries, promoted.next_in) == ((), None)
        assert await desk.claim_next() == []

    async def test_a_running_job_is_asked_to_stop(self, desk: Desk) -> None:
        job = await desk.running()
        assert await desk.store.cancel([job.id]) == [CancelResult.REQUESTED]
        asked = await desk.look(job)
        assert (asked.status, asked.cancel_requested) == (Status.PROCESSING, True)
        assert (asked.token, asked.lease_until) == (job.token, job.lease_until)

    async def test_asking_makes_one_status_event(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.store.cancel([job.id])
        event = await desk.last_event(job)
        assert (event.seq, event.type, event.status) == (3, EventType.STATUS, Status.PROCESSING)
        assert (event.message, event.attempt) == ("cancellation requested", 1)

    async def test_asking_again_is_answered_alike_and_tells_nothing_new(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.store.cancel([job.id])
        asked = await desk.look(job)
        assert await desk.store.cancel([job.id]) == [CancelResult.REQUESTED]
        assert await desk.look(job) == asked

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    async def test_a_final_job_stays_as_it_is(self, desk: Desk, status: Status) -> None:
        job = await desk.in_status(status)
        assert await desk.store.cancel([job.id]) == [CancelResult.FINAL]
        assert await desk.look(job) == job

    async def test_a_waiting_job_cancelled_twice_had_ended_already(self, desk: Desk) -> None:
        job = await desk.enqueue()
        both = await desk.store.cancel([job.id, job.id])
        assert both == [CancelResult.CANCELLED, CancelResult.FINAL]
        assert (await desk.look(job)).seq == 2

    async def test_cancellations_are_answered_in_order(self, desk: Desk) -> None:
        running, done, waiting = (
            await desk.running(),
            await desk.in_status(Status.COMPLETED),
            await desk.enqueue(),
        )
        answers = await desk.store.cancel([done.id, "no-such-job", running.id, waiting.id])
        assert answers == [
            CancelResult.FINAL,
            CancelResult.UNKNOWN,
            CancelResult.REQUESTED,
            CancelResult.CANCELLED,
        ]
        assert await desk.store.cancel([]) == []
        await desk.check_counts()

    @pytest.mark.parametrize("step", [Step.RETRY, Step.SNOOZE, Step.RELEASE, Step.CANCEL])
    async def test_a_job_asked_to_stop_ends_cancelled_when_handed_back(self, desk: Desk, step: Step) -> None:
        job = await desk.running(max_attempts=3)
        await desk.store.cancel([job.id])
        assert await desk.finish(job, step, error=BOOM if step is Step.RETRY else None, delay=5)
        ended = await desk.look(job)
        assert (ended.status, ended.finished_at) == (Status.CANCELLED, desk.clock.now)
        event = await desk.last_event(job)
        assert (event.seq, event.status, event.attempt) == (4, Status.CANCELLED, 1)
        await desk.check_counts()

    async def test_a_job_asked_to_stop_may_still_complete(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.store.cancel([job.id])
        assert await desk.finish(job, result=b"1")
        ended = await desk.look(job)
        assert (ended.status, ended.result) == (Status.COMPLETED, b"1")

    async def test_a_job_asked_to_stop_may_still_fail(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.store.cancel([job.id])
        assert await desk.fail(job)
        assert (await desk.look(job)).status is Status.FAILED

    async def test_a_job_that_ended_is_no_longer_asked_to_stop(self, desk: Desk) -> None:
        for step in (Step.COMPLETE, Step.FAIL, Step.CANCEL, Step.RELEASE):
            job = await desk.running()
            await desk.store.cancel([job.id])
            await desk.finish(job, step)
            assert not (await desk.look(job)).cancel_requested

    async def test_a_retry_that_waits_is_cancelled_at_once(self, desk: Desk) -> None:
        job = await desk.running(max_attempts=2)
        await desk.finish(job, Step.RETRY, error=BOOM, delay=60)
        assert await desk.store.cancel([job.id]) == [CancelResult.CANCELLED]
        assert (await desk.look(job)).status is Status.CANCELLED

    # purge

    async def test_purge_cancels_what_waits_in_one_queue(self, desk: Desk) -> None:
        pending, scheduled = await desk.enqueue(), await desk.enqueue(delay=60)
        running, elsewhere = await desk.running(), await desk.enqueue(queue="other")
        assert await desk.store.purge("default", limit=100) == 2
        statuses = [(await desk.look(job)).status for job in (pending, scheduled, running, elsewhere)]
        assert statuses == [Status.CANCELLED, Status.CANCELLED, Status.PROCESSING, Status.PENDING]
        assert not (await desk.look(running)).cancel_requested
        await desk.check_counts()

    async def test_each_purged_job_tells_its_cancellation(self, desk: Desk) -> None:
        job = await desk.enqueue()
        await desk.store.purge("default", limit=100)
        assert await desk.statuses(job) == [Status.PENDING, Status.CANCELLED]
        assert (await desk.look(job)).finished_at == desk.clock.now

    async def test_purge_keeps_to_its_limit(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(5))
        assert [await desk.store.purge("default", limit=2) for _ in range(4)] == [2, 2, 1, 0]
        await desk.check_counts()

    async def test_an_unknown_queue_has_nothing_to_purge(self, desk: Desk) -> None:
        await desk.enqueue()
        assert await desk.store.purge("nothing-here", limit=10) == 0
