"""What only the Redis store has: a server that dies, fills up, is emptied, or is not what it should be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.redis_kit import empty_redis, open_store, redis_server

from faena.errors import InvalidCursor, StoreDown, StoreFull
from faena.events import EventType, NewEvent
from faena.job import Outcome, Status, Step
from faena.ports.records import CancelResult, Held, Lease, Query, Report
from faena.ports.store import StoreOptions
from faena.stores.redis.store import RedisStore
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.factories import JobFactory, a_worker, rate
from faena.testing.servers import RedisServer

__all__ = ["empty_redis", "redis_server"]

SOON = 15.0
LOG = NewEvent(type=EventType.LOG, event="info", message="line")


@pytest.fixture
async def store(empty_redis: RedisServer) -> AsyncIterator[RedisStore]:
    async with open_store(empty_redis.url) as store:
        yield store


@pytest.fixture
def jobs() -> JobFactory:
    return JobFactory()


@pytest.fixture
def own_server(tmp_path: Path, redis_server: RedisServer) -> Iterator[RedisServer]:
    """A server that a test may kill; it keeps what it holds."""
    with RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


async def test_a_store_that_is_not_open_says_so() -> None:
    store = RedisStore("redis://127.0.0.1:1/0")
    with pytest.raises(StoreDown, match=r"await store\.open\(\)"):
        await store.counts()
    with pytest.raises(StoreDown, match=r"await store\.open\(\)"):
        await store.work(["default"], wait=1)


async def test_nobody_listening_is_told_with_the_place_and_without_the_password() -> None:
    store = RedisStore("redis://user:secret@127.0.0.1:1/0")
    with pytest.raises(StoreDown, match=r"redis://127\.0\.0\.1:1/0") as told:
        await store.open()
    assert "secret" not in str(told.value)


async def test_a_real_redis_is_asked(store: RedisStore) -> None:
    told = await store.check()
    assert told.details["persistence"] == "none"
    assert told.details["maxmemory_policy"] == "noeviction"
    assert any("a restart loses every job" in warning for warning in told.warnings)


async def test_the_writes_of_holders_that_lost_their_lease_are_counted(
    store: RedisStore, jobs: JobFactory
) -> None:
    new = jobs.new()
    await store.insert([new])
    (claim,) = await store.claim([new.id], worker="w", lease=9, request="r")
    stale = claim.job.token - 1
    await store.report([Report(job_id=new.id, token=stale, number=1, progress=50)])
    await store.extend([Lease(job_id=new.id, token=stale), Lease(job_id=new.id, token=stale + 1)], lease=9)
    await store.finish([Outcome(job_id=new.id, token=stale, step=Step.COMPLETE)])
    assert (await store.check()).details["stale_writes_refused"] == 3


async def test_data_of_a_newer_faena_is_left_alone(store: RedisStore, empty_redis: RedisServer) -> None:
    assert store._line is not None
    await store._line("HSET", "faena:{faena}:meta", "schema", 99)
    with pytest.raises(StoreDown, match="newer Faena"):
        await RedisStore(empty_redis.url).open()


async def test_a_user_with_few_rights_is_enough(
    store: RedisStore, empty_redis: RedisServer, jobs: JobFactory
) -> None:
    rights = [
        "on",
        ">secret",
        "resetchannels",
        "~faena:*",
        "&faena:*",
        "+@all",
        "-@admin",
        "-@dangerous",
        "+info",
    ]
    assert store._line is not None
    await store._line("ACL", "SETUSER", "worker", *rights)
    url = empty_redis.url.replace("redis://", "redis://worker:secret@")
    async with open_store(url) as limited:
        await limited.insert([jobs.new()])
        assert len(await limited.claim_next(["default"], worker="w", lease=9, limit=1, request="r")) == 1
        assert (await limited.check()).details["persistence"] == "unknown"
        await store._line("ACL", "SETUSER", "worker", "-info")
        assert (await limited.check()).version == "unknown"
    with pytest.raises(StoreDown, match="refuses the user or the password"):
        await RedisStore(url.replace("secret", "wrong")).open()


# A server that goes away


async def test_jobs_survive_a_crash_of_the_server_and_the_store_goes_on(
    own_server: RedisServer, jobs: JobFactory
) -> None:
    async with open_store(own_server.url) as store:
        before = jobs.new()
        await store.insert([before])
        position = (await store.published(None, wait=0)).position
        own_server.kill()
        with pytest.raises(StoreDown):
            await store.insert([jobs.new()])
        own_server.start()
        (job,) = await store.get([before.id])
        assert job is not None
        waiting = asyncio.create_task(store.published(position, wait=600))
        after = jobs.new()
        await store.insert([after])
        heard = await asyncio.wait_for(waiting, SOON)
        assert [told.task_id for told in heard.told] == [after.id]


async def test_who_waits_for_work_is_woken_after_a_crash_of_the_server(
    own_server: RedisServer, jobs: JobFactory
) -> None:
    async with open_store(own_server.url) as store, open_store(own_server.url) as other:
        waiting = asyncio.create_task(store.work(["default"], wait=600))
        await store.counts()
        own_server.kill()
        own_server.start()
        await other.insert([jobs.new()])
        await asyncio.wait_for(waiting, SOON)


async def test_a_server_that_hangs_is_down_until_it_goes_on(
    own_server: RedisServer, jobs: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faena.stores.redis.calls.ANSWER_PATIENCE", 0.2)
    async with open_store(own_server.url) as store:
        own_server.pause()
        try:
            with pytest.raises(StoreDown, match="in time"):
                await asyncio.wait_for(store.insert([jobs.new()]), SOON)
        finally:
            own_server.resume()
        new = jobs.new()
        await store.insert([new])
        assert await store.get([new.id]) != [None]


# A server that is full


async def test_what_runs_may_end_while_the_server_is_full(
    store: RedisStore, empty_redis: RedisServer, jobs: JobFactory
) -> None:
    new = jobs.several(3)
    await store.insert(new)
    (claim,) = await store.claim([new[0].id], worker="w", lease=9, request="r")
    empty_redis.configure("maxmemory", "1000000")
    with pytest.raises(StoreFull):
        await store.insert([jobs.new()])
    with pytest.raises(StoreFull):
        await store.report([Report(job_id=claim.job.id, token=1, number=1, events=(LOG,))])
    lease = Lease(job_id=claim.job.id, token=1)
    assert (await store.extend([lease], lease=60))[0].held
    await store.beat(a_worker(), ttl=60)
    assert len(await store.workers()) == 1
    assert await store.finish([Outcome(job_id=claim.job.id, token=1, step=Step.COMPLETE)]) == [True]
    assert len(await store.claim_next(["default"], worker="w", lease=9, limit=1, request="s")) == 1
    await store.cancel([new[2].id])
    assert {count.count for count in await store.counts()} == {1}


async def test_a_full_server_still_lets_running_jobs_be_cancelled(
    store: RedisStore, empty_redis: RedisServer, jobs: JobFactory
) -> None:
    new = jobs.new()
    await store.insert([new])
    await store.claim([new.id], worker="w", lease=9, request="r")
    empty_redis.configure("maxmemory", "1000000")
    assert await store.cancel([new.id]) == [CancelResult.REQUESTED]
    assert await store.extend([Lease(job_id=new.id, token=1)], lease=9) == [
        Held(held=True, cancel_requested=True)
    ]


async def test_a_full_server_says_whose_lease_is_lost(
    store: RedisStore, empty_redis: RedisServer, jobs: JobFactory
) -> None:
    new = jobs.new()
    await store.insert([new])
    await store.claim([new.id], worker="w", lease=9, request="r")
    empty_redis.configure("maxmemory", "1000000")
    stale = Lease(job_id=new.id, token=9)
    assert await store.extend([stale], lease=9) == [Held(held=False)]
    assert await store.report([Report(job_id=new.id, token=9, number=1, progress=1)]) == [Held(held=False)]
    assert await store.finish([Outcome(job_id=new.id, token=9, step=Step.COMPLETE)]) == [False]
    assert (await store.check()).details["stale_writes_refused"] == 3


async def test_a_full_server_counts_a_late_start(
    store: RedisStore, empty_redis: RedisServer, jobs: JobFactory
) -> None:
    gates = (rate((2, 600)),)
    new = jobs.several(2, gates=gates)
    await store.insert(new)
    await store.claim([new[0].id], worker="w", lease=9, request="r")
    empty_redis.configure("maxmemory", "1000000")
    assert await store.started([Lease(job_id=new[0].id, token=1)]) == [Held(held=True)]
    assert await store.claim_next(["default"], worker="w", lease=9, limit=1, request="s") == []


# A user with too few rights


async def test_a_user_without_the_channels_is_told_so_before_anything_is_stored(
    own_server: RedisServer, jobs: JobFactory
) -> None:
    async with open_store(own_server.url) as store:
        assert store._line is not None
        await store._line("FLUSHALL")
        rights = ("on", ">secret", "resetchannels", "~faena:*", "+@all")
        await store._line("ACL", "SETUSER", "worker", *rights)
        theirs = own_server.url.replace("redis://", "redis://worker:secret@")
        with pytest.raises(StoreDown, match=r"channels.*&faena:\{faena\}:\*") as told:
            await RedisStore(theirs).open()
        assert "secret" not in str(told.value)
        assert await store._line("KEYS", "*") == []
        await store._line("ACL", "SETUSER", "worker", "&faena:{faena}:*")
        async with open_store(theirs) as allowed:
            await allowed.insert([jobs.new()])
            assert len(await allowed.claim_next(["default"], worker="w", lease=9, limit=1, request="s")) == 1


# A server that was emptied


async def test_an_emptied_server_begins_anew_and_is_told(
    store: RedisStore, empty_redis: RedisServer, jobs: JobFactory, caplog: pytest.LogCaptureFixture
) -> None:
    old = jobs.new()
    await store.insert([old])
    await store.claim([old.id], worker="w", lease=9, request="r")
    epoch = (await store.check()).details["epoch"]
    position = (await store.published(None, wait=0)).position
    empty_redis.flush()
    assert not (await store.extend([Lease(job_id=old.id, token=1)], lease=9))[0].held
    new = jobs.new()
    await store.insert([new])
    lost = await store.published(position, wait=0)
    assert lost.gap
    assert [told.task_id for told in lost.told] == [new.id]
    assert (await store.published(lost.position, wait=0)).told == ()
    with caplog.at_level(logging.WARNING):
        assert (await store.check()).details["epoch"] != epoch
    assert "was emptied" in caplog.text
    assert len(await store.claim_next(["default"], worker="w", lease=9, limit=9, request="s")) == 1


async def test_a_beat_notices_that_the_server_was_emptied(
    store: RedisStore, empty_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    await store.beat(a_worker(), ttl=9)
    assert "was emptied" not in caplog.text
    empty_redis.flush()
    await store.beat(a_worker(), ttl=9)
    assert "was emptied" in caplog.text
    assert len(await store.workers()) == 1


# Keys and connections


async def test_every_key_is_under_the_prefix_and_the_hash_tag(
    store: RedisStore, empty_redis: RedisServer, jobs: JobFactory
) -> None:
    async with open_store(empty_redis.url, prefix="other") as other:
        new = jobs.new(user="u", origin="o", key="k")
        await other.insert([new])
        await other.claim([new.id], worker="w", lease=9, request="r")
        report = Report(job_id=new.id, token=1, number=1, events=(LOG,) * 200)
        for number in (1, 2):
            await other.report([Report(job_id=new.id, token=1, number=number, events=report.events)])
        await other.beat(a_worker(), ttl=9)
        assert (await store.counts(), await store.workers()) == ([], [])
    assert store._line is not None
    keys = await store._line("KEYS", "*")
    assert {key for key in keys if not key.startswith(b"faena:{faena}:")} == {
        key for key in keys if key.startswith(b"other:{faena}:")
    }


async def test_deleted_jobs_leave_nothing_behind(empty_redis: RedisServer) -> None:
    clock = FakeClock()
    async with open_store(empty_redis.url, clock=clock, options=StoreOptions(max_events=100)) as store:
        desk = Desk(store, clock, JobFactory())
        for status in Status:
            job = await desk.in_status(status, user="u", origin="o", key=f"k{status}", topic="t")
            if status is Status.PROCESSING:
                for number in (1, 2, 3):
                    await desk.report(job, number=number, events=(LOG,) * 70, checkpoint=b"1")
                await desk.finish(job, result=b"1")
        await store.purge("default", limit=10)
        clock.advance(1_000_000)
        assert await store.prune(limit=100) == 6
        assert store._line is not None
        await store._line("DEL", *(await store._line("KEYS", "*:r:*")))  # they expire
        left = {key.decode().removeprefix("faena:{faena}:") for key in await store._line("KEYS", "*")}
        assert left <= {"meta", "log", "t:0:default"}
        assert await store._line("XLEN", "faena:{faena}:log") <= 1


async def test_five_hundred_calls_at_once_need_one_connection(
    store: RedisStore, empty_redis: RedisServer, jobs: JobFactory
) -> None:
    assert store._line is not None
    await asyncio.gather(*(store.insert([jobs.new()]) for _ in range(500)))
    clients = (await store._line("CLIENT", "LIST")).decode().splitlines()
    assert len(clients) == 1
    assert sum(count.count for count in await store.counts()) == 500


async def test_a_caller_that_gives_up_does_not_disturb_the_others(
    store: RedisStore, jobs: JobFactory
) -> None:
    new = jobs.several(20)
    calls = [asyncio.create_task(store.insert([one])) for one in new]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert len((await store.find(Query(limit=100))).jobs) == 20
    assert all(len(call.result()) == 1 for call in calls[1::2])


async def test_a_search_goes_through_more_jobs_than_one_script_looks_at(
    store: RedisStore, jobs: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faena.stores.redis.store.LOOKED_AT", 200)
    wanted = [jobs.new(key=f"needle-{number}") for number in range(3)]
    for one in wanted:
        await store.insert([one, *jobs.several(700)])
    page = await store.find(Query(search="NEEDLE", limit=2))
    assert [job.id for job in page.jobs] == [wanted[2].id, wanted[1].id]
    rest = await store.find(Query(search="NEEDLE", limit=2, cursor=page.cursor))
    assert ([job.id for job in rest.jobs], rest.cursor) == ([wanted[0].id], None)


@pytest.mark.parametrize("cursor", ["no number", "", "0", "-5", "1234567890123"])
async def test_a_cursor_that_no_page_gave_out_is_refused(store: RedisStore, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await store.find(Query(cursor=cursor))


async def test_a_large_log_is_read_in_parts(
    store: RedisStore, jobs: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faena.stores.redis.store.LOG_BYTES", 1000)
    position = (await store.published(None, wait=0)).position
    for _ in range(10):
        await store.insert(jobs.several(50))
    sizes = []
    while (part := await store.published(position, wait=0)).told:
        assert not part.gap
        sizes.append(len(part.told))
        position = part.position
    assert sizes == [50] * 10
