"""Steering what waits: `pause`, `resume`, `paused`, `change` (rule 11)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from faena.events import EventType
from faena.job import Job, Status, Step
from faena.ports.records import CancelResult, Paused
from faena.testing.clock import FakeClock
from faena.testing.desk import BOOM, Desk
from faena.testing.factories import at_once, rate
from faena.testing.stores.base import OpenDesk, StoreSuite
from faena.testing.stores.claiming import SOON

PAUSES: list[dict[str, str]] = [{"queue": "default"}, {"task": "add"}]


def ids(*jobs: Job) -> list[str]:
    return [job.id for job in jobs]


class Steering(StoreSuite):
    # Pauses

    @pytest.mark.parametrize("what", PAUSES, ids=str)
    @pytest.mark.parametrize("gates", [(), (at_once(9),)], ids=["plain", "limited"])
    async def test_what_is_paused_is_not_claimed(
        self, desk: Desk, what: dict[str, str], gates: tuple[Any, ...]
    ) -> None:
        job = await desk.enqueue(gates=gates)
        await desk.store.pause(**what)
        assert await desk.claim(job) == []
        assert await desk.next_ids() == []
        assert await desk.look(job) == job
        await desk.store.resume(**what)
        assert await desk.next_ids() == ids(job)

    @pytest.mark.parametrize("what", PAUSES, ids=str)
    async def test_what_is_enqueued_into_a_pause_waits_in_order(
        self, desk: Desk, what: dict[str, str]
    ) -> None:
        before = await desk.enqueue()
        await desk.store.pause(**what)
        assert await desk.next_ids() == []
        later = await desk.insert(*desk.jobs.several(3))
        assert await desk.next_ids() == []
        await desk.store.resume(**what)
        assert sorted(await desk.one_by_one()) == ids(before, *later)

    async def test_a_pause_stops_nothing_else(self, desk: Desk) -> None:
        await desk.store.pause(queue="paused")
        await desk.store.pause(task="paused")
        await desk.enqueue(queue="paused", priority=9)
        await desk.enqueue(task="paused", priority=9)
        job = await desk.enqueue(task="queue", queue="task")
        other = await desk.enqueue()
        assert await desk.next_ids("paused", "default", "task") == ids(other, job)

    async def test_a_task_and_a_queue_of_one_name_are_two(self, desk: Desk) -> None:
        await desk.store.pause(queue="add")
        job = await desk.enqueue(task="add", queue="default")
        assert await desk.next_ids("add", "default") == ids(job)
        assert not await desk.store.resume(task="add")

    @pytest.mark.parametrize("what", PAUSES, ids=str)
    async def test_what_runs_goes_on(self, desk: Desk, what: dict[str, str]) -> None:
        job = await desk.running(max_attempts=2)
        await desk.store.pause(**what)
        assert (await desk.report(job, progress=50)).held
        assert (await desk.extend(job)).held
        assert await desk.finish(job, Step.RETRY, error=BOOM)
        await desk.store.promote(limit=10)
        assert await desk.next_ids() == []
        await desk.store.resume(**what)
        assert await desk.next_ids() == ids(job)

    async def test_pausing_twice_is_resumed_once(self, desk: Desk) -> None:
        assert await desk.store.pause(queue="media")
        assert not await desk.store.pause(queue="media")
        assert await desk.store.resume(queue="media")
        assert not await desk.store.resume(queue="media")
        assert await desk.store.paused() == []

    async def test_what_is_paused_is_listed_longest_first(self, desk: Desk, clock: FakeClock) -> None:
        began = clock.now
        await desk.store.pause(task="zip")
        clock.advance(5)
        await desk.store.pause(queue="media")
        await desk.store.pause(task="zip")
        listed = [Paused(task="zip", at=began), Paused(queue="media", at=began + 5)]
        assert await desk.store.paused() == listed

    async def test_both_pauses_of_a_job_must_end(self, desk: Desk) -> None:
        job = await desk.enqueue()
        await desk.store.pause(queue="default")
        await desk.store.pause(task="add")
        await desk.next_ids()
        await desk.store.resume(queue="default")
        assert await desk.next_ids() == []
        await desk.store.resume(task="add")
        assert await desk.next_ids() == ids(job)

    async def test_a_thousand_paused_jobs_stop_no_claim(self, desk: Desk) -> None:
        paused = await desk.insert(*desk.jobs.several(1000, task="paused"))
        may_go = await desk.enqueue()
        await desk.store.pause(task="paused")
        assert await desk.one_by_one() == ids(may_go)
        later = await desk.enqueue()
        assert await desk.next_ids(limit=1) == ids(later)
        await desk.store.resume(task="paused")
        taken = [job_id for _ in range(10) for job_id in await desk.next_ids(limit=100)]
        assert sorted(taken) == ids(*paused)

    async def test_jobs_that_were_set_aside_come_back_by_due_time(self, desk: Desk, clock: FakeClock) -> None:
        jobs = [await desk.enqueue(due_at=clock.now - ago) for ago in (10, 30, 20)]
        await desk.store.pause(task="add")
        assert await desk.next_ids() == []
        await desk.store.resume(task="add")
        assert await desk.one_by_one() == ids(jobs[1], jobs[2], jobs[0])

    async def test_a_job_set_aside_can_be_cancelled_purged_and_changed(self, desk: Desk) -> None:
        cancelled, changed, purged = await desk.insert(*desk.jobs.several(3))
        await desk.store.pause(task="add")
        assert await desk.next_ids() == []
        assert await desk.store.cancel([cancelled.id]) == [CancelResult.CANCELLED]
        assert (await desk.store.change(changed.id, priority=5)).changed
        await desk.store.resume(task="add")
        assert await desk.next_ids(limit=1) == ids(changed)
        assert await desk.store.purge("default", limit=10) == 1
        assert (await desk.look(purged)).status is Status.CANCELLED
        assert await desk.next_ids() == []
        await desk.check_counts()

    async def test_a_pause_between_resume_and_claim_holds(self, desk: Desk) -> None:
        job = await desk.enqueue()
        for _ in range(3):
            await desk.store.pause(task="add")
            assert await desk.next_ids() == []
            await desk.store.resume(task="add")
        await desk.store.pause(task="add")
        assert await desk.next_ids() == []
        await desk.store.resume(task="add")
        assert await desk.next_ids() == ids(job)

    async def test_a_pause_reaches_other_instances(self, desk: Desk, other: Desk) -> None:
        job = await desk.enqueue()
        await desk.store.pause(task="add")
        assert await other.next_ids() == []
        assert await other.store.paused() == await desk.store.paused()
        await other.store.resume(task="add")
        assert await desk.next_ids() == ids(job)

    async def test_a_pause_survives_a_restart(self, open_desk: OpenDesk) -> None:
        if not self.durable:
            pytest.skip("this store keeps nothing when it is closed")
        desk = await open_desk()
        job = await desk.enqueue()
        await desk.store.pause(queue="default")
        await desk.store.close()
        again = await open_desk()
        assert await again.next_ids() == []
        await again.store.resume(queue="default")
        assert await again.next_ids() == ids(job)

    @pytest.mark.parametrize("what", PAUSES, ids=str)
    async def test_work_returns_when_something_is_resumed(self, desk: Desk, what: dict[str, str]) -> None:
        await desk.enqueue()
        await desk.store.pause(**what)
        assert await desk.next_ids() == []
        waiting = asyncio.create_task(desk.store.work(["default"], wait=600))
        await asyncio.sleep(0)
        await desk.store.resume(**what)
        await asyncio.wait_for(waiting, SOON)
        assert len(await desk.next_ids()) == 1

    async def test_a_resumption_in_another_instance_wakes_who_waits(self, desk: Desk, other: Desk) -> None:
        await desk.enqueue()
        await desk.store.pause(queue="default")
        assert await desk.next_ids() == []
        waiting = asyncio.create_task(desk.store.work(["default"], wait=600))
        await asyncio.sleep(0)
        await other.store.resume(queue="default")
        await asyncio.wait_for(waiting, SOON)

    # Changes

    async def test_a_waiting_job_gets_another_place_in_line(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(3))
        changed = await desk.store.change(jobs[2].id, priority=5)
        assert changed.changed
        assert changed.job == await desk.look(jobs[2])
        assert changed.job is not None
        assert (changed.job.priority, changed.job.status) == (5, Status.PENDING)
        assert (await desk.store.change(jobs[0].id, priority=-5)).changed
        assert await desk.next_ids() == ids(jobs[2], jobs[1], jobs[0])

    @pytest.mark.parametrize("gates", [(), (rate((9, 60)),)], ids=["plain", "limited"])
    @pytest.mark.parametrize("status", [Status.SCHEDULED, Status.PENDING])
    async def test_a_job_may_be_put_off(
        self, desk: Desk, clock: FakeClock, status: Status, gates: tuple[Any, ...]
    ) -> None:
        job = await desk.in_status(status, gates=gates)
        changed = await desk.store.change(job.id, delay=100)
        assert changed.job is not None
        assert (changed.job.status, changed.job.due_at) == (Status.SCHEDULED, clock.now + 100)
        assert await desk.next_ids() == []
        clock.advance(99)
        assert (await desk.store.promote(limit=10)).next_in == pytest.approx(1)
        assert await desk.next_ids() == []
        clock.advance(2)
        await desk.store.promote(limit=10)
        assert await desk.next_ids() == ids(job)
        await desk.check_counts()

    @pytest.mark.parametrize("gates", [(), (rate((9, 60)),)], ids=["plain", "limited"])
    @pytest.mark.parametrize("status", [Status.SCHEDULED, Status.PENDING])
    async def test_a_job_may_be_called_up(
        self, desk: Desk, clock: FakeClock, status: Status, gates: tuple[Any, ...]
    ) -> None:
        job = await desk.in_status(status, gates=gates)
        changed = await desk.store.change(job.id, due_at=clock.now - 7)
        assert changed.job is not None
        assert (changed.job.status, changed.job.due_at) == (Status.PENDING, clock.now - 7)
        assert (await desk.store.promote(limit=10)).deliveries == ()
        assert await desk.next_ids() == ids(job)
        await desk.check_counts()

    async def test_a_pending_job_moves_to_its_new_time_in_line(self, desk: Desk, clock: FakeClock) -> None:
        first, second = await desk.enqueue(), await desk.enqueue()
        await desk.store.change(second.id, due_at=clock.now - 60)
        assert await desk.next_ids() == ids(second, first)

    async def test_priority_and_time_change_in_one_step(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue()
        changed = await desk.store.change(job.id, priority=3, due_at=clock.now + 60)
        assert changed.job is not None
        assert (changed.job.priority, changed.job.due_at) == (3, clock.now + 60)
        assert changed.job.seq == 2

    async def test_the_priority_of_a_scheduled_job_changes_and_its_time_stays(self, desk: Desk) -> None:
        job = await desk.enqueue(delay=60)
        changed = await desk.store.change(job.id, priority=3)
        assert changed.job is not None
        assert (changed.job.status, changed.job.due_at) == (Status.SCHEDULED, job.due_at)
        assert changed.job.priority == 3

    async def test_another_priority_keeps_a_job_pending_when_the_clock_was_set_back(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        job = await desk.enqueue()
        clock.advance(-60)
        changed = await desk.store.change(job.id, priority=3)
        assert changed.job is not None
        assert (changed.job.status, changed.job.due_at) == (Status.PENDING, job.due_at)
        assert await desk.next_ids() == ids(job)

    async def test_a_change_is_told_by_one_event(self, desk: Desk) -> None:
        job = await desk.enqueue()
        for changes in ({"priority": 1}, {"delay": 60.0}, {"delay": 120.0}, {"delay": 0.0}):
            await desk.store.change(job.id, **changes)
        events = await desk.events(job)
        assert [event.seq for event in events] == [1, 2, 3, 4, 5]
        assert {event.type for event in events} == {EventType.STATUS}
        assert [event.message for event in events[1:]] == ["changed"] * 4
        pending, scheduled = Status.PENDING, Status.SCHEDULED
        assert [event.status for event in events] == [pending, pending, scheduled, scheduled, pending]

    @pytest.mark.parametrize("status", sorted(set(Status) - {Status.SCHEDULED, Status.PENDING}))
    async def test_only_a_waiting_job_is_changed(self, desk: Desk, status: Status) -> None:
        job = await desk.in_status(status)
        answer = await desk.store.change(job.id, priority=5, delay=60)
        assert (answer.changed, answer.job) == (False, job)
        assert await desk.look(job) == job

    async def test_an_unknown_job_is_not_changed(self, desk: Desk) -> None:
        answer = await desk.store.change("no-such-job", priority=5)
        assert (answer.changed, answer.job) == (False, None)

    async def test_a_job_called_up_reaches_the_engine(self, desk: Desk, clock: FakeClock) -> None:
        for gates in ((), (at_once(9),)):
            job = await desk.enqueue(delay=60, gates=gates)
            await desk.store.change(job.id, delay=0)
            clock.advance(11)
            lost = await desk.store.undelivered(empty=["default"], age=10, limit=10)
            assert job.id in [*await desk.admitted(), *(one.job_id for one in lost)]

    async def test_a_changed_job_stays_behind_its_gate(self, desk: Desk) -> None:
        running = await desk.running(gates=(at_once(1),))
        job = await desk.enqueue(gates=(at_once(1),))
        await desk.store.change(job.id, priority=9)
        assert await desk.next_ids() == []
        await desk.finish(running)
        assert await desk.next_ids() == ids(job)
