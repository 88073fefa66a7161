"""Who goes next when several lines may go: turns between lanes, and with the jobs that bear no gates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from faena.job import Job, Step
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.factories import at_once, rate
from faena.testing.stores.base import StoreSuite

WIDE = 1000
"""Slots enough for every job of a test."""


async def tenant(desk: Desk, name: str, count: int, **options: object) -> list[Job]:
    """Enqueue jobs that form a lane of their own, whose gate is wide open."""
    return await desk.insert(*desk.jobs.several(count, gates=(at_once(WIDE, f"tenant-{name}"),), **options))


def names(taken: Sequence[str], **lines: Sequence[Job]) -> str:
    """Return whose jobs were taken, a letter for each."""
    owner = {job.id: name for name, jobs in lines.items() for job in jobs}
    return "".join(owner[job_id] for job_id in taken)


def in_order(taken: Sequence[str], jobs: Sequence[Job]) -> bool:
    """Tell whether those of ``jobs`` that were taken were taken in their order."""
    own = [job.id for job in jobs]
    return [job_id for job_id in taken if job_id in own] == own[: len(set(taken) & set(own))]


class Turns(StoreSuite):
    @pytest.mark.parametrize("batch", [1, 2, 5, 100])
    async def test_lanes_take_turns(self, desk: Desk, batch: int) -> None:
        a, b, c = await tenant(desk, "a", 9), await tenant(desk, "b", 3), await tenant(desk, "c", 1)
        taken: list[str] = []
        while claimed := await desk.next_ids(limit=batch):
            taken += claimed
        assert names(taken, a=a, b=b, c=c) == "abcababaaaaaa"
        assert all(in_order(taken, jobs) for jobs in (a, b, c))

    @pytest.mark.parametrize("batch", [1, 2, 7])
    async def test_a_thousand_jobs_of_one_tenant_do_not_hold_up_anothers_one(
        self, desk: Desk, batch: int
    ) -> None:
        await tenant(desk, "busy", 300)
        for _ in range(3):
            await desk.next_ids(limit=batch)
        (single,) = await tenant(desk, "single", 1)
        assert single.id in [*await desk.next_ids(limit=batch), *await desk.next_ids(limit=batch)]

    async def test_a_new_lane_goes_behind_those_that_wait_unserved(self, desk: Desk) -> None:
        a, b, c = [await tenant(desk, name, 2) for name in "abc"]
        first = await desk.one_by_one(most=1)
        d = await tenant(desk, "d", 2)
        taken = first + await desk.one_by_one()
        assert names(taken, a=a, b=b, c=c, d=d)[:3] == "abc"
        assert sorted(names(taken, a=a, b=b, c=c, d=d)[3:5]) == ["a", "d"]

    async def test_the_plain_jobs_alternate_with_the_lanes(self, desk: Desk) -> None:
        plain = await desk.insert(*desk.jobs.several(6))
        a, b = await tenant(desk, "a", 3), await tenant(desk, "b", 3)
        taken = await desk.next_ids()
        kinds = names(taken, p=plain, l=[*a, *b])
        assert kinds in ("pl" * 6, "lp" * 6)
        assert names([one for one in taken if one not in {job.id for job in plain}], a=a, b=b) == "ababab"

    @pytest.mark.parametrize("batches", [[1], [2, 1], [3, 2, 5]], ids=str)
    async def test_they_alternate_over_several_claims(self, desk: Desk, batches: list[int]) -> None:
        plain, a = await desk.insert(*desk.jobs.several(10)), await tenant(desk, "a", 10)
        taken: list[str] = []
        for batch in itertools.cycle(batches):
            if not (claimed := await desk.next_ids(limit=batch)):
                break
            taken += claimed
        assert names(taken, p=plain, a=a) in ("pa" * 10, "ap" * 10)
        assert in_order(taken, plain)
        assert in_order(taken, a)

    async def test_when_one_kind_is_out_the_other_goes_on(self, desk: Desk) -> None:
        plain, a = await desk.insert(*desk.jobs.several(2)), await tenant(desk, "a", 5)
        kinds = names(await desk.one_by_one(), p=plain, a=a)
        assert kinds in ("papaaaa", "apapaaa")

    async def test_priority_is_stronger_than_turns(self, desk: Desk) -> None:
        low = await tenant(desk, "low", 2)
        plain = await desk.insert(*desk.jobs.several(2, priority=1))
        high = await tenant(desk, "high", 3, priority=5)
        assert names(await desk.one_by_one(), l=low, p=plain, h=high) == "hhhppll"

    async def test_the_order_of_queues_is_stronger_than_priority_and_turns(self, desk: Desk) -> None:
        second = await tenant(desk, "a", 2, queue="second", priority=9)
        plain = await desk.insert(*desk.jobs.several(1, queue="second", priority=9))
        first = await tenant(desk, "a", 2, queue="first", priority=-9)
        taken = await desk.one_by_one("first", "second")
        assert names(taken, a=first, b=[*second, *plain]) == "aabbb"

    async def test_one_tenants_jobs_of_two_tasks_take_turns(self, desk: Desk) -> None:
        one, two = await tenant(desk, "a", 3, task="one"), await tenant(desk, "a", 2, task="two")
        assert names(await desk.next_ids(), x=one, y=two) == "xyxyx"

    async def test_a_closed_lane_loses_its_turn_and_not_its_place(self, desk: Desk, clock: FakeClock) -> None:
        gates = (rate((1, 60), name="closing"),)
        closing = await desk.insert(*desk.jobs.several(2, gates=gates))
        a = await tenant(desk, "a", 4)
        assert names(await desk.one_by_one(most=4), c=closing, a=a) == "caaa"
        clock.advance(60)
        assert names(await desk.one_by_one(), c=closing, a=a) == "ca"

    async def test_lanes_behind_one_gate_take_turns_as_it_opens(self, desk: Desk) -> None:
        shared = at_once(1, "a-shared")
        lanes = [
            await desk.insert(*desk.jobs.several(3, gates=(shared, at_once(WIDE, f"tenant-{name}"))))
            for name in range(12)
        ]
        taken: list[str] = []
        for _ in range(36):
            (claim,) = await desk.claim_next()
            taken.append(claim.job.id)
            await desk.finish(claim.job)
        rounds = [{next(lane[0].id for lane in lanes if one in [job.id for job in lane]) for one in part}
                  for part in (taken[:12], taken[12:24], taken[24:])]  # fmt: skip
        assert [len(lanes_of_round) for lanes_of_round in rounds] == [12, 12, 12]

    async def test_a_job_handed_back_goes_to_its_place_in_its_lane(self, desk: Desk) -> None:
        first, second = await tenant(desk, "a", 2)
        await desk.finish(await desk.take(first), Step.RELEASE)
        assert await desk.next_ids() == [first.id, second.id]

    async def test_a_lane_whose_jobs_were_cancelled_holds_up_nobody(self, desk: Desk) -> None:
        a, b = await tenant(desk, "a", 3), await tenant(desk, "b", 2)
        await desk.store.cancel([job.id for job in a])
        assert await desk.next_ids() == [job.id for job in b]
        late = await tenant(desk, "a", 1)
        assert await desk.next_ids() == [job.id for job in late]

    async def test_a_batch_takes_what_all_lanes_can_give(self, desk: Desk) -> None:
        few = await desk.insert(*desk.jobs.several(30, gates=(at_once(3, "few"),)))
        rated = await desk.insert(*desk.jobs.several(30, gates=(rate((5, 60), name="rated"),)))
        wide, plain = await tenant(desk, "wide", 30), await desk.insert(*desk.jobs.several(30))
        taken = names(await desk.next_ids(limit=60), f=few, r=rated, w=wide, p=plain)
        assert {kind: taken.count(kind) for kind in "frwp"} == {"f": 3, "r": 5, "w": 22, "p": 30}
        rest = names(await desk.next_ids(limit=60), f=few, r=rated, w=wide, p=plain)
        assert rest == "w" * 8
