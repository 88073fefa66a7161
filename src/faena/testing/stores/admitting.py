"""With an engine that delivers: what is held back, when it is given out, and what is sent back (rules 7, 11)."""

from __future__ import annotations

import pytest

from faena.job import Gate, Job, Status, Step
from faena.testing.clock import FakeClock
from faena.testing.desk import BOOM, Desk
from faena.testing.factories import at_once, rate
from faena.testing.stores.base import StoreSuite


def ids(*jobs: Job) -> list[str]:
    return [job.id for job in jobs]


class Admitting(StoreSuite):
    async def test_a_plain_job_is_not_held_back(self, desk: Desk) -> None:
        assert not (await desk.ask()).held_back
        assert await desk.admitted() == []

    async def test_a_job_with_gates_is_held_back_even_when_they_are_open(self, desk: Desk) -> None:
        inserted = await desk.ask(gates=(rate((1, 60)),))
        assert inserted.held_back
        assert await desk.admitted() == [inserted.job.id]
        assert await desk.admitted() == []

    async def test_a_job_that_is_paused_is_held_back(self, desk: Desk) -> None:
        await desk.store.pause(queue="media")
        await desk.store.pause(task="resize")
        queued, named = await desk.ask(queue="media"), await desk.ask(task="resize")
        assert (queued.held_back, named.held_back) == (True, True)
        assert await desk.admitted() == []
        await desk.store.resume(queue="media")
        assert await desk.admitted() == [queued.job.id]
        await desk.store.resume(task="resize")
        assert await desk.admitted() == [named.job.id]

    async def test_a_scheduled_job_is_not_called_held_back(self, desk: Desk) -> None:
        assert not (await desk.ask(delay=60, gates=(rate((1, 60)),))).held_back
        assert await desk.admitted() == []

    async def test_a_delivery_names_what_the_engine_needs(self, desk: Desk) -> None:
        job = await desk.enqueue(task="resize", queue="media", priority=4, gates=(at_once(1),))
        (delivery,) = (await desk.store.admit(limit=10)).deliveries
        assert (delivery.job_id, delivery.task) == (job.id, "resize")
        assert (delivery.queue, delivery.priority) == ("media", 4)
        assert await desk.look(job) == job  # nothing is told

    async def test_no_more_are_given_out_than_the_rate_has_room_for(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        jobs = await desk.insert(*desk.jobs.several(10, gates=(rate((3, 60)),)))
        assert await desk.admitted() == ids(*jobs[:3])
        assert await desk.admitted() == []
        assert len(await desk.claim(*jobs[:3])) == 3
        assert await desk.admitted() == []
        clock.advance(60)
        assert await desk.admitted() == ids(*jobs[3:6])

    async def test_no_more_are_given_out_than_there_are_slots(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(10, gates=(at_once(3),)))
        assert await desk.admitted() == ids(*jobs[:3])
        running = [await desk.take(job) for job in jobs[:3]]
        assert await desk.admitted() == []
        await desk.finish(running[1])
        assert await desk.admitted() == ids(jobs[3])
        assert await desk.admitted() == []

    async def test_a_job_given_out_and_cancelled_makes_room(self, desk: Desk) -> None:
        first, second = await desk.insert(*desk.jobs.several(2, gates=(at_once(1),)))
        assert await desk.admitted() == ids(first)
        await desk.store.cancel([first.id])
        assert await desk.admitted() == ids(second)

    async def test_every_gate_of_a_job_needs_room(self, desk: Desk) -> None:
        shared = at_once(3, "a")
        lanes = [
            await desk.insert(*desk.jobs.several(3, gates=(shared, at_once(1, f"b-{name}"))))
            for name in range(5)
        ]
        assert await desk.admitted() == ids(*(lane[0] for lane in lanes[:3]))
        assert await desk.admitted() == []

    async def test_lanes_are_given_out_in_turn(self, desk: Desk) -> None:
        lanes = [
            await desk.insert(*desk.jobs.several(4, gates=(at_once(100, name),))) for name in ("a", "b", "c")
        ]
        first = await desk.admitted(limit=6)
        assert sorted(first) == sorted(ids(*(job for lane in lanes for job in lane[:2])))
        rest = await desk.admitted()
        assert sorted(rest) == sorted(ids(*(job for lane in lanes for job in lane[2:])))

    async def test_admit_keeps_to_its_limit(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(5, gates=(at_once(100),)))
        assert [len(await desk.admitted(limit=2)) for _ in range(4)] == [2, 2, 1, 0]

    async def test_admit_says_when_the_next_gate_opens(self, desk: Desk, clock: FakeClock) -> None:
        for period in (600, 60):
            await desk.running(gates=(rate((1, period), name=f"r{period}"),))
            await desk.enqueue(gates=(rate((1, period), name=f"r{period}"),))
        clock.advance(10)
        admitted = await desk.store.admit(limit=10)
        assert admitted.deliveries == ()
        assert admitted.next_in == pytest.approx(50)

    async def test_a_gate_without_jobs_behind_it_is_not_waited_for(self, desk: Desk) -> None:
        await desk.running(gates=(rate((1, 60)),))
        await desk.enqueue()
        assert (await desk.store.admit(limit=10)).next_in is None

    async def test_a_gate_that_waits_for_a_running_job_has_no_time(self, desk: Desk) -> None:
        await desk.running(gates=(at_once(1),))
        await desk.enqueue(gates=(at_once(1),))
        assert (await desk.store.admit(limit=10)).next_in is None

    async def test_a_gate_opens_by_time_though_jobs_that_were_given_out_are_not_claimed_yet(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        jobs = await desk.insert(*desk.jobs.several(4, gates=(rate((2, 60)),)))
        await desk.take(jobs[0])
        assert await desk.admitted() == ids(jobs[1])
        clock.advance(10)
        admitted = await desk.store.admit(limit=10)
        assert admitted.deliveries == ()
        assert admitted.next_in == pytest.approx(50)
        assert await desk.next_ids(limit=1) == ids(
            jobs[1]
        )  # claimed straight from the store, it goes at once
        clock.advance(50)
        assert await desk.admitted() == ids(jobs[2])

    # Back and forth

    async def test_a_claim_checks_the_gates_of_what_was_given_out(self, desk: Desk) -> None:
        first, second = await desk.insert(*desk.jobs.several(2, gates=(at_once(1),)))
        assert await desk.admitted() == ids(first)
        assert await desk.next_ids(limit=1) == ids(first)  # a direct worker was quicker
        assert await desk.claim(first, second) == []

    async def test_a_claim_sends_back_what_may_not_go(self, desk: Desk, clock: FakeClock) -> None:
        gates = (rate((1, 60)),)
        first, second = await desk.insert(*desk.jobs.several(2, gates=gates))
        assert await desk.admitted() == ids(first)
        assert len(await desk.claim(second)) == 1  # a message out of turn
        assert await desk.claim(first) == []
        sent_back = await desk.look(first)
        assert (sent_back.status, sent_back.seq) == (Status.PENDING, 1)
        assert (await desk.obstacles(first)).delivered_ago is None
        clock.advance(60)
        assert await desk.admitted() == ids(first)

    async def test_a_plain_job_that_is_paused_meanwhile_is_sent_back(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        job = await desk.enqueue()
        await desk.store.pause(task=job.task)
        assert await desk.claim(job) == []
        clock.advance(1000)
        assert await desk.store.undelivered(empty=["default"], age=10, limit=10) == []
        assert await desk.admitted() == []
        await desk.store.resume(task=job.task)
        assert await desk.admitted() == ids(job)
        assert len(await desk.claim(job)) == 1

    async def test_a_direct_claim_takes_what_is_held_back(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(2, gates=(at_once(2),)))
        assert await desk.next_ids() == ids(*jobs)

    async def test_a_job_that_was_given_out_may_be_claimed_directly(self, desk: Desk) -> None:
        job = await desk.enqueue(gates=(at_once(1),))
        await desk.admitted()
        assert await desk.next_ids() == ids(job)
        assert await desk.claim(job) == []

    @pytest.mark.parametrize("step", [Step.RELEASE, Step.RETRY, Step.SNOOZE])
    async def test_a_job_with_gates_that_waits_again_is_held_back_again(self, desk: Desk, step: Step) -> None:
        job = await desk.enqueue(gates=(at_once(1),), max_attempts=3)
        assert await desk.admitted() == ids(job)
        await desk.finish(await desk.take(job), step, error=BOOM if step is Step.RETRY else None)
        assert (await desk.store.promote(limit=10)).deliveries == ()
        assert (await desk.look(job)).status is Status.PENDING
        assert await desk.admitted() == ids(job)

    async def test_promote_leaves_out_what_is_held_back(self, desk: Desk, clock: FakeClock) -> None:
        limited, plain = await desk.enqueue(delay=5, gates=(at_once(1),)), await desk.enqueue(delay=5)
        paused = await desk.enqueue(delay=5, task="paused")
        await desk.store.pause(task="paused")
        clock.advance(6)
        promoted = await desk.store.promote(limit=10)
        assert [one.job_id for one in promoted.deliveries] == ids(plain)
        statuses = {(await desk.look(job)).status for job in (limited, plain, paused)}
        assert statuses == {Status.PENDING}
        assert await desk.admitted() == ids(limited)
        await desk.store.resume(task="paused")
        assert await desk.admitted() == ids(paused)

    async def test_promote_is_called_again_at_once_when_it_reached_its_limit(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        await desk.insert(*desk.jobs.several(3, delay=5, gates=(at_once(1),)))
        clock.advance(6)
        promoted = await desk.store.promote(limit=3)
        assert (promoted.deliveries, promoted.next_in) == ((), 0)
        assert (await desk.store.promote(limit=3)).next_in is None

    async def test_rescue_leaves_out_what_is_held_back(self, desk: Desk, clock: FakeClock) -> None:
        limited, plain = await desk.running(gates=(at_once(1),)), await desk.running()
        paused = await desk.running(queue="media")
        await desk.store.pause(queue="media")
        clock.advance(1000)
        assert [one.job_id for one in await desk.store.rescue(limit=10)] == ids(plain)
        assert {(await desk.look(job)).status for job in (limited, paused)} == {Status.PENDING}
        assert await desk.admitted() == ids(limited)
        await desk.store.resume(queue="media")
        assert await desk.admitted() == ids(paused)

    async def test_what_is_held_back_is_not_lost(self, desk: Desk, clock: FakeClock) -> None:
        await desk.insert(*desk.jobs.several(3, gates=(at_once(1),)))
        await desk.store.pause(queue="media")
        await desk.enqueue(queue="media")
        clock.advance(5)
        await desk.running(priority=0)  # overtakes them
        clock.advance(1000)
        assert await desk.store.undelivered(empty=["default", "media"], age=10, limit=10) == []

    @pytest.mark.parametrize("gates", [(), (at_once(9),)])
    async def test_what_was_given_out_late_is_lost_only_if_younger_ones_overtook_it_since(
        self, desk: Desk, clock: FakeClock, gates: tuple[Gate, ...]
    ) -> None:
        await desk.store.pause(task="paused")
        job = await desk.enqueue(task="paused", gates=gates)
        clock.advance(5)
        await desk.take(await desk.enqueue())
        clock.advance(1000)
        await desk.take(await desk.enqueue())
        await desk.store.resume(task="paused")
        clock.advance(1)
        assert await desk.admitted() == ids(job)
        clock.advance(60)
        assert await desk.store.undelivered(empty=[], age=10, limit=10) == []
        await desk.take(await desk.enqueue())
        clock.advance(11)
        lost = await desk.store.undelivered(empty=[], age=10, limit=10)
        assert [one.job_id for one in lost] == ids(job)

    async def test_what_was_given_out_may_be_lost(self, desk: Desk, clock: FakeClock) -> None:
        job, held_back = await desk.insert(*desk.jobs.several(2, gates=(at_once(1),)))
        clock.advance(1000)
        assert await desk.admitted() == ids(job)
        clock.advance(9)
        assert await desk.store.undelivered(empty=["default"], age=10, limit=10) == []
        clock.advance(2)
        lost = await desk.store.undelivered(empty=["default"], age=10, limit=10)
        assert [one.job_id for one in lost] == ids(job)
        assert await desk.claim(held_back) != []
