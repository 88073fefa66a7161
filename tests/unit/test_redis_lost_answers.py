"""Calls to Redis that were carried out but whose answer was lost on the way (rule 9)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Self

import pytest
from tests.redis_kit import empty_redis, open_store, redis_server

from faena.errors import StoreDown
from faena.events import EventType, NewEvent
from faena.job import Outcome, Status, Step
from faena.ports.records import Lease, Report
from faena.stores.redis.store import RedisStore
from faena.testing.clock import FakeClock
from faena.testing.factories import JobFactory
from faena.testing.servers import RedisServer

__all__ = ["empty_redis", "redis_server"]

LOG = NewEvent(type=EventType.LOG, event="info", message="line")


class Cutting:
    """A way to the server that is cut just before the next answer comes back, once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.armed = False
        self.cuts = 0
        self._server: asyncio.Server | None = None
        self._serving: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        passing = [
            asyncio.create_task(self._pass_on(reader, back)),
            asyncio.create_task(self._pass_on(there, writer, cut=True)),
        ]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            for end in (back, writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cut: bool = False
    ) -> None:
        while data := await reader.read(65536):
            if cut and self.armed:
                self.armed, self.cuts = False, self.cuts + 1
                return
            writer.write(data)


Call = Callable[[RedisStore, Any], Any]
REPEATED: dict[str, Call] = {
    "insert": lambda store, job: store.insert([JobFactory(milliseconds=5).new()]),
    "claim": lambda store, job: store.claim([job["waiting"]], worker="w", lease=9, request="r"),
    "claim_next": lambda store, job: store.claim_next(["default"], worker="w", lease=9, limit=1, request="r"),
    "extend": lambda store, job: store.extend([Lease(job_id=job["held"], token=1)], lease=99),
    "report": lambda store, job: store.report(
        [Report(job_id=job["held"], token=1, number=1, events=(LOG, LOG))]
    ),
    "finish": lambda store, job: store.finish([Outcome(job_id=job["held"], token=1, step=Step.COMPLETE)]),
}


@pytest.mark.parametrize("verb", REPEATED)
async def test_a_call_whose_answer_was_lost_is_made_once_and_answered(
    redis_server: RedisServer, empty_redis: RedisServer, verb: str
) -> None:
    call = REPEATED[verb]
    told = []
    for cut in (False, True):
        empty_redis.flush()
        async with Cutting(empty_redis.port) as way, open_store(way.url, clock=FakeClock()) as store:
            jobs = JobFactory()
            held, waiting = jobs.new(), jobs.new()
            await store.insert([held])
            await store.claim([held.id], worker="w", lease=9, request="first")
            await store.insert([waiting])
            way.armed = cut
            answer = await call(store, {"held": held.id, "waiting": waiting.id})
            assert way.cuts == cut
            stories = [await store.story(job.id) for job in (held, waiting)]
            told.append((answer, stories, await store.counts()))
    assert told[0] == told[1]


async def test_a_call_that_may_not_be_repeated_is_told_to_be_lost(empty_redis: RedisServer) -> None:
    async with Cutting(empty_redis.port) as way, open_store(way.url) as store:
        new = JobFactory().new()
        await store.insert([new])
        way.armed = True
        with pytest.raises(StoreDown):
            await store.cancel([new.id])
        (job,) = await store.get([new.id])
        assert job is not None
        assert job.status is Status.CANCELLED
