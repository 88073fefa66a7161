"""Slots: how many functions run, how many jobs are taken for them, and who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest
from ringing import Ringing

from crew_kit import crew
from faena import slots as slots_module
from faena.job import Job, Status
from faena.ports.records import Claim
from faena.slots import DEEPEST, MOST, RUN, Slots
from faena.starts import Timing
from faena.stores.memory import MemoryStore
from faena.testing.factories import JobFactory

NOW = 1000.0


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "monotonic", lambda: NOW)


async def run(slots: Slots, count: int, *, took: float = 0.0) -> None:
    """Let so many jobs enter and leave, one after the other, by the stopped clock."""
    for _ in range(count):
        assert await slots.enter()
        slots.leave(entered=NOW - took)


async def test_a_slot_takes_one_job_until_it_is_known_that_jobs_are_short(stopped_clock: None) -> None:
    slots = Slots(8)
    assert slots.room == 8
    await run(slots, RUN - 1)
    assert slots.room == 8


async def test_after_each_run_of_short_jobs_a_slot_takes_one_more(stopped_clock: None) -> None:
    slots = Slots(4)
    rooms = []
    for _ in range(DEEPEST + 4):
        rooms.append(slots.room // 4)
        await run(slots, RUN)
    assert rooms == [*range(1, DEEPEST + 1), DEEPEST, DEEPEST, DEEPEST, DEEPEST]


async def test_as_many_again_may_be_on_their_way_while_jobs_are_short(stopped_clock: None) -> None:
    slots = Slots(4)
    assert slots.ahead == 0
    await run(slots, RUN)
    assert slots.ahead == slots.room == 8
    await run(slots, 1, took=0.5)
    assert slots.ahead == 0


async def test_one_long_job_and_a_slot_takes_one_job_again(stopped_clock: None) -> None:
    slots = Slots(4)
    await run(slots, RUN * DEEPEST)
    await run(slots, 1, took=0.5)
    assert slots.room == 4


async def test_a_job_that_took_a_little_longer_halves_what_a_slot_takes(stopped_clock: None) -> None:
    slots = Slots(1)
    await run(slots, RUN * DEEPEST)
    await run(slots, 1, took=0.05)
    assert slots.room == 1 + DEEPEST // 2
    await run(slots, 5, took=0.05)
    assert slots.room == 1


async def test_a_slot_takes_no_more_jobs_than_it_ends_within_a_few_milliseconds(stopped_clock: None) -> None:
    slots, rooms = Slots(1), set[int]()
    for _ in range(50):
        await run(slots, RUN, took=0.0022)
        rooms.add(slots.room)
    assert max(rooms) == 5


async def test_only_free_slots_take_more_and_all_of_them_together_no_more_than_a_bound(
    stopped_clock: None,
) -> None:
    slots = Slots(64)
    await run(slots, RUN * DEEPEST)
    assert slots.room == MOST
    for _ in range(63):
        await slots.enter()
    assert slots.room == DEEPEST
    await slots.enter()
    assert slots.room == 0


async def test_a_worker_with_many_slots_fills_them_all() -> None:
    assert Slots(1000).room == 1000


async def test_who_waits_enters_in_order_and_never_more_than_there_are_slots() -> None:
    slots = Slots(2)
    order: list[int] = []
    most = 0

    async def job(number: int) -> None:
        nonlocal most
        assert await slots.enter()
        most = max(most, slots.busy)
        order.append(number)
        await asyncio.sleep(0)
        slots.leave(entered=monotonic())

    await asyncio.gather(*(job(number) for number in range(50)))
    assert (order, most, slots.busy, slots.waiting) == ([*range(50)], 2, 0, 0)


async def test_who_waits_in_vain_is_sent_away_and_a_slot_takes_one_job_again() -> None:
    slots = Slots(1)
    slots._in_a_row = RUN
    assert slots.room == 2
    assert await slots.enter()
    began = monotonic()
    assert not any(await asyncio.gather(slots.enter(), slots.enter()))
    assert monotonic() - began >= slots_module.PATIENCE / 2
    slots.leave(entered=monotonic())
    assert slots.room == 1


async def test_who_waited_too_long_because_the_loop_was_held_up_does_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slots = Slots(1)
    assert await slots.enter()
    late = asyncio.ensure_future(slots.enter())
    await asyncio.sleep(0)
    monkeypatch.setattr(slots_module, "PATIENCE", 0.0)  # as if it were over
    slots.leave(entered=monotonic())
    assert await late is False
    assert slots.busy == 0


async def test_closed_slots_send_away_who_waits_and_let_nobody_wait() -> None:
    slots = Slots(1)
    assert await slots.enter()
    waits = asyncio.ensure_future(slots.enter())
    await asyncio.sleep(0)
    slots.close()
    assert await waits is False
    assert await slots.enter() is False
    assert slots.busy == 1


async def test_a_waiter_that_was_cancelled_gets_no_slot() -> None:
    slots = Slots(1)
    assert await slots.enter()
    gone, next_one = asyncio.ensure_future(slots.enter()), asyncio.ensure_future(slots.enter())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    slots.leave(entered=monotonic())
    assert await next_one is True
    assert (slots.busy, slots.waiting) == (1, 0)


# In a worker


async def test_short_jobs_are_claimed_several_for_each_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = await claims_of_a_burst(monkeypatch, "add", RUN * DEEPEST)
    assert claimed[0] == 2
    assert max(claimed) > 8


async def test_plain_functions_wait_for_their_threads_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claimed = await claims_of_a_burst(monkeypatch, "plain_add", RUN * 4)
    assert max(claimed) > 2


async def claims_of_a_burst(monkeypatch: pytest.MonkeyPatch, task: str, count: int) -> list[int]:
    """Run jobs in two slots; returns how many each claim brought."""
    monkeypatch.setattr(slots_module, "SHORT", 5.0)  # this machine may be busy with other things
    monkeypatch.setattr(slots_module, "PATIENCE", 5.0)
    store, claimed = MemoryStore(), list[int]()
    claim_next = store.claim_next

    async def count_claims(queues: Sequence[str], **how: Any) -> list[Claim]:
        claims = await claim_next(queues, **how)
        claimed.append(len(claims))
        return claims

    monkeypatch.setattr(store, "claim_next", count_claims)
    jobs = [JobFactory(milliseconds=number).new(task=task, args=b'{"a": 1}') for number in range(count)]
    async with crew(store=store, threads=2) as at_work:
        await store.insert(jobs)
        for job in jobs:
            assert (await at_work.final(job.id)).attempt == 1
    return [number for number in claimed if number]


async def test_jobs_that_turn_out_to_be_long_are_handed_back_and_told_to_the_engine_but_for_those_that_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Job] = []
    async with crew(threads=2) as at_work:
        executor = at_work.worker._executor
        while executor is None:
            await asyncio.sleep(0)
            executor = at_work.worker._executor
        monkeypatch.setattr(executor, "_on_released", told.append)
        monkeypatch.setattr(slots_module, "RUN", 1)
        executor.slots._in_a_row = DEEPEST  # it has run short ones
        jobs = [
            JobFactory(milliseconds=number).new(task="waits_for_ever", args=b"{}") for number in range(100)
        ]
        await at_work.store.insert(jobs)
        for job in jobs[:2]:
            await at_work.started(job.id)
        for job in jobs[2 : 2 * DEEPEST]:
            back = await at_work.until(
                job.id, lambda story: story.job.seq > 2 and story.job.status is Status.PENDING
            )
            assert (back.attempt, back.token) == (0, 1)
        assert [job.id for job in told] == [job.id for job in jobs[2 : 2 * DEEPEST]]
        running = [count.count for count in await at_work.store.counts() if count.status is Status.PROCESSING]
        assert running == [2]


async def test_jobs_that_an_engine_brings_wait_for_a_slot_too() -> None:
    async with crew(engine=Ringing(), threads=2) as at_work:
        jobs = JobFactory().several(6, task="waits_for_ever", args=b"{}")
        await at_work.store.insert(jobs)
        while at_work.worker._executor is None:
            await asyncio.sleep(0)
        claims = await at_work.store.claim(
            [job.id for job in jobs], worker=at_work.worker.id, lease=60, request="one"
        )
        for claim in claims:
            at_work.worker.take(claim, Timing(asked=monotonic(), lease_until=monotonic() + 60))
        for job in jobs[:2]:
            await at_work.started(job.id)
        for job in jobs[2:]:
            await at_work.until(job.id, lambda story: story.job.status is Status.PENDING)
        assert len(at_work.worker.describe().running) == 2
