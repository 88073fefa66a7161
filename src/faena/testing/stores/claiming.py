"""Taking jobs: `claim`, `claim_next`, `extend`, `work` (rules 2, 8, 9)."""

from __future__ import annotations

import asyncio

import pytest

from faena.events import EventType
from faena.job import Status, Step
from faena.ports.records import Claim, Held, Lease
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.stores.base import StoreSuite

SOON = 10.0
"""Seconds of real time after which a test gives a waiting call up."""


def ids(claims: list[Claim]) -> list[str]:
    return [claim.job.id for claim in claims]


class Claiming(StoreSuite):
    async def test_a_claim_is_one_step(self, desk: Desk, clock: FakeClock) -> None:
        waiting = await desk.enqueue()
        clock.advance(5)
        (claim,) = await desk.claim(waiting, lease=10, worker="me")
        job = claim.job
        assert (job.status, job.attempt, job.token) == (Status.PROCESSING, 1, 1)
        assert (job.worker, job.lease_until, job.started_at) == ("me", clock.now + 10, clock.now)
        assert job == await desk.look(waiting)

    async def test_a_claim_makes_one_status_event(self, desk: Desk) -> None:
        job = await desk.running()
        first, second = await desk.events(job)
        assert (second.seq, second.type, second.status) == (2, EventType.STATUS, Status.PROCESSING)
        assert (first.attempt, second.attempt) == (0, 1)
        assert job.seq == 2

    async def test_claims_come_in_the_order_of_the_ids(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(20))
        jobs = jobs[::2] + jobs[1::2]
        assert ids(await desk.claim(*jobs)) == [job.id for job in jobs]

    @pytest.mark.parametrize("status", sorted(set(Status) - {Status.PENDING}))
    async def test_only_a_pending_job_is_claimed(self, desk: Desk, status: Status) -> None:
        job = await desk.in_status(status)
        assert await desk.claim(job) == []
        assert await desk.claim_next() == []
        assert await desk.look(job) == job

    async def test_unknown_ids_are_passed_over(self, desk: Desk) -> None:
        job = await desk.enqueue()
        claims = await desk.store.claim(["no-such-job", job.id], worker="w", lease=10, request="r")
        assert ids(claims) == [job.id]

    async def test_an_id_twice_in_one_claim_is_claimed_once(self, desk: Desk) -> None:
        job = await desk.enqueue()
        assert len(await desk.claim(job, job)) == 1
        assert (await desk.look(job)).token == 1

    async def test_the_second_claim_of_a_job_gets_nothing(self, desk: Desk) -> None:
        job = await desk.enqueue()
        assert len(await desk.claim(job)) == 1
        assert await desk.claim(job) == []

    async def test_twenty_claims_of_a_job_at_once_make_one(self, desk: Desk) -> None:
        job = await desk.enqueue()
        answers = await asyncio.gather(*(desk.claim(job) for _ in range(20)))
        assert sum(len(claims) for claims in answers) == 1
        assert (await desk.look(job)).attempt == 1

    async def test_each_claim_raises_attempt_and_token(self, desk: Desk) -> None:
        job = await desk.enqueue(max_attempts=3)
        for number in (1, 2, 3):
            claimed = await desk.take(job)
            assert (claimed.attempt, claimed.token) == (number, number)
            await desk.finish(claimed, Step.RETRY)
            await desk.store.promote(limit=10)

    async def test_the_token_grows_even_when_the_attempt_is_given_back(self, desk: Desk) -> None:
        job = await desk.enqueue()
        await desk.finish(await desk.take(job), Step.RELEASE)
        claimed = await desk.take(job)
        assert (claimed.attempt, claimed.token) == (1, 2)

    # Repeated calls (rule 9)

    async def test_a_repeated_claim_returns_the_same_claims(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(3))
        first = await desk.claim(*jobs, request="again")
        assert await desk.claim(*jobs, request="again") == first

    async def test_a_repeated_claim_leaves_out_what_is_no_longer_held(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(3))
        first = await desk.claim(*jobs, request="again")
        await desk.finish(first[1].job)
        assert ids(await desk.claim(*jobs, request="again")) == [jobs[0].id, jobs[2].id]

    async def test_a_repeated_claim_next_takes_nothing_more(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(10))
        first = await desk.claim_next(limit=3, request="again")
        second = await desk.claim_next(limit=3, request="again")
        assert sorted(ids(second)) == sorted(ids(first))
        assert {claim.job.token for claim in second} == {1}
        assert len(await desk.claim_next(limit=10)) == 7

    async def test_a_request_does_not_return_what_another_holds(self, desk: Desk) -> None:
        job = await desk.enqueue()
        await desk.claim(job, request="one")
        assert await desk.claim(job, request="two") == []
        await desk.crash(job)
        await desk.claim(job, request="three")
        assert await desk.claim(job, request="one") == []

    # claim_next: what is next

    async def test_queues_are_served_in_the_order_given(self, desk: Desk) -> None:
        low, high, other = [await desk.enqueue(queue=queue) for queue in ("low", "high", "other")]
        assert ids(await desk.claim_next("high", "low")) == [high.id, low.id]
        assert (await desk.look(other)).status is Status.PENDING

    async def test_an_earlier_queue_goes_before_a_higher_priority(self, desk: Desk) -> None:
        low = await desk.enqueue(queue="low", priority=9)
        high = await desk.enqueue(queue="high", priority=-9)
        assert ids(await desk.claim_next("high", "low")) == [high.id, low.id]

    async def test_a_higher_priority_goes_first_within_a_queue(self, desk: Desk) -> None:
        jobs = [await desk.enqueue(priority=priority) for priority in (0, -1, 5, 2)]
        assert ids(await desk.claim_next()) == [jobs[number].id for number in (2, 3, 0, 1)]

    async def test_among_equals_the_longer_due_goes_first(self, desk: Desk, clock: FakeClock) -> None:
        jobs = [await desk.enqueue(due_at=clock.now - ago) for ago in (10, 30, 20)]
        assert ids(await desk.claim_next()) == [jobs[number].id for number in (1, 2, 0)]

    async def test_a_job_that_was_scheduled_goes_by_its_due_time(self, desk: Desk, clock: FakeClock) -> None:
        early = await desk.enqueue(delay=5)
        clock.advance(20)
        late = await desk.enqueue()
        await desk.store.promote(limit=10)
        assert ids(await desk.claim_next()) == [early.id, late.id]

    async def test_no_more_than_the_limit_are_taken(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(5), *desk.jobs.several(5, queue="other"))
        assert len(await desk.claim_next("default", "other", limit=7)) == 7
        assert len(await desk.claim_next("default", "other", limit=7)) == 3

    async def test_nothing_waiting_is_nothing_claimed(self, desk: Desk) -> None:
        assert await desk.claim_next() == []
        assert await desk.claim() == []
        await desk.enqueue()
        assert await desk.claim_next(limit=0) == []
        assert await desk.store.claim_next([], worker="w", lease=10, limit=5, request="r") == []

    async def test_claims_at_once_share_the_jobs_out(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(40))
        answers = await asyncio.gather(*(desk.claim_next(limit=7) for _ in range(10)))
        taken = [job_id for claims in answers for job_id in ids(claims)]
        assert sorted(taken) == sorted(job.id for job in jobs)

    # extend

    async def test_a_lease_lasts_from_its_extension(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running(lease=10)
        clock.advance(8)
        assert await desk.extend(job, lease=10) == Held(held=True)
        assert (await desk.look(job)).lease_until == clock.now + 10
        clock.advance(9)
        assert await desk.store.rescue(limit=10) == []

    async def test_a_lease_may_be_made_shorter(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running(lease=100)
        await desk.extend(job, lease=2)
        assert (await desk.look(job)).lease_until == clock.now + 2

    async def test_an_extension_makes_no_event(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.extend(job)
        assert (await desk.look(job)).seq == job.seq

    async def test_an_extension_tells_of_a_cancellation(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.store.cancel([job.id])
        assert await desk.extend(job) == Held(held=True, cancel_requested=True)

    async def test_an_extension_with_a_stale_token_changes_nothing(self, desk: Desk) -> None:
        stale = await desk.running()
        await desk.crash(stale)
        assert await desk.extend(stale) == Held(held=False)
        held = await desk.take(stale)
        assert await desk.extend(stale, lease=1000) == Held(held=False)
        assert await desk.look(stale) == held

    async def test_extensions_are_answered_in_order_good_and_stale_mixed(self, desk: Desk) -> None:
        good, ended = await desk.running(), await desk.running()
        await desk.finish(ended)
        leases = [(ended.id, 1), (good.id, 1), ("no-such-job", 1), (good.id, 2), (good.id, 0)]
        held = await desk.store.extend([Lease(job_id=one, token=token) for one, token in leases], lease=10)
        assert [one.held for one in held] == [False, True, False, False, False]
        assert await desk.store.extend([], lease=10) == []

    # work

    async def test_work_returns_at_once_when_a_job_waits(self, desk: Desk) -> None:
        await desk.enqueue(queue="two")
        await asyncio.wait_for(desk.store.work(["one", "two"], wait=600), SOON)

    async def test_work_returns_when_a_job_comes(self, desk: Desk) -> None:
        waiting = asyncio.create_task(desk.store.work(["default"], wait=600))
        await asyncio.sleep(0)
        await desk.enqueue()
        await asyncio.wait_for(waiting, SOON)

    async def test_work_returns_when_a_job_is_promoted(self, desk: Desk, clock: FakeClock) -> None:
        await desk.enqueue(delay=5)
        waiting = asyncio.create_task(desk.store.work(["default"], wait=600))
        await asyncio.sleep(0)
        clock.advance(6)
        await desk.store.promote(limit=10)
        await asyncio.wait_for(waiting, SOON)

    async def test_work_returns_when_a_job_is_rescued_or_handed_back(self, desk: Desk) -> None:
        rescued, released = await desk.running(), await desk.running()
        waiting = asyncio.create_task(desk.store.work(["default"], wait=600))
        await asyncio.sleep(0)
        await desk.finish(released, Step.RELEASE)
        await asyncio.wait_for(waiting, SOON)
        await desk.claim_next()
        waiting = asyncio.create_task(desk.store.work(["default"], wait=600))
        await asyncio.sleep(0)
        await desk.crash(rescued)
        await asyncio.wait_for(waiting, SOON)

    async def test_work_returns_when_its_time_is_up(self, desk: Desk) -> None:
        await asyncio.wait_for(desk.store.work(["default"], wait=0.01), SOON)
