"""The Redis store alone: how fast it takes and gives jobs, what a job costs, and whether that stays so as it grows.

Starts a redis-server of its own; the queue grows to a million waiting jobs (with --quick: ten thousand).
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable

from faena.ids import Ids
from faena.job import NewJob, Outcome, Status, Step
from faena.ports.records import Query
from faena.ports.store import StoreOptions
from faena.stores.redis.store import RedisStore
from faena.testing.servers import RedisServer

BATCH = 100
new_id = Ids()
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def several(count: int, number: int = 0) -> list[NewJob]:
    return [
        NewJob(id=new_id(), task=f"task{(number + one) % 10}", args=b'{"media_id":1,"path":"a.jpg"}')
        for one in range(count)
    ]


async def median_ms(call: Callable[[], Awaitable[object]], times: int = 20) -> float:
    took = []
    for _ in range(times):
        started = time.perf_counter()
        await call()
        took.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(took), 3)


async def throughput(store: RedisStore, *, batch: int, jobs: int) -> dict[str, float]:
    """Insert, then claim and finish, in batches, one call at a time."""
    ready = [several(batch) for _ in range(jobs // batch)]
    started = time.perf_counter()
    for new in ready:
        await store.insert(new)
    inserted = jobs / (time.perf_counter() - started)
    started, done = time.perf_counter(), 0
    while claims := await store.claim_next(
        ["default"], worker="w", lease=60, limit=batch, request=uuid.uuid4().hex
    ):
        outcomes = [
            Outcome(job_id=claim.job.id, token=claim.job.token, step=Step.COMPLETE, result=b"1")
            for claim in claims
        ]
        done += sum(await store.finish(outcomes))
    return {
        "inserts_per_s": round(inserted),
        "claim_finish_per_s": round(done / (time.perf_counter() - started)),
    }


async def empty(store: RedisStore) -> dict[str, float]:
    await store._line("FLUSHALL")
    info = await store._info()
    return {"used": float(info.fields["used_memory"])}


async def used(store: RedisStore) -> int:
    return int((await store._info()).fields["used_memory"])


async def growth(store: RedisStore, most: int) -> list[dict[str, float]]:
    """Claim and list while the queue grows."""
    rows = []
    await empty(store)
    before, jobs = await used(store), 0
    for size in [size for size in SIZES if size <= most]:
        while jobs < size:
            await store.insert(several(BATCH * 5, jobs))
            jobs += BATCH * 5
        await store._line("DEL", store._root + "log")
        row: dict[str, float] = {"pending": size, "bytes_a_job": round((await used(store) - before) / size)}

        async def claim_and_release() -> None:
            claims = await store.claim_next(
                ["default"], worker="w", lease=60, limit=BATCH, request=uuid.uuid4().hex
            )
            await store.finish(
                [Outcome(job_id=one.job.id, token=one.job.token, step=Step.RELEASE) for one in claims]
            )

        row["claim_release_100_ms"] = await median_ms(claim_and_release)
        row["find_ms"] = await median_ms(lambda: store.find(Query()))
        filters = Query(statuses=(Status.PENDING,), tasks=("task3",))
        row["find_filtered_ms"] = await median_ms(lambda filters=filters: store.find(filters))
        middle = Query(cursor=str(size // 2))
        row["find_middle_ms"] = await median_ms(lambda middle=middle: store.find(middle))
        row["counts_ms"] = await median_ms(store.counts)
        row["search_nothing_ms"] = await median_ms(lambda: store.find(Query(search="no such text")), times=1)
        rows.append(row)
    return rows


async def measure(most: int) -> dict[str, object]:
    """Measure throughput, then how calls fare as the queue grows."""
    with RedisServer() as server:
        store = RedisStore(server.socket_url, options=StoreOptions())
        await store.open()
        try:
            rates = []
            for batch, jobs in ((1, 3_000), (100, 30_000)):
                await empty(store)
                rates.append({"batch": batch} | await throughput(store, batch=batch, jobs=jobs))
            return {"throughput": rates, "growth": await growth(store, most)}
        finally:
            await store.close()


def main(*, quick: bool = False) -> dict[str, object]:
    """Measure up to a million waiting jobs; quick: ten thousand."""
    return asyncio.run(measure(10_000 if quick else 1_000_000))
