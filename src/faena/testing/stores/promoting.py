"""Bringing jobs on their way: `promote` and `undelivered`."""

from __future__ import annotations

import pytest

from faena.events import EventType
from faena.job import Status, Step
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.stores.base import StoreSuite


class Promoting(StoreSuite):
    async def test_a_job_whose_time_has_come_is_pending(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue(delay=5, queue="media", priority=3)
        clock.advance(6)
        (delivery,) = (await desk.store.promote(limit=10)).deliveries
        assert (delivery.job_id, delivery.task, delivery.queue) == (job.id, job.task, "media")
        assert delivery.priority == 3
        assert (await desk.look(job)).status is Status.PENDING

    async def test_a_promotion_is_one_status_event(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue(delay=5)
        clock.advance(6)
        await desk.store.promote(limit=10)
        event = await desk.last_event(job)
        assert (event.seq, event.type, event.status) == (2, EventType.STATUS, Status.PENDING)

    async def test_a_job_is_not_promoted_before_its_time(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue(delay=5)
        clock.advance(4)
        promoted = await desk.store.promote(limit=10)
        assert promoted.deliveries == ()
        assert await desk.look(job) == job

    async def test_promote_says_when_the_next_one_is_due(self, desk: Desk, clock: FakeClock) -> None:
        for delay in (50, 5, 20):
            await desk.enqueue(delay=delay)
        clock.advance(6)
        promoted = await desk.store.promote(limit=10)
        assert len(promoted.deliveries) == 1
        assert promoted.next_in == pytest.approx(14)

    async def test_with_nothing_scheduled_there_is_no_next_one(self, desk: Desk) -> None:
        await desk.enqueue()
        await desk.running()
        assert (await desk.store.promote(limit=10)).next_in is None

    async def test_no_more_than_the_limit_are_promoted(self, desk: Desk, clock: FakeClock) -> None:
        jobs = [await desk.enqueue(delay=delay) for delay in (3, 1, 5, 2, 4)]
        clock.advance(10)
        first = await desk.store.promote(limit=2)
        assert [one.job_id for one in first.deliveries] == [jobs[1].id, jobs[3].id]
        assert first.next_in is not None
        assert first.next_in <= 0.001
        assert len((await desk.store.promote(limit=10)).deliveries) == 3
        await desk.check_counts()

    @pytest.mark.parametrize("step", [Step.RETRY, Step.SNOOZE])
    async def test_a_job_that_waits_to_run_again_is_promoted(
        self, desk: Desk, clock: FakeClock, step: Step
    ) -> None:
        job = await desk.running(max_attempts=2)
        await desk.finish(job, step, delay=30)
        clock.advance(29)
        assert (await desk.store.promote(limit=10)).deliveries == ()
        clock.advance(2)
        (delivery,) = (await desk.store.promote(limit=10)).deliveries
        assert delivery.job_id == job.id
        assert (await desk.take(job)).token == 2

    async def test_a_cancelled_job_is_not_the_next_one_due(self, desk: Desk) -> None:
        job = await desk.enqueue(delay=5)
        await desk.store.cancel([job.id])
        assert (await desk.store.promote(limit=10)).next_in is None

    async def test_a_clock_that_is_set_back_only_delays(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue(delay=5)
        clock.advance(-100)
        assert (await desk.store.promote(limit=10)).deliveries == ()
        clock.advance(106)
        assert len((await desk.store.promote(limit=10)).deliveries) == 1
        assert await desk.statuses(job) == [Status.SCHEDULED, Status.PENDING]

    # undelivered

    async def test_a_job_that_an_empty_engine_must_hold_is_lost(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue()
        clock.advance(11)
        (delivery,) = await desk.store.undelivered(empty=["default"], age=10, limit=10)
        assert (delivery.job_id, delivery.task, delivery.queue) == (job.id, job.task, "default")
        assert await desk.look(job) == job

    async def test_a_job_just_delivered_is_not_lost(self, desk: Desk, clock: FakeClock) -> None:
        await desk.enqueue()
        clock.advance(9)
        assert await desk.store.undelivered(empty=["default"], age=10, limit=10) == []

    async def test_a_job_is_found_lost_once_an_age(self, desk: Desk, clock: FakeClock) -> None:
        await desk.enqueue()
        clock.advance(11)
        found = [len(await desk.store.undelivered(empty=["default"], age=10, limit=10)) for _ in range(2)]
        clock.advance(11)
        found.append(len(await desk.store.undelivered(empty=["default"], age=10, limit=10)))
        assert found == [1, 0, 1]

    async def test_a_job_in_a_queue_that_is_not_empty_may_still_come(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        await desk.enqueue()
        clock.advance(1000)
        assert await desk.store.undelivered(empty=["other"], age=10, limit=10) == []
        assert await desk.store.undelivered(empty=[], age=10, limit=10) == []

    async def test_a_job_that_younger_ones_overtook_long_ago_is_lost(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        lost = await desk.enqueue()
        clock.advance(5)
        younger, still_young = await desk.enqueue(), await desk.enqueue()
        await desk.take(younger)
        clock.advance(11)
        found = await desk.store.undelivered(empty=[], age=10, limit=10)
        assert [one.job_id for one in found] == [lost.id]
        assert (await desk.look(still_young)).status is Status.PENDING

    async def test_the_youngest_that_overtook_decides(self, desk: Desk, clock: FakeClock) -> None:
        oldest = await desk.enqueue()
        clock.advance(5)
        lost = await desk.enqueue()
        clock.advance(5)
        youngest = await desk.enqueue()
        await desk.take(youngest)
        await desk.take(oldest)
        clock.advance(11)
        found = await desk.store.undelivered(empty=[], age=10, limit=10)
        assert [one.job_id for one in found] == [lost.id]

    async def test_only_what_became_due_after_it_was_sent_overtakes_a_job(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        waiting = await desk.enqueue()
        clock.advance(5)
        await desk.take(await desk.enqueue())
        found = []
        for _ in range(3):
            clock.advance(11)
            found.append([one.job_id for one in await desk.store.undelivered(empty=[], age=10, limit=10)])
        await desk.take(await desk.enqueue())
        clock.advance(11)
        found.append([one.job_id for one in await desk.store.undelivered(empty=[], age=10, limit=10)])
        assert found == [[waiting.id], [], [], [waiting.id]]

    async def test_a_job_overtaken_just_now_is_not_lost_yet(self, desk: Desk, clock: FakeClock) -> None:
        await desk.enqueue()
        clock.advance(50)
        await desk.take(await desk.enqueue())
        clock.advance(9)
        assert await desk.store.undelivered(empty=[], age=10, limit=10) == []

    async def test_a_job_overtaken_in_another_queue_is_not_lost(self, desk: Desk, clock: FakeClock) -> None:
        await desk.enqueue()
        clock.advance(5)
        await desk.take(await desk.enqueue(queue="other"))
        clock.advance(50)
        assert await desk.store.undelivered(empty=[], age=10, limit=10) == []

    async def test_a_job_overtaken_by_one_of_higher_priority_is_not_lost(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        await desk.enqueue(priority=0)
        clock.advance(1)
        await desk.take(await desk.enqueue(priority=9))
        clock.advance(100)
        assert await desk.store.undelivered(empty=[], age=5, limit=10) == []

    async def test_only_pending_jobs_are_lost(self, desk: Desk, clock: FakeClock) -> None:
        for status in set(Status) - {Status.PENDING}:
            await desk.in_status(status, **({"delay": 10_000} if status is Status.SCHEDULED else {}))
        clock.advance(1000)
        assert await desk.store.undelivered(empty=["default"], age=10, limit=10) == []

    async def test_promotion_rescue_and_release_count_as_delivery(self, desk: Desk, clock: FakeClock) -> None:
        await desk.enqueue(delay=5, queue="one")
        await desk.running(queue="two", lease=500)
        released = await desk.running(queue="three", lease=5000)
        clock.advance(1000)
        await desk.store.promote(limit=10)
        await desk.store.rescue(limit=10)
        await desk.finish(released, Step.RELEASE)
        clock.advance(9)
        queues = ["one", "two", "three"]
        assert await desk.store.undelivered(empty=queues, age=10, limit=10) == []
        clock.advance(2)
        assert len(await desk.store.undelivered(empty=queues, age=10, limit=10)) == 3

    async def test_no_more_than_the_limit_are_found_lost(self, desk: Desk, clock: FakeClock) -> None:
        await desk.insert(*desk.jobs.several(5))
        clock.advance(11)
        found = [len(await desk.store.undelivered(empty=["default"], age=10, limit=2)) for _ in range(4)]
        assert found == [2, 2, 1, 0]
