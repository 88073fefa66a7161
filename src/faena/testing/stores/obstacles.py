"""Why a job does not run, as far as the store knows: `obstacles`."""

from __future__ import annotations

import pytest

from faena.job import Status, Step
from faena.ports.records import Obstacles
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.factories import at_once, rate
from faena.testing.stores.base import StoreSuite


class WhyNot(StoreSuite):
    async def test_nothing_keeps_a_job_that_may_go(self, desk: Desk) -> None:
        job = await desk.enqueue()
        assert await desk.obstacles(job) == Obstacles(delivered_ago=0.0)

    async def test_nothing_keeps_a_job_whose_gates_are_open(self, desk: Desk) -> None:
        job = await desk.enqueue(gates=(at_once(1), rate((1, 60))))
        assert await desk.obstacles(job) == Obstacles()

    async def test_a_job_that_does_not_wait_has_no_obstacles(self, desk: Desk) -> None:
        assert await desk.store.obstacles("no-such-job") is None
        for status in set(Status) - {Status.SCHEDULED, Status.PENDING}:
            job = await desk.in_status(status)
            assert await desk.store.obstacles(job.id) is None

    async def test_a_scheduled_job_waits_for_its_time(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue(delay=30)
        clock.advance(10)
        assert (await desk.obstacles(job)).due_in == pytest.approx(20)
        clock.advance(100)
        assert (await desk.obstacles(job)).due_in in (0, None)  # until somebody promotes it

    async def test_pauses_are_named(self, desk: Desk) -> None:
        job = await desk.enqueue()
        await desk.store.pause(task="add")
        found = await desk.obstacles(job)
        assert (found.queue_paused, found.task_paused) == (False, True)
        await desk.next_ids()  # which may set it aside
        await desk.store.pause(queue="default")
        found = await desk.obstacles(job)
        assert (found.queue_paused, found.task_paused) == (True, True)
        await desk.store.resume(queue="default")
        await desk.store.resume(task="add")
        found = await desk.obstacles(job)
        assert (found.queue_paused, found.task_paused) == (False, False)

    async def test_a_rate_is_named_with_the_time_when_it_opens(self, desk: Desk, clock: FakeClock) -> None:
        gate = rate((2, 60), name="smtp")
        await desk.running(gates=(gate,))
        clock.advance(10)
        await desk.running(gates=(gate,))
        clock.advance(5)
        job = await desk.enqueue(gates=(at_once(1), gate))
        found = await desk.obstacles(job)
        assert (found.gate, found.holders) == (gate, ())
        assert found.opens_in == pytest.approx(45)
        clock.advance(45)
        assert (await desk.obstacles(job)).gate is None

    async def test_of_several_windows_the_one_that_opens_last_decides(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        gate = rate((1, 10), (2, 100))
        job = await desk.enqueue(gates=(gate,))
        await desk.running(gates=(gate,))
        assert (await desk.obstacles(job)).opens_in == pytest.approx(10)
        clock.advance(20)
        await desk.running(gates=(gate,))
        assert (await desk.obstacles(job)).opens_in == pytest.approx(80)

    async def test_a_job_behind_a_lower_limit_waits_until_enough_starts_are_over(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        for _ in range(3):
            await desk.running(gates=(rate((3, 60)),))
            clock.advance(10)
        lower = await desk.enqueue(gates=(rate((1, 60)),))
        assert (await desk.obstacles(lower)).opens_in == pytest.approx(50)

    async def test_slots_are_named_with_who_holds_them(self, desk: Desk) -> None:
        gate = at_once(2, "tenant")
        running = [await desk.running(gates=(gate,), task=task) for task in ("one", "two")]
        job = await desk.enqueue(gates=(gate,))
        found = await desk.obstacles(job)
        assert (found.gate, found.opens_in) == (gate, None)
        assert sorted(found.holders) == [one.id for one in running]
        await desk.finish(running[0])
        assert (await desk.obstacles(job)).gate is None

    async def test_no_more_than_ten_holders_are_named(self, desk: Desk) -> None:
        gate = at_once(15)
        jobs = await desk.insert(*desk.jobs.several(16, gates=(gate,)))
        taken = await desk.next_ids()
        assert len(taken) == 15
        holders = (await desk.obstacles(jobs[-1])).holders
        assert len(set(holders)) == len(holders) == 10
        assert set(holders) <= set(taken)

    async def test_the_first_closed_gate_is_named(self, desk: Desk) -> None:
        a, b, c = at_once(1, "a"), at_once(1, "b"), rate((1, 60), name="c")
        await desk.running(gates=(b,))
        await desk.running(gates=(c,))
        job = await desk.enqueue(gates=(a, b, c))
        assert (await desk.obstacles(job)).gate == b

    async def test_the_jobs_ahead_in_its_line_are_counted(self, desk: Desk, clock: FakeClock) -> None:
        jobs = await desk.insert(*desk.jobs.several(4))
        await desk.enqueue(due_at=clock.now - 10)
        for elsewhere in ({"queue": "other"}, {"priority": 1}, {"gates": (at_once(1),)}):
            await desk.enqueue(**elsewhere)
        assert [(await desk.obstacles(job)).ahead for job in jobs] == [1, 2, 3, 4]

    async def test_the_jobs_ahead_in_a_lane_are_counted(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(3))
        jobs = await desk.insert(*desk.jobs.several(4, gates=(at_once(1),)))
        await desk.enqueue(gates=(at_once(1, "other"),))
        assert [(await desk.obstacles(job)).ahead for job in jobs] == [0, 1, 2, 3]

    async def test_jobs_ahead_are_counted_up_to_a_thousand(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(1100), *desk.jobs.several(1100, gates=(at_once(1),)))
        assert (await desk.obstacles(jobs[999])).ahead == 999
        assert (await desk.obstacles(jobs[1099])).ahead == 1000
        assert (await desk.obstacles(jobs[2199])).ahead == 1000

    async def test_the_time_since_the_delivery_is_told(self, desk: Desk, clock: FakeClock) -> None:
        plain, limited = await desk.enqueue(), await desk.enqueue(gates=(at_once(1),))
        clock.advance(30)
        assert (await desk.obstacles(plain)).delivered_ago == pytest.approx(30)
        assert (await desk.obstacles(limited)).delivered_ago is None
        await desk.store.admit(limit=10)
        clock.advance(5)
        assert (await desk.obstacles(limited)).delivered_ago == pytest.approx(5)
        await desk.finish(await desk.take(limited), Step.RELEASE)
        assert (await desk.obstacles(limited)).delivered_ago is None

    async def test_asking_changes_nothing(self, desk: Desk) -> None:
        position = await desk.position()
        job = await desk.enqueue(gates=(rate((1, 60)),))
        for _ in range(3):
            await desk.obstacles(job)
        assert await desk.look(job) == job
        assert len(await desk.told_since(position)) == 1
        assert await desk.next_ids() == [job.id]
