"""Everything that can be done to jobs from outside: enqueue, cancel, retry, get, wait, purge.

Async, and belongs to one event loop. Plain code and other loops come through `faena.portal`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from faena.batch import Batch
from faena.durations import seconds
from faena.errors import (
    Conflict,
    InvalidArguments,
    KeyConflict,
    NotFound,
    QueueDisabled,
    StoreDown,
    UnknownTask,
    WaitTimeout,
)
from faena.ids import Ids
from faena.job import Job, NewJob, Status
from faena.live import Live, Snapshot
from faena.ports.engine import Delivery, Engine
from faena.ports.store import CancelResult, Inserted, Store
from faena.task import JobRequest, Task

__all__ = ["CHUNK", "MAX_ARGUMENTS", "Client", "JobRequest"]

CHUNK: Final = 1000
"""Jobs that one call of the store carries at most."""
MAX_ARGUMENTS: Final = 4 * 1024 * 1024
"""Bytes of JSON that the arguments of one job may be."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Client:
    """The one way by which jobs come into the store. The store is open, and is closed by who opened it."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        tasks: Mapping[str, Task[Any, Any]],
        *,
        enabled: bool = True,
        max_arguments: int = MAX_ARGUMENTS,
        live: Live | None = None,
    ) -> None:
        self.store = store
        self.engine = engine
        self.tasks = tasks
        self.live = live if live is not None else Live(store)
        self.enabled = enabled
        """False (QUEUE_ENABLED=0): nothing new is accepted."""
        self.max_arguments = max_arguments
        self._new_id = Ids()
        self._insert: Batch[NewJob, Inserted] = Batch(store.insert)
        self._deliver_batched: Batch[Delivery, None] = Batch(self._deliver)

    async def enqueue(self, request: JobRequest) -> Inserted:
        """Store a job and hand it to the engine. A live job of the same task, key and arguments is returned in its
        place (``duplicate``). Raises `KeyConflict`, `UnknownTask`, `InvalidArguments`, `Unavailable`.

        Once the job is stored, nothing that goes wrong makes this raise: an engine that is down gets it later.
        """
        inserted = await self._insert(self._new_job(request))
        if inserted.conflict:
            raise KeyConflict(str(inserted.job.key), inserted.job.id)
        if self._delivers(inserted):
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
        inserted: list[Inserted] = []
        for chunk in _chunks(jobs):
            stored = await self.store.insert(chunk)
            await self._deliver([_delivery(one.job) for one in stored if self._delivers(one)])
            inserted += stored
        return inserted

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
        if not job.status.final:
            raise Conflict(
                f"job {job_id} is {job.status}: only one that has ended can be run again. Cancel it first, or wait"
            )
        return await self.enqueue(_again(job))

    async def get(self, job_id: str) -> Job:
        """Return a job as it stands now; raises `NotFound`."""
        job = (await self.store.get([job_id]))[0]
        if job is None:
            raise NotFound(job_id)
        return job

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
        task = self.tasks.get(request.task)
        if task is None:
            raise UnknownTask(request.task, list(self.tasks))
        options = task.options
        retries = options.max_retries if request.max_retries is None else request.max_retries
        return NewJob(
            id=self._new_id(),
            task=task.name,
            args=self._checked_arguments(task, request.args),
            queue=request.queue or options.queue,
            priority=options.priority if request.priority is None else request.priority,
            delay=seconds(request.delay or 0.0),
            due_at=None if request.at is None else request.at.timestamp(),
            max_attempts=retries + 1,
            timeout=None if request.timeout is None else seconds(request.timeout),
            key=request.key,
            user=request.user,
            topic=request.topic or options.topic,
            origin=request.origin,
        )

    def _checked_arguments(self, task: Task[Any, Any], args: Mapping[str, object] | bytes) -> bytes:
        body = task.adopt_args(args) if isinstance(args, bytes) else task.dump_args(args)
        if len(body) > self.max_arguments:
            told = (
                f"{len(body):,} bytes of JSON, and at most {self.max_arguments:,} are taken: put the data in a file or "
                "a database and pass its path or key, or make several jobs of it"
            )
            raise InvalidArguments(task.name, [{"where": "arguments", "message": told, "type": "too_long"}])
        return body

    def _delivers(self, inserted: Inserted) -> bool:
        fresh = not inserted.duplicate and not inserted.conflict
        return fresh and inserted.job.status is Status.PENDING and self.engine.capabilities.delivers

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

    async def _ended(self, job_id: str) -> Job:
        async with self.live.job(job_id) as stream:
            async for item in stream:
                if isinstance(item, Snapshot) and item.job.status.final:
                    return item.job
        job = await self.get(job_id)
        if not job.status.final:
            raise StoreDown(f"listening to job {job_id} ended before the job did; wait again")
        return job


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
    )


def _delivery(job: Job) -> Delivery:
    return Delivery(job_id=job.id, task=job.task, queue=job.queue, priority=job.priority)


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while chunk := list(islice(left, CHUNK)):
        yield chunk
