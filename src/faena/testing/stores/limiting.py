"""Limits: what a gate lets through, and what it stops (rule 7)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from faena.job import Gate, Job, Status, Step
from faena.testing.clock import FakeClock
from faena.testing.desk import BOOM, Desk
from faena.testing.factories import at_once, rate
from faena.testing.stores.base import MakeStore, OpenDesk, StoreSuite, open_store
from faena.testing.stores.claiming import SOON

LEAVING: list[Any] = [
    Step.COMPLETE,
    Step.FAIL,
    Step.RETRY,
    Step.SNOOZE,
    Step.RELEASE,
    Step.CANCEL,
]
"""Every outcome: each of them ends a run."""


def ids(*jobs: Job) -> list[str]:
    return [job.id for job in jobs]


class Limiting(StoreSuite):
    # Rates

    async def test_no_more_start_than_the_rate_lets(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(5, gates=(rate((3, 60)),)))
        assert await desk.next_ids() == ids(*jobs[:3])
        assert await desk.next_ids() == []
        assert (await desk.look(jobs[3])).status is Status.PENDING

    async def test_a_start_counts_for_its_period_and_no_longer(self, desk: Desk, clock: FakeClock) -> None:
        jobs = await desk.insert(*desk.jobs.several(3, gates=(rate((1, 60)),)))
        assert await desk.next_ids() == ids(jobs[0])
        clock.advance(59.75)
        assert await desk.next_ids() == []
        clock.advance(0.25)
        assert await desk.next_ids() == ids(jobs[1])
        clock.advance(59.75)
        assert await desk.next_ids() == []

    async def test_a_rate_holds_in_any_window(self, desk: Desk, clock: FakeClock) -> None:
        await desk.insert(*desk.jobs.several(60, gates=(rate((4, 10)),)))
        starts: list[float] = []
        for number in range(200):
            starts += [clock.now for _ in await desk.next_ids(limit=1 + number % 3)]
            clock.advance(0.25 if number % 7 else 1.5)
        assert all(later - first >= 10 for first, later in zip(starts, starts[4:], strict=False))
        assert len(starts) > 30

    async def test_several_windows_hold_together(self, desk: Desk, clock: FakeClock) -> None:
        await desk.insert(*desk.jobs.several(30, gates=(rate((2, 1), (5, 10)),)))
        starts: list[float] = []
        for _ in range(80):
            starts += [clock.now for _ in await desk.next_ids()]
            clock.advance(0.25)
        began = starts[0]
        assert [start - began for start in starts] == [0, 0, 1, 1, 2, 10, 10, 11, 11, 12]

    async def test_a_rate_counts_every_start_again(self, desk: Desk) -> None:
        again = await desk.enqueue(gates=(rate((2, 60)),), max_attempts=3)
        await desk.finish(await desk.take(again), Step.RETRY, error=BOOM)
        await desk.store.promote(limit=10)
        await desk.finish(await desk.take(again), Step.RELEASE)
        assert await desk.claim(again) == []
        assert await desk.next_ids() == []

    async def test_a_rescued_attempt_has_used_its_start(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running(gates=(rate((1, 5000)),))
        await desk.crash(job)
        assert await desk.next_ids() == []
        clock.advance(4000)
        assert await desk.next_ids() == ids(job)

    async def test_starts_outlive_their_jobs(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running(gates=(rate((1, 500)),))
        await desk.finish(job, ttl=0)
        clock.advance(100)
        assert await desk.store.prune(limit=10) == 1
        second = await desk.enqueue(gates=(rate((1, 500)),))
        assert await desk.next_ids() == []
        clock.advance(400)
        assert await desk.next_ids() == ids(second)

    async def test_a_clock_that_is_set_back_lets_no_more_through(self, desk: Desk, clock: FakeClock) -> None:
        await desk.insert(*desk.jobs.several(3, gates=(rate((1, 60)),)))
        assert len(await desk.next_ids()) == 1
        clock.advance(-3600)
        assert await desk.next_ids() == []
        clock.advance(3659.75)
        assert await desk.next_ids() == []
        clock.advance(0.25)
        assert len(await desk.next_ids()) == 1

    async def test_a_start_after_the_clock_was_set_back_is_not_noted_earlier(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        await desk.insert(*desk.jobs.several(5, gates=(rate((2, 60)),)))
        assert len(await desk.next_ids(limit=1)) == 1
        clock.advance(-30)
        assert len(await desk.next_ids()) == 1
        clock.advance(89.75)
        assert await desk.next_ids() == []
        clock.advance(0.25)
        assert len(await desk.next_ids()) == 2

    async def test_claims_at_once_share_a_rate(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(40, gates=(rate((10, 60)),)))
        answers = await asyncio.gather(*(desk.claim_next(limit=3) for _ in range(10)))
        assert sum(map(len, answers)) == 10

    async def test_a_rate_is_one_across_instances(self, desk: Desk, other: Desk) -> None:
        await desk.insert(*desk.jobs.several(40, gates=(rate((10, 60)), at_once(7, "together"))))
        answers = await asyncio.gather(*(one.claim_next(limit=3) for one in (desk, other) * 5))
        assert sum(map(len, answers)) == 7

    async def test_starts_survive_a_restart(self, open_desk: OpenDesk) -> None:
        if not self.durable:
            pytest.skip("this store keeps nothing when it is closed")
        desk = await open_desk()
        await desk.insert(*desk.jobs.several(3, gates=(at_once(2), rate((1, 60)))))
        assert len(await desk.next_ids()) == 1
        await desk.store.close()
        assert await (await open_desk()).next_ids() == []

    # At once

    async def test_no_more_run_than_may_at_once(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(5, gates=(at_once(2),)))
        claims = await desk.claim_next()
        assert ids(*(claim.job for claim in claims)) == ids(*jobs[:2])
        assert await desk.next_ids() == []
        await desk.finish(claims[1].job)
        assert await desk.next_ids() == ids(jobs[2])
        assert await desk.next_ids() == []

    @pytest.mark.parametrize("step", LEAVING)
    @pytest.mark.parametrize("asked", [False, True], ids=["", "asked to stop"])
    async def test_a_slot_is_given_back_by_whatever_ends_the_run(
        self, desk: Desk, step: Step, asked: bool
    ) -> None:
        job = await desk.running(gates=(at_once(1),), max_attempts=2, priority=-1)
        second, third = await desk.insert(*desk.jobs.several(2, gates=(at_once(1),)))
        if asked:
            await desk.store.cancel([job.id])
        for _ in range(2):  # once, even when the outcome is told twice
            assert await desk.finish(job, step, error=BOOM if step in (Step.FAIL, Step.RETRY) else None)
        assert await desk.next_ids() == ids(second)
        assert await desk.finish(await desk.look(second))
        assert await desk.next_ids() == ids(third)

    async def test_an_attempt_too_many_gives_its_slot_back(self, desk: Desk) -> None:
        job = await desk.running(gates=(at_once(1),))
        second = await desk.enqueue(gates=(at_once(1),))
        await desk.finish(job, Step.RETRY, error=BOOM)
        assert (await desk.look(job)).status is Status.FAILED
        assert await desk.next_ids() == ids(second)

    @pytest.mark.parametrize("crashes", [1, 3], ids=["failed", "rescued"])
    @pytest.mark.parametrize("asked", [False, True], ids=["", "asked to stop"])
    async def test_a_slot_is_given_back_once_when_the_holder_went_silent(
        self, open_desk: OpenDesk, crashes: int, asked: bool
    ) -> None:
        desk = await open_desk(max_crashes=crashes)
        job = await desk.running(gates=(at_once(1),), priority=-1)
        second, third = await desk.insert(*desk.jobs.several(2, gates=(at_once(1),)))
        if asked:
            await desk.store.cancel([job.id])
        await desk.crash(job)
        assert await desk.next_ids() == ids(second)
        assert not await desk.finish(job)  # stale
        assert await desk.next_ids() == []
        assert await desk.finish(await desk.look(second))
        assert await desk.next_ids() == ids(third)

    async def test_a_slot_belongs_to_the_gate_that_it_was_taken_from(self, desk: Desk) -> None:
        job = await desk.running(gates=(at_once(1, "a"), at_once(1, "b")))
        behind_a, behind_b = [await desk.enqueue(gates=(at_once(1, name),)) for name in ("a", "b")]
        assert await desk.next_ids() == []
        await desk.finish(job)
        assert sorted(await desk.next_ids()) == ids(behind_a, behind_b)

    async def test_a_cancelled_job_that_waited_had_no_slot(self, desk: Desk) -> None:
        await desk.running(gates=(at_once(2),))
        waiting = await desk.enqueue(gates=(at_once(2),))
        await desk.store.cancel([waiting.id])
        await desk.insert(*desk.jobs.several(3, gates=(at_once(2),)))
        assert len(await desk.next_ids()) == 1

    # Which jobs a gate holds

    async def test_a_gate_is_shared_by_tasks_queues_and_priorities(self, desk: Desk) -> None:
        gates = (rate((2, 60)),)
        jobs = [
            await desk.enqueue(task=task, queue=queue, priority=priority, gates=gates)
            for task, queue, priority in [("one", "a", 0), ("two", "a", 5), ("one", "b", 0), ("two", "b", 1)]
        ]
        assert await desk.next_ids("a", "b") == ids(jobs[1], jobs[0])

    async def test_each_key_has_a_gate_of_its_own(self, desk: Desk) -> None:
        for host in "abc":
            await desk.insert(*desk.jobs.several(3, gates=(rate((1, 60), name=f"smtp[host={host}]"),)))
        assert len(await desk.next_ids()) == 3

    async def test_all_gates_of_a_job_must_be_open(self, desk: Desk) -> None:
        await desk.running(gates=(at_once(1, "b"),))
        both = await desk.enqueue(gates=(rate((1, 60), name="a"), at_once(1, "b")))
        assert await desk.next_ids() == []
        open_one = await desk.enqueue(gates=(rate((1, 60), name="a"),))
        assert await desk.next_ids() == ids(open_one)
        assert (await desk.look(both)).status is Status.PENDING

    async def test_a_gate_that_stopped_a_job_counted_nothing(self, desk: Desk) -> None:
        await desk.running(gates=(at_once(1, "z"),))
        stopped = await desk.enqueue(gates=(rate((1, 60), name="a"), at_once(1, "z")))
        for _ in range(3):
            assert await desk.claim(stopped) == []
            assert await desk.next_ids() == []
        free = await desk.enqueue(gates=(rate((1, 60), name="a"),))
        assert await desk.next_ids() == ids(free)

    async def test_one_gate_may_hold_a_rate_and_slots(self, desk: Desk, clock: FakeClock) -> None:
        gate = Gate(name="both", at_once=1, windows=rate((2, 60)).windows)
        first, second, third = await desk.insert(*desk.jobs.several(3, gates=(gate,)))
        assert await desk.next_ids() == ids(first)
        await desk.finish(await desk.look(first))
        assert await desk.next_ids() == ids(second)
        await desk.finish(await desk.look(second))
        assert await desk.next_ids() == []
        clock.advance(60)
        assert await desk.next_ids() == ids(third)

    async def test_each_job_is_judged_by_its_own_rule(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(3, gates=(rate((1, 60)),)))
        assert len(await desk.next_ids()) == 1
        wider = await desk.insert(*desk.jobs.several(3, gates=(rate((3, 60)),)))
        assert await desk.next_ids() == ids(*wider[:2])

    async def test_a_longer_rule_counts_the_starts_that_a_shorter_one_made(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        await desk.insert(*desk.jobs.several(4, gates=(rate((4, 1), (4, 600)),)))
        assert len(await desk.next_ids()) == 4
        clock.advance(300)
        short = await desk.enqueue(gates=(rate((1, 10)),))
        assert await desk.next_ids() == ids(short)
        long = await desk.enqueue(gates=(rate((4, 600)),))
        assert await desk.next_ids() == []
        clock.advance(300)
        assert await desk.next_ids() == ids(long)

    async def test_a_lower_limit_waits_until_enough_have_ended(self, desk: Desk) -> None:
        running = [await desk.running(gates=(at_once(3),)) for _ in range(3)]
        lower = await desk.enqueue(gates=(at_once(1),))
        for job in running:
            assert await desk.next_ids() == []
            await desk.finish(job)
        assert await desk.next_ids() == ids(lower)

    # What a gate does not hold

    async def test_a_closed_gate_stops_nobody_else(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(50, gates=(rate((1, 60)),), priority=9))
        assert len(await desk.next_ids()) == 1
        plain = await desk.insert(*desk.jobs.several(2))
        limited = await desk.enqueue(gates=(rate((1, 60), name="other"),))
        assert sorted(await desk.next_ids()) == ids(*plain, limited)

    async def test_many_lanes_behind_one_closed_gate_stop_nobody(self, desk: Desk, clock: FakeClock) -> None:
        shared = rate((1, 60), name="a")
        tenants = [at_once(1, f"tenant-{number}") for number in range(300)]
        await desk.insert(*(desk.jobs.new(gates=(shared, tenant)) for tenant in tenants))
        assert len(await desk.next_ids()) == 1
        plain = await desk.enqueue()
        assert await desk.next_ids() == ids(plain)
        clock.advance(60)
        assert len(await desk.next_ids()) == 1
        assert await desk.next_ids() == []

    async def test_ids_behind_a_closed_gate_are_left_out_of_a_claim(self, desk: Desk) -> None:
        limited = await desk.insert(*desk.jobs.several(3, gates=(rate((1, 60)),)))
        plain = await desk.enqueue()
        claims = await desk.claim(limited[1], plain, limited[0])
        assert [claim.job.id for claim in claims] == ids(limited[1], plain)
        left = await desk.look(limited[0])
        assert (left.status, left.attempt, left.seq) == (Status.PENDING, 0, 1)

    async def test_a_repeated_claim_uses_no_start_twice(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(3, gates=(rate((2, 60)),)))
        first = await desk.claim_next(limit=1, request="again")
        assert await desk.claim_next(limit=1, request="again") == first
        assert len(await desk.next_ids()) == 1

    async def test_jobs_of_a_lane_go_by_due_time(self, desk: Desk, clock: FakeClock) -> None:
        gates = (rate((100, 60)),)
        jobs = [await desk.enqueue(due_at=clock.now - ago, gates=gates) for ago in (10, 30, 20, 30)]
        assert await desk.next_ids() == ids(jobs[1], jobs[3], jobs[2], jobs[0])

    # Waiting for a gate

    async def test_work_returns_when_a_slot_is_given_back(self, desk: Desk) -> None:
        job = await desk.running(gates=(at_once(1),))
        await desk.enqueue(gates=(at_once(1),))
        assert await desk.next_ids() == []
        waiting = asyncio.create_task(desk.store.work(["default"], wait=600))
        await asyncio.sleep(0)
        await desk.finish(job)
        await asyncio.wait_for(waiting, SOON)
        assert len(await desk.next_ids()) == 1

    async def test_work_returns_when_a_gate_opens_by_time(self, make_store: MakeStore) -> None:
        async with open_store(make_store, time.time) as desk:
            await desk.insert(*desk.jobs.several(2, gates=(rate((1, 0.3)),)))
            began = time.monotonic()
            assert len(await desk.next_ids()) == 1
            async with asyncio.timeout(SOON):
                while not await desk.next_ids():
                    await desk.store.work(["default"], wait=600)
            assert time.monotonic() - began >= 0.29

    async def test_work_does_not_return_all_the_time_for_what_may_not_go(self, desk: Desk) -> None:
        await desk.running(gates=(at_once(1),))
        await desk.enqueue(gates=(at_once(1),))
        await desk.enqueue(task="paused")
        await desk.store.pause(task="paused")
        returned = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                while returned < 10:
                    assert await desk.next_ids() == []
                    await desk.store.work(["default"], wait=600)
                    returned += 1
        assert returned < 10
