"""The Redis store keeps its time while somebody sets the server's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from tests.redis_kit import empty_redis, open_store, redis_server

from faena.job import Gate, Job, Window
from faena.stores.redis.store import RedisStore
from faena.testing.clock import FakeClock
from faena.testing.factories import JobFactory, a_worker
from faena.testing.servers import RedisServer

__all__ = ["empty_redis", "redis_server"]

HOUR = 3600.0
STEPS = pytest.mark.parametrize("step", [HOUR, -HOUR, 2.5], ids=["forward", "back", "a little"])
TEN_A_MINUTE = Gate(name="smtp", windows=(Window(count=10, period=60),))


class Clocks:
    """The server's clock, which may be set, and the one that all machines count with."""

    def __init__(self) -> None:
        self.server = FakeClock()
        self.boot = FakeClock(1000.0)

    def pass_by(self, seconds: float) -> None:
        self.server.advance(seconds)
        self.boot.advance(seconds)


Open = Callable[[], AbstractAsyncContextManager[RedisStore]]


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def open_one(empty_redis: RedisServer, clocks: Clocks) -> Open:
    return lambda: open_store(empty_redis.socket_url, clock=clocks.server, monotonic=clocks.boot)


@pytest.fixture
def jobs() -> JobFactory:
    return JobFactory()


async def claim(store: RedisStore, jobs: JobFactory, *, limit: int = 100, lease: float = 60) -> list[Job]:
    claims = await store.claim_next(["default"], worker="w", lease=lease, limit=limit, request=jobs.new().id)
    return [one.job for one in claims]


async def corrections(store: RedisStore) -> tuple[float, int]:
    """By how much store time is corrected, and how often that was set."""
    told = await store._line("HMGET", store._root + "meta", "correction", "clock_version")  # type: ignore[misc]
    return float(told[0] or 0), int(told[1] or 0)


@STEPS
async def test_leases_last_as_long_as_they_should(
    open_one: Open, clocks: Clocks, jobs: JobFactory, step: float
) -> None:
    async with open_one() as store:
        job = jobs.new()
        await store.insert([job])
        await claim(store, jobs)
        clocks.pass_by(10)
        clocks.server.advance(step)
        assert await store.rescue(limit=10) == []
        clocks.pass_by(49)
        assert await store.rescue(limit=10) == []
        clocks.pass_by(2)
        assert [one.job_id for one in await store.rescue(limit=10)] == [job.id]
        correction, version = await corrections(store)
        assert version == 1
        assert abs(correction + step) < 0.001


@STEPS
async def test_a_rate_holds_and_does_not_block(
    open_one: Open, clocks: Clocks, jobs: JobFactory, step: float
) -> None:
    async with open_one() as store:
        await store.insert(jobs.several(100, gates=(TEN_A_MINUTE,)))
        starts: list[float] = []
        for second in range(200):
            if second % 45 == 20:
                clocks.server.advance(step)
            starts += [clocks.boot.now for _ in await claim(store, jobs, limit=3, lease=10 * HOUR)]
            clocks.pass_by(1)
    assert all(later - start >= 60 - 0.001 for start, later in zip(starts, starts[10:], strict=False))
    assert len(starts) == 40


@STEPS
async def test_one_of_several_sets_it_right(
    open_one: Open, clocks: Clocks, jobs: JobFactory, step: float
) -> None:
    async with open_one() as one, open_one() as other, open_one() as third:
        (inserted,) = await one.insert([jobs.new()])
        clocks.server.advance(step)
        clocks.pass_by(1)
        for store in (other, one, third):
            (seen,) = await store.insert([jobs.new()])
            assert seen.job.created_at == pytest.approx(inserted.job.created_at + 1)
        assert (await corrections(one))[1] == 1


async def test_of_many_calls_at_once_one_sets_it_right(
    open_one: Open, clocks: Clocks, jobs: JobFactory
) -> None:
    async with open_one() as store:
        await store.insert([jobs.new()])
        clocks.server.advance(HOUR)
        answers = await asyncio.gather(*(store.insert([jobs.new()]) for _ in range(300)))
        assert len({one.job.created_at for (one,) in answers}) == 1
        assert (await corrections(store))[1] == 1


async def test_a_process_that_was_frozen_sets_nothing(
    open_one: Open, clocks: Clocks, jobs: JobFactory
) -> None:
    async with open_one() as store:
        await store.insert([jobs.new()])
        clocks.pass_by(HOUR)
        await store.insert([jobs.new()])
        assert await corrections(store) == (0, 0)


async def test_an_answer_that_took_long_sets_nothing(
    open_one: Open, clocks: Clocks, jobs: JobFactory
) -> None:
    async with open_one() as store:
        assert store._line is not None
        stamped = store._line._stamp

        def late() -> str:
            stamp = stamped()
            clocks.pass_by(30)  # between the packing of the call and its arrival
            return stamp

        store._line._stamp = late
        (inserted,) = await store.insert([jobs.new()])
        assert inserted.job.seq == 1
        assert await corrections(store) == (0, 0)


async def test_clocks_that_drift_by_minutes_a_day_are_followed(
    open_one: Open, clocks: Clocks, jobs: JobFactory
) -> None:
    async with open_one() as store:
        for _ in range(2000):
            await store.beat(a_worker(), ttl=60)
            clocks.pass_by(5)
            clocks.server.advance(0.009)  # 155 seconds a day
        assert await corrections(store) == (0, 0)


async def test_clocks_that_drifted_while_nothing_was_asked_are_followed(
    open_one: Open, clocks: Clocks, jobs: JobFactory
) -> None:
    async with open_one() as store:
        clocks.pass_by(24 * HOUR)
        clocks.server.advance(-100)
        await store.insert([jobs.new()])
        assert await corrections(store) == (0, 0)


async def test_who_came_after_the_step_follows_who_knew_the_time_before(
    open_one: Open, clocks: Clocks, jobs: JobFactory
) -> None:
    async with open_one() as old:
        job = jobs.new()
        await old.insert([job])
        await claim(old, jobs)
        clocks.server.advance(HOUR)
        async with open_one() as young:
            assert await old.rescue(limit=10) == []
            assert await young.rescue(limit=10) == []
            clocks.pass_by(61)
            assert [one.job_id for one in await young.rescue(limit=10)] == [job.id]
            assert (await corrections(old))[1] == 1


async def test_with_nothing_held_it_goes_back_to_the_servers_clock(
    open_one: Open, clocks: Clocks, jobs: JobFactory
) -> None:
    async with open_one() as store:
        await store.insert([jobs.new()])
        (job,) = await claim(store, jobs)
        clocks.server.advance(HOUR)
        assert await store.rescue(limit=10) == []
        async with open_one() as other:
            assert (await corrections(other))[0] == -HOUR
        await store.cancel([job.id])
        clocks.pass_by(61)
        await store.rescue(limit=10)
        async with open_one() as other:
            assert (await corrections(other))[0] == 0
            (inserted,) = await other.insert([jobs.new()])
            assert inserted.job.created_at == clocks.server.now
        (inserted,) = await store.insert([jobs.new()])
        assert inserted.job.created_at == clocks.server.now


async def test_an_emptied_server_is_taken_as_it_is(
    open_one: Open, clocks: Clocks, jobs: JobFactory, empty_redis: RedisServer
) -> None:
    async with open_one() as store:
        await store.insert([jobs.new()])
        clocks.server.advance(HOUR)
        await store.insert([jobs.new()])
        empty_redis.flush()
        (inserted,) = await store.insert([jobs.new()])
        assert inserted.job.created_at == clocks.server.now


async def test_no_call_is_added_while_nothing_happens(
    open_one: Open, clocks: Clocks, jobs: JobFactory
) -> None:
    async with open_one() as store:
        sent: list[str] = []
        unchecked = store._unchecked

        async def noted(verb: str, *arguments: object, again: bool = True) -> object:
            sent.append(verb)
            return await unchecked(verb, *arguments, again=again)

        store._unchecked = noted  # type: ignore[method-assign]
        for _ in range(50):
            await store.insert([jobs.new()])
            clocks.pass_by(0.5)
        assert sent == []
