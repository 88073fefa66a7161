"""Everything that can be done to jobs from outside: enqueue, cancel, retry, change, get, wait, purge, pause, schedule.

Async, and belongs to one event loop. Plain code and other loops come through `faena.portal`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from faena import insights
from faena.batch import Batch
from faena.durations import Duration, seconds
from faena.errors import (
    Conflict,
    InvalidOptions,
    NotFound,
    QueueDisabled,
    Rejected,
    StoreDown,
    WaitTimeout,
)
from faena.job import Job, NewJob, OnConflict, Record, Status
from faena.live import Live
from faena.making import MAX_ARGUMENTS, Maker
from faena.options import JobOptions, QueueOptions
from faena.ports.engine import Delivery, Engine
from faena.ports.records import CancelResult, Inserted, Paused, Query
from faena.ports.store import Store
from faena.scheduling import Scheduling
from faena.streams import Snapshot
from faena.task import JobRequest, Task

__all__ = ["CHUNK", "MAX_ARGUMENTS", "Client", "JobRequest", "Retried"]

CHUNK: Final = 1000
"""Jobs that one call of the store carries at most."""
PAGE: Final = 200
"""Jobs that are read at once where all are gone through beside other work."""
COUNTED: Final = 10_000
"""How far `Retried.left` counts."""
KEPT_LONGER: Final = 120.0
"""Seconds for which the key of a repeated job outlives the old one, which is pruned a little late."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Retried(Record, frozen=True):
    """What `Client.retry_many` did."""

    jobs: tuple[Job, ...]
    """The new jobs."""
    left: int
    """Failed jobs of the same filter that were not run again yet (counted up to ten thousand): they are beyond the
    limit, or no task of this app takes them any more."""


class Client(Scheduling):
    """The one way by which jobs come into the store. The store is open, and is closed by who opened it."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        tasks: Mapping[str, Task[Any, Any]],
        *,
        queues: Mapping[str, QueueOptions] | None = None,
        enabled: bool = True,
        max_arguments: int = MAX_ARGUMENTS,
        live: Live | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``queues`` are those with limits; ``clock`` is the wall clock that schedules go by."""
        self.store = store
        self.engine = engine
        self.tasks = tasks
        self.live = live if live is not None else Live(store)
        self.enabled = enabled
        """False (QUEUE_ENABLED=0): nothing new is accepted."""
        self._maker = Maker(tasks, queues or {}, max_arguments=max_arguments)
        self._clock = clock
        self._insert: Batch[NewJob, Inserted] = Batch(store.insert)
        self._deliver_batched: Batch[Delivery, None] = Batch(self._deliver)
        self._admit_batched: Batch[None, None] = Batch(self._admit)

    async def enqueue(self, request: JobRequest) -> Inserted:
        """Store a job and hand it to the engine. A job that holds the key, with the same arguments, is returned in its
        place (``duplicate``). Raises `KeyConflict`, `UnknownTask`, `InvalidArguments`, `Unavailable`.

        Once the job is stored, nothing that goes wrong makes this raise: an engine that is down gets it later.
        """
        job = self._new_job(request)
        inserted = await self._insert(job)
        if inserted.conflict:
            raise self._maker.conflict(job, inserted.job)
        if self._held_back(inserted):
            await self._admit_batched(None)
        elif self._delivers(job, inserted):
            await self._deliver_batched(_delivery(inserted.job))
        return inserted

    async def enqueue_many(self, requests: Iterable[JobRequest]) -> list[Inserted]:
        """Store jobs, in chunks of a thousand that are each stored whole; all are checked before the first is.

        A key that a live job holds with other arguments raises nothing here: see `Inserted.conflict`.
        """
        jobs: list[NewJob] = []
        for some in _chunks(requests):
            jobs += [self._new_job(request) for request in some]
            await asyncio.sleep(0)  # checking many must not keep the loop from everyone else
        return await self._store(jobs)

    async def cancel(self, job_id: str) -> CancelResult:
        """Cancel a waiting job at once, ask a running one to stop; raises `NotFound`."""
        result = (await self.store.cancel([job_id]))[0]
        if result is CancelResult.UNKNOWN:
            raise NotFound(job_id)
        return result

    async def retry(self, job_id: str) -> Inserted:
        """Run a job that has ended once more: a new job that names it as its ``origin``, with its arguments, queue,
        priority, limits, user and topic, and without its key. Raises `NotFound`, and `Conflict` while it is live."""
        job = await self.get(job_id)
        refuse_live(job)
        return await self.enqueue(_again(job))

    async def retry_many(
        self, query: Query, *, canary: int | None = None, after: Sequence[str] = (), limit: int = CHUNK
    ) -> Retried:
        """Run failed jobs of a filter once more, newest first and each at most once, as long as it is kept: up to
        ``limit``, or with ``canary`` only so many to try it. With ``after`` nothing is run unless all those jobs have
        completed: raises `Conflict`, and `NotFound`.
        """
        for name, number in (("limit", limit), ("canary", canary)):
            if number is not None and number < 1:
                raise InvalidOptions(f"{name}={number} must be 1 or more")
        await self._check_completed(after)
        wanted = limit if canary is None else min(canary, limit)
        query = msgspec.structs.replace(query, statuses=(Status.FAILED,), limit=CHUNK, cursor=None)
        jobs: list[Job] = []
        left = 0
        async for failed in self._pages(query):
            now = self._clock()
            while failed and len(jobs) < wanted:
                some, failed = failed[: wanted - len(jobs)], failed[wanted - len(jobs) :]
                made = [new for job in some if (new := self._made_again(job, now)) is not None]
                answers = await self._store(made)
                jobs += [one.job for one in answers if not (one.duplicate or one.conflict)]
                left += len(some) - len(made)
            left += len(failed)
            if left >= COUNTED:
                break
        return Retried(jobs=tuple(jobs), left=left)

    async def change(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
    ) -> Job:
        """Give a waiting job another priority, or another time (from now, or an aware datetime). Raises `NotFound`,
        `InvalidOptions`, and `Conflict` when it waits no more."""
        asked = JobOptions(priority=priority, delay=delay, at=at)
        if priority is None and delay is None and at is None:
            raise InvalidOptions("nothing to change: give a priority, a delay or a time")
        changed = await self.store.change(
            job_id,
            priority=asked.priority,
            delay=None if delay is None else seconds(delay),
            due_at=None if at is None else at.timestamp(),
        )
        job = changed.job
        if job is None:
            raise NotFound(job_id)
        if not changed.changed:
            raise Conflict(f"job {job_id} is {job.status}: only one that waits can be changed")
        if job.status is Status.PENDING and self.engine.capabilities.delivers:
            await self._deliver_if_free(job)
        return job

    async def why(self, job_id: str) -> insights.Why:
        """Say why a job is not running; raises `NotFound`."""
        return await insights.why(self.store, self.engine, self.tasks, job_id)

    async def pause(self, *, queue: str | None = None, task: str | None = None) -> bool:
        """Start no more jobs of a queue, or of a task; those that run go on. False: it was paused already."""
        _check_one_named(queue, task)
        return await self.store.pause(queue=queue, task=task)

    async def resume(self, *, queue: str | None = None, task: str | None = None) -> bool:
        """Start jobs of a queue, or of a task, again. False: it was not paused."""
        _check_one_named(queue, task)
        resumed = await self.store.resume(queue=queue, task=task)
        if self.engine.capabilities.delivers:
            await self._admit_batched(None)
        return resumed

    async def paused(self) -> list[Paused]:
        """Return what is paused, longest first."""
        return await self.store.paused()

    async def get(self, job_id: str) -> Job:
        """Return a job as it stands now; raises `NotFound`."""
        job = (await self.store.get([job_id]))[0]
        if job is None:
            raise NotFound(job_id)
        return job

    async def each(self, statuses: Sequence[Status]) -> AsyncIterator[Job]:
        """Yield the jobs that have one of ``statuses``, newest first; page by page, and not as of one moment."""
        async for page in self._pages(Query(statuses=tuple(statuses), limit=PAGE)):
            for job in page:
                yield job

    async def wait(self, job_id: str, timeout: float | None = None) -> Job:
        """Return a job once it has ended; raises `NotFound`, `WaitTimeout` after ``timeout`` seconds (it goes on)."""
        job = await self.get(job_id)
        if job.status.final:
            return job
        try:
            async with asyncio.timeout(timeout):
                return await self._ended(job_id)
        except TimeoutError:
            if timeout is None:
                raise
            raise WaitTimeout(job_id, timeout) from None

    async def purge(self, queue: str) -> int:
        """Cancel all waiting jobs of a queue and drop the engine's messages of it; returns how many were cancelled."""
        purged = 0
        while True:
            some = await self.store.purge(queue, limit=CHUNK)
            purged += some
            if some < CHUNK:
                break
        if self.engine.capabilities.delivers:
            await self._tell_engine("purge", self.engine.purge, [queue])
        return purged

    async def close(self) -> None:
        """Stop listening. The store and the engine stay as they are."""
        await self.live.close()

    def _new_job(self, request: JobRequest) -> NewJob:
        if not self.enabled:
            raise QueueDisabled("the queue is switched off: nothing new is accepted until QUEUE_ENABLED=1")
        return self._maker.make(request)

    def _made_again(self, job: Job, now: float) -> NewJob | None:
        """Return a failed job's next one; None: its task is unknown here, or takes other arguments now."""
        try:
            return self._new_job(_once_again(job, now))
        except Rejected:
            return None

    async def _store(self, jobs: Iterable[NewJob]) -> list[Inserted]:
        inserted: list[Inserted] = []
        for chunk in _chunks(jobs):
            stored = await self.store.insert(chunk)
            ready = [one.job for new, one in zip(chunk, stored, strict=True) if self._delivers(new, one)]
            await self._deliver([_delivery(job) for job in ready])
            if any(self._held_back(one) for one in stored):
                await self._admit_batched(None)
            inserted += stored
        return inserted

    def _delivers(self, new: NewJob, inserted: Inserted) -> bool:
        """Whether the engine is to be told: of a new job, and of one that was debounced and may be due by that."""
        told = inserted.conflict or inserted.replayed or inserted.held_back
        if told or (inserted.duplicate and new.on_conflict is not OnConflict.DEBOUNCE):
            return False
        return inserted.job.status is Status.PENDING and self.engine.capabilities.delivers

    def _held_back(self, inserted: Inserted) -> bool:
        return inserted.held_back and self.engine.capabilities.delivers

    async def _deliver_if_free(self, job: Job) -> None:
        """Hand a changed job to the engine, unless it is held back: then `admit` has it."""
        obstacles = await self.store.obstacles(job.id)
        if obstacles is not None and obstacles.delivered_ago is None:
            await self._admit_batched(None)
        elif obstacles is not None:
            await self._deliver_batched(_delivery(job))

    async def _admit(self, asked: Sequence[None]) -> list[None]:
        """Hand to the engine what was held back and may go now; never raises, for a worker does it again."""
        try:
            while True:
                admitted = await self.store.admit(limit=CHUNK)
                await self._deliver(admitted.deliveries)
                if len(admitted.deliveries) < CHUNK:
                    break
        except Exception as error:
            log.warning("held back jobs wait for a worker (%s: %s)", type(error).__name__, error)
        return [None] * len(asked)

    async def _deliver(self, deliveries: Sequence[Delivery]) -> list[None]:
        """Hand jobs to the engine; never raises, for they are stored and will be redelivered."""
        if deliveries:
            await self._tell_engine("deliver", self.engine.deliver, deliveries)
        return [None] * len(deliveries)

    async def _tell_engine(self, verb: str, call: Any, items: Sequence[Any]) -> None:
        try:
            await asyncio.to_thread(call, items)
        except Exception as error:
            log.warning(
                "the engine %s could not %s (%s: %s); the store holds the jobs, and they will be delivered later",
                self.engine.name,
                verb,
                type(error).__name__,
                error,
            )

    async def _pages(self, query: Query) -> AsyncIterator[list[Job]]:
        while True:
            page = await self.store.find(query)
            yield list(page.jobs)
            if page.cursor is None:
                return
            query = msgspec.structs.replace(query, cursor=page.cursor)

    async def _check_completed(self, ids: Sequence[str]) -> None:
        found = await self.store.get(ids) if ids else []
        for job_id, job in zip(ids, found, strict=True):
            if job is None:
                raise NotFound(job_id)
            if job.status is not Status.COMPLETED:
                raise Conflict(
                    f"nothing was run again: job {job_id}, which has to complete first, is {job.status}"
                )

    async def _ended(self, job_id: str) -> Job:
        async with self.live.job(job_id) as stream:
            async for item in stream:
                if isinstance(item, Snapshot) and item.job.status.final:
                    return item.job
        job = await self.get(job_id)
        if not job.status.final:
            raise StoreDown(f"listening to job {job_id} ended before the job did; wait again")
        return job


def refuse_live(job: Job) -> None:
    """Raise `Conflict` for a job that can't be run again because it has not ended."""
    if not job.status.final:
        raise Conflict(
            f"job {job.id} is {job.status}: only one that has ended can be run again. Cancel it first, or wait"
        )


def _again(job: Job) -> JobRequest:
    return JobRequest(
        task=job.task,
        args=job.args,
        queue=job.queue,
        priority=job.priority,
        timeout=job.timeout,
        max_retries=job.max_attempts - 1,
        user=job.user,
        topic=job.topic,
        origin=job.id,
        unique=False,
    )


def _once_again(job: Job, now: float) -> JobRequest:
    """The same, with a key that makes it the only one for as long as the old job is kept."""
    kept = math.inf if job.expires_at is None else max(job.expires_at - now, 0.0) + KEPT_LONGER
    return msgspec.structs.replace(_again(job), key=f"retry:{job.id}", keep_key=kept)


def _check_one_named(queue: str | None, task: str | None) -> None:
    if (queue is None) == (task is None):
        raise InvalidOptions("name a queue or a task, one of them")


def _delivery(job: Job) -> Delivery:
    return Delivery(job_id=job.id, task=job.task, queue=job.queue, priority=job.priority)


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while chunk := list(islice(left, CHUNK)):
        yield chunk
