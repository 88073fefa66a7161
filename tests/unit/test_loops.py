"""What every worker does besides: promote, rescue, redeliver, prune, and how they withstand a store that is down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from faena.errors import StoreDown
from faena.job import Outcome, Status, Step
from faena.loops.forever import forever
from faena.loops.promote import LONGEST, Promote
from faena.loops.prune import Prune
from faena.loops.redeliver import Redeliver
from faena.loops.rescue import Rescue
from faena.ports.engine import Delivery
from faena.ports.store import StoreOptions
from faena.stores.memory import MemoryStore
from faena.testing.clock import FakeClock
from faena.testing.factories import JobFactory


class World:
    """A store under a clock that a test moves, and what was delivered."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(clock=self.clock, options=StoreOptions(result_ttl=60))
        self.jobs = JobFactory()
        self.delivered: list[str] = []
        self.calls = 0

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.calls += 1
        self.delivered += [delivery.job_id for delivery in deliveries]


@pytest.fixture
async def world() -> World:
    made = World()
    await made.store.open()
    return made


async def test_promote_sleeps_until_the_next_job_is_due(world: World) -> None:
    promote = Promote(world.store, world.deliver)
    assert await promote() == LONGEST
    job = world.jobs.new(delay=0.2)
    await world.store.insert([job])
    assert await promote() == pytest.approx(0.2)
    world.clock.advance(0.2)
    assert await promote() == LONGEST
    assert world.delivered == [job.id]


async def test_promote_goes_on_at_once_while_there_is_more(world: World) -> None:
    await world.store.insert(world.jobs.several(501, delay=1))
    world.clock.advance(1)
    promote = Promote(world.store, world.deliver)
    assert [await promote(), await promote()] == [0.0, LONGEST]
    assert len(world.delivered) == 501


async def test_rescue_delivers_what_it_took_from_a_silent_worker(world: World) -> None:
    job = world.jobs.new()
    await world.store.insert([job])
    await world.store.claim([job.id], worker="w", lease=15, request="r")
    rescue = Rescue(world.store, world.deliver, lease=15)
    assert await rescue() == 5.0
    assert world.delivered == []
    world.clock.advance(15.1)
    await rescue()
    assert world.delivered == [job.id]


async def test_rescue_goes_on_at_once_when_some_of_a_full_batch_ended(world: World) -> None:
    jobs = world.jobs.several(501)
    await world.store.insert(jobs)
    await world.store.claim([jobs[0].id], worker="w", lease=10, request="r")
    await world.store.claim([job.id for job in jobs[1:]], worker="w", lease=15, request="s")
    await world.store.cancel([jobs[0].id])
    world.clock.advance(15.1)
    rescue = Rescue(world.store, world.deliver, lease=15)
    assert [await rescue(), await rescue(), await rescue()] == [0.0, 0.0, 5.0]
    assert world.delivered == [job.id for job in jobs[1:]]


async def test_redeliver_sends_what_an_empty_engine_must_have_lost(world: World) -> None:
    job = world.jobs.new()
    await world.store.insert([job])
    depths = {"default": 1}

    async def depth(queue: str) -> int:
        return depths[queue]

    redeliver = Redeliver(world.store, world.deliver, queues=["default"], depth=depth, age=5)
    world.clock.advance(6)
    await redeliver()
    assert world.delivered == []  # its message may be the one that waits
    depths["default"] = 0
    await redeliver()
    assert world.delivered == [job.id]
    await redeliver()
    assert world.delivered == [job.id]  # delivered a moment ago


async def test_redeliver_sends_all_that_a_wiped_engine_lost_at_once_and_in_order(world: World) -> None:
    jobs = world.jobs.several(1201)
    await world.store.insert(jobs)

    async def depth(queue: str) -> int:
        return len(world.delivered)

    redeliver = Redeliver(world.store, world.deliver, queues=["default"], depth=depth, age=5)
    world.clock.advance(6)
    assert await redeliver() == 2.0
    assert world.calls == 1
    assert world.delivered == [job.id for job in jobs]


async def test_redeliver_goes_on_at_once_after_as_many_as_it_sends_in_one_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faena.loops.redeliver.BATCHES", 2)
    await world.store.insert(world.jobs.several(1001))

    async def depth(queue: str) -> int:
        return 0

    redeliver = Redeliver(world.store, world.deliver, queues=["default"], depth=depth, age=5)
    world.clock.advance(6)
    assert [await redeliver(), await redeliver()] == [0.0, 2.0]
    assert len(world.delivered) == 1001


async def test_prune_deletes_in_small_batches(world: World) -> None:
    jobs = world.jobs.several(501)
    await world.store.insert(jobs)
    claims = await world.store.claim([job.id for job in jobs], worker="w", lease=15, request="r")
    await world.store.finish(
        [Outcome(job_id=claim.job.id, token=claim.job.token, step=Step.COMPLETE) for claim in claims]
    )
    prune = Prune(world.store, every=30)
    assert await prune() == 30
    world.clock.advance(61)
    assert await prune() < 1
    assert await prune() == 30
    assert [count for count in await world.store.counts() if count.status is Status.COMPLETED] == []


async def test_a_loop_survives_failures_and_logs_their_beginning_and_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ending = asyncio.Event()
    calls = 0

    async def step() -> float:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise StoreDown("gone")
        if calls == 3:
            ending.set()
        return 0.0

    with caplog.at_level(logging.INFO, "faena.loops"):
        await forever("promote", step, ending)
    assert [record.getMessage() for record in caplog.records] == [
        "promote has to wait: gone",
        "promote works again",
    ]


async def test_a_loop_ends_in_the_middle_of_its_pause() -> None:
    ending = asyncio.Event()

    async def step() -> float:
        asyncio.get_running_loop().call_soon(ending.set)
        return 3600.0

    async with asyncio.timeout(5):
        await forever("prune", step, ending)
