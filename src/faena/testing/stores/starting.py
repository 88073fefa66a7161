"""Functions that are called late: within what time a claim counts, and what counts anew after that (rule 7)."""

from __future__ import annotations

import msgspec
import pytest

from faena.job import Job
from faena.ports.records import Held
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.factories import at_once, rate
from faena.testing.stores.base import StoreSuite


def ids(*jobs: Job) -> list[str]:
    return [job.id for job in jobs]


class Starting(StoreSuite):
    async def test_a_claim_tells_within_what_time_its_function_is_to_be_called(self, desk: Desk) -> None:
        gates = (at_once(5), rate((3, 60)), rate((5, 1.04), name="short"))
        jobs = await desk.insert(*desk.jobs.several(2, gates=gates))
        for again in range(2):
            claims = await desk.store.claim([jobs[0].id], worker="w", lease=60, request="one")
            claims += await desk.store.claim_next(["default"], worker="w", lease=60, limit=1, request="two")
            assert ids(*(claim.job for claim in claims)) == ids(*jobs), again
            assert [claim.call_within for claim in claims] == [pytest.approx(0.04)] * 2, again

    async def test_a_function_without_a_rate_may_be_called_at_any_time(self, desk: Desk) -> None:
        await desk.insert(desk.jobs.new(), desk.jobs.new(gates=(at_once(2),)))
        claims = await desk.claim_next()
        assert [claim.call_within for claim in claims] == [None, None]

    async def test_a_late_start_is_counted_from_the_call_on(self, desk: Desk, clock: FakeClock) -> None:
        jobs = await desk.insert(*desk.jobs.several(2, gates=(rate((1, 60)),)))
        late = await desk.take(jobs[0])
        clock.advance(30)
        assert (await desk.started(late)).held
        await desk.finish(late)
        clock.advance(59.75)
        assert await desk.next_ids() == []
        clock.advance(0.25)
        assert await desk.next_ids() == ids(jobs[1])

    async def test_the_earlier_start_of_a_late_call_stays_counted(self, desk: Desk, clock: FakeClock) -> None:
        jobs = await desk.insert(*desk.jobs.several(4, gates=(rate((3, 60)),)))
        late = await desk.take(jobs[0])
        clock.advance(30)
        assert (await desk.started(late)).held
        assert await desk.next_ids() == ids(jobs[1])
        clock.advance(30)
        assert await desk.next_ids() == ids(jobs[2])
        assert await desk.next_ids() == []

    async def test_late_starts_are_counted_together(self, desk: Desk, clock: FakeClock) -> None:
        await desk.insert(*desk.jobs.several(7, gates=(rate((6, 60)),)))
        claims = await desk.claim_next(limit=3)
        clock.advance(30)
        held = await desk.store.started([desk.lease_of(claim.job) for claim in claims])
        assert [one.held for one in held] == [True, True, True]
        assert await desk.next_ids() == []
        clock.advance(30)
        assert len(await desk.next_ids()) == 3

    async def test_only_a_holder_starts_late(self, desk: Desk, clock: FakeClock) -> None:
        jobs = await desk.insert(*desk.jobs.several(2, gates=(rate((1, 60)),)))
        held = await desk.take(jobs[0])
        stale = msgspec.structs.replace(held, token=held.token - 1)
        clock.advance(30)
        assert await desk.started(stale) == Held(held=False)
        assert await desk.started(jobs[1]) == Held(held=False)
        await desk.finish(held)
        assert await desk.started(held) == Held(held=False)
        clock.advance(30)
        assert await desk.next_ids() == ids(jobs[1])

    async def test_who_starts_late_is_told_of_a_cancellation(self, desk: Desk) -> None:
        held = await desk.running(gates=(rate((1, 60)),))
        await desk.store.cancel([held.id])
        assert await desk.started(held) == Held(held=True, cancel_requested=True)

    async def test_a_late_start_takes_no_slot(self, desk: Desk) -> None:
        jobs = await desk.insert(*desk.jobs.several(3, gates=(at_once(2), rate((9, 60)))))
        late = await desk.take(jobs[0])
        assert (await desk.started(late)).held
        assert await desk.next_ids() == ids(jobs[1])
        assert await desk.next_ids() == []
        await desk.finish(late)
        assert await desk.next_ids() == ids(jobs[2])
