"""The memory store: the `Store` port over one `Ledger`.

It is not durable: what it holds ends with the process. It is meant for tests and for development in one
process. Verbs that pick jobs look through all that have the status in question, which is fine for thousands.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from faena.errors import StoreDown
from faena.events import Published
from faena.job import Job, NewJob, Outcome
from faena.ports.engine import Delivery
from faena.ports.records import (
    CancelResult,
    Changed,
    Claim,
    Count,
    Held,
    Inserted,
    Lease,
    Obstacles,
    Page,
    Paused,
    Promoted,
    Query,
    Report,
    StoreHealth,
    Story,
    WorkerInfo,
)
from faena.ports.store import StoreOptions
from faena.schedule import Schedule
from faena.stores.memory.ledger import Ledger

Answer = TypeVar("Answer")

SHORTEST_PAUSE: Final = 0.001


class MemoryStore:
    """A store in memory. One instance belongs to one event loop; `beside` gives another loop its own."""

    name = "memory"

    def __init__(
        self,
        *,
        options: StoreOptions | None = None,
        clock: Callable[[], float] | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._ledger = ledger or Ledger(options or StoreOptions(), clock or time.time)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    def beside(self) -> MemoryStore:
        """Return another store on the same jobs, for another event loop or thread. Open it there."""
        return MemoryStore(ledger=self._ledger)

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        with self._ledger.lock:  # another thread may be calling the listeners
            self._ledger.listeners.add(self._wake)

    async def close(self) -> None:
        with self._ledger.lock:
            self._ledger.listeners.discard(self._wake)
        self._loop = None

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return self._do(lambda ledger: ledger.insert(jobs))

    async def claim(self, ids: Sequence[str], *, worker: str, lease: float, request: str) -> list[Claim]:
        return self._do(lambda ledger: ledger.claim(ids, worker=worker, lease=lease, request=request))

    async def claim_next(
        self, queues: Sequence[str], *, worker: str, lease: float, limit: int, request: str
    ) -> list[Claim]:
        return self._do(
            lambda ledger: ledger.claim_next(queues, worker=worker, lease=lease, limit=limit, request=request)
        )

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Held]:
        return self._do(lambda ledger: ledger.extend(leases, lease=lease))

    async def started(self, leases: Sequence[Lease]) -> list[Held]:
        return self._do(lambda ledger: ledger.started(leases))

    async def report(self, reports: Sequence[Report]) -> list[Held]:
        return self._do(lambda ledger: ledger.report(reports))

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bool]:
        return self._do(lambda ledger: ledger.finish(outcomes))

    async def promote(self, *, limit: int) -> Promoted:
        return self._do(lambda ledger: ledger.promote(limit))

    async def admit(self, *, limit: int) -> Promoted:
        return self._do(lambda ledger: ledger.admit(limit))

    async def rescue(self, *, limit: int) -> list[Delivery]:
        return self._do(lambda ledger: ledger.rescue(limit))

    async def undelivered(self, *, empty: Sequence[str], age: float, limit: int) -> list[Delivery]:
        return self._do(lambda ledger: ledger.undelivered(empty=empty, age=age, limit=limit))

    async def prune(self, *, limit: int) -> int:
        return self._do(lambda ledger: ledger.prune(limit))

    async def cancel(self, ids: Sequence[str]) -> list[CancelResult]:
        return self._do(lambda ledger: ledger.cancel(ids))

    async def purge(self, queue: str, *, limit: int) -> int:
        return self._do(lambda ledger: ledger.purge(queue, limit))

    async def change(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        delay: float | None = None,
        due_at: float | None = None,
    ) -> Changed:
        return self._do(lambda ledger: ledger.change(job_id, priority, delay, due_at))

    async def pause(self, *, queue: str | None = None, task: str | None = None) -> bool:
        return self._do(lambda ledger: ledger.lines.pause(queue, task))

    async def resume(self, *, queue: str | None = None, task: str | None = None) -> bool:
        return self._do(lambda ledger: ledger.resume(queue, task))

    async def paused(self) -> list[Paused]:
        return self._do(lambda ledger: ledger.lines.paused())

    async def obstacles(self, job_id: str) -> Obstacles | None:
        return self._do(lambda ledger: ledger.obstacles(job_id))

    async def put_schedules(self, schedules: Sequence[Schedule]) -> None:
        self._do(lambda ledger: ledger.timetable.put(schedules))

    async def schedules(self) -> list[Schedule]:
        return self._do(lambda ledger: ledger.timetable.all())

    async def tick(
        self, name: str, *, at: float, next_at: float | None, jobs: Sequence[NewJob], missed: int = 0
    ) -> list[Inserted] | None:
        return self._do(lambda ledger: ledger.tick(name, at, next_at, jobs, missed))

    async def steer_schedule(
        self, name: str, *, paused: bool | None = None, next_at: float | None = None
    ) -> Schedule | None:
        return self._do(lambda ledger: ledger.timetable.steer(name, paused, next_at))

    async def drop_schedules(self, names: Sequence[str]) -> int:
        return self._do(lambda ledger: ledger.timetable.drop(names))

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        return self._do(lambda ledger: ledger.get(ids))

    async def find(self, query: Query) -> Page:
        return self._do(lambda ledger: ledger.find(query))

    async def counts(self) -> list[Count]:
        return self._do(lambda ledger: ledger.counts())

    async def story(self, job_id: str, *, after: int = 0) -> Story | None:
        return self._do(lambda ledger: ledger.story(job_id, after))

    async def published(self, after: int | None, *, wait: float) -> Published:
        if after is not None:
            await self._until(lambda ledger: ledger.published_up_to != after, wait)
        return self._do(lambda ledger: ledger.published(after))

    async def work(self, queues: Sequence[str], *, wait: float) -> None:
        await self._until(
            lambda ledger: ledger.has_work(queues), wait, again_in=lambda ledger: ledger.opens_in(queues)
        )

    async def beat(self, worker: WorkerInfo, *, ttl: float) -> None:
        self._do(lambda ledger: ledger.roster.beat(worker, ttl))

    async def leave(self, worker_id: str) -> None:
        self._do(lambda ledger: ledger.roster.leave(worker_id))

    async def workers(self) -> list[WorkerInfo]:
        return self._do(lambda ledger: ledger.roster.live())

    async def check(self) -> StoreHealth:
        jobs = self._do(lambda ledger: len(ledger.rows))
        return StoreHealth(
            name=self.name,
            version=platform.python_version(),
            location="this process",
            warnings=("the memory store is not durable: every job is lost when this process ends",),
            details={"jobs": jobs},
        )

    def _do(self, verb: Callable[[Ledger], Answer]) -> Answer:
        if self._loop is None:
            raise StoreDown(
                "the memory store is not open; expected `await store.open()` before the first call"
            )
        with self._ledger.lock:
            before = self._ledger.published_up_to
            answer = verb(self._ledger)
            if self._ledger.published_up_to != before:
                self._ledger.wake_listeners()
        return answer

    async def _until(
        self,
        ready: Callable[[Ledger], bool],
        wait: float,
        again_in: Callable[[Ledger], float | None] | None = None,
    ) -> None:
        """Wait until ``ready``: look again after each change, and when the seconds of ``again_in`` have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while not self._do(ready):
                    pause = self._do(again_in) if again_in else None
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(None if pause is None else max(pause, SHORTEST_PAUSE)):
                            await self._changed.wait()

    def _wake(self) -> None:
        """Called from any thread, with the ledger locked, after each change."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
