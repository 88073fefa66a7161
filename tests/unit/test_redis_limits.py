"""How the Redis store keeps limits, keys and requests: what is left of them, and what they cost plain jobs."""

from __future__ import annotations

import msgspec
from tests.redis_kit import empty_redis, open_store, redis_server

from faena.job import Gate, Idempotency, Job, Status, Window
from faena.ports.records import Query
from faena.stores.redis.store import RedisStore
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.factories import JobFactory
from faena.testing.servers import RedisServer

__all__ = ["empty_redis", "redis_server"]

GATES = (
    Gate(name="a", at_once=1),
    Gate(name="b", windows=(Window(count=5, period=60), Window(count=9, period=600))),
)


async def keys_of(store: RedisStore) -> set[str]:
    assert store._line is not None
    return {key.decode().removeprefix("faena:{faena}:") for key in await store._line("KEYS", "*")}


async def test_limits_and_keys_leave_nothing_behind(empty_redis: RedisServer) -> None:
    clock = FakeClock()
    async with open_store(empty_redis.url, clock=clock) as store:
        desk = Desk(store, clock, JobFactory())
        for number in range(6):
            await desk.enqueue(
                task=f"task{number % 2}",
                priority=number % 3,
                gates=GATES,
                key=f"k{number}",
                key_kept=100.0,
                idempotency=Idempotency(key=f"i{number}", digest="d", kept=50),
            )
        await store.admit(limit=10)
        (first, *_) = await desk.claim_next()
        await desk.finish(first.job)
        await store.pause(task="task1")
        await desk.enqueue(task="task1")
        assert await desk.next_ids()
        for job in await running(store):
            await desk.crash(job)
        await store.resume(task="task1")
        await store.purge("default", limit=100)
        clock.advance(1_000_000)
        assert await store.prune(limit=100) == 7
        assert store._line is not None
        await store._line(
            "DEL", *[f"faena:{{faena}}:{key}" for key in await keys_of(store) if key[:2] == "r:"]
        )
        left = {key for key in await keys_of(store) if key[:2] != "t:"}
        assert left <= {"meta", "log"}


async def running(store: RedisStore) -> tuple[Job, ...]:
    return (await store.find(Query(statuses=(Status.PROCESSING,)))).jobs


async def test_a_plain_job_is_kept_as_before_there_were_limits(empty_redis: RedisServer) -> None:
    """So data of both ages read alike, and a plain job is no larger."""
    async with open_store(empty_redis.url) as store:
        jobs = JobFactory()
        await store.insert([jobs.new(), jobs.new(gates=GATES)])
        assert store._line is not None
        heads = await store._line("HVALS", "faena:{faena}:heads")
        assert sorted(len(msgspec.msgpack.decode(head)) for head in heads) == [30, 35]
        assert {"p:0:default", "lr:0:default"} <= await keys_of(store)
