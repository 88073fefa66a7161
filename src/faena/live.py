"""Live progress: one reader of the event log a process, fanned out in memory to any number of streams.

What a listener is promised says `faena.streams`; no stream slows another one, and none slows the reader.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from faena.errors import NotFound
from faena.events import Published
from faena.job import Job
from faena.ports.records import Story
from faena.streams import JobStream, ManyStream, Stream

log = logging.getLogger(__name__)

BUFFER = 256
"""How many events wait for a slow listener."""
READ_WAIT = 30.0
"""Seconds that one reading of the log waits for something to come."""
BACKOFF = (0.1, 0.5, 2.0, 5.0)
"""Seconds between readings while the store does not answer."""


class EventLog(Protocol):
    """What `Live` needs of a `Store`."""

    async def get(self, ids: Sequence[str]) -> list[Job | None]: ...

    async def published(self, after: int | None, *, wait: float) -> Published: ...

    async def story(self, job_id: str, *, after: int = 0) -> Story | None: ...


class Live:
    """The fan-out of a store's event log in this process. Belongs to the store's event loop."""

    def __init__(self, store: EventLog, *, buffer: int = BUFFER) -> None:
        self.buffer = buffer
        self._store = store
        self._jobs: dict[str, set[JobStream]] = {}
        self._many: set[ManyStream] = set()
        self._starting = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return sum(1 for _ in self._streams())

    async def start(self) -> None:
        """Begin to read the log. Implied by the first subscription; safe to repeat."""
        async with self._starting:
            if self._reader is None and not self._closed:
                now = await self._store.published(None, wait=0)
                self._reader = asyncio.create_task(self._read(now.position), name="faena-live-reader")

    async def close(self) -> None:
        """Stop reading and end every stream. Safe to repeat."""
        self._closed = True
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        for stream in list(self._streams()):
            stream.end()

    def job(self, job_id: str, *, after: int | None = None) -> JobStream:
        """The stream of one job. Its first item is a `Snapshot`, or with ``after`` the first event after that seq
        if it is still kept; its last is the job's final event. Entering it raises `NotFound` for an unknown job."""
        return JobStream(self, job_id, after=after)

    def topic(self, topic: str, *, user: str | None = None) -> ManyStream:
        """Every event from now on of the jobs that tell on a topic (of one user's jobs only, if named)."""
        return ManyStream(self, wanted=lambda told: told.topic == topic and user in (None, told.user))

    def everything(self, *, user: str | None = None) -> ManyStream:
        """Every event from now on of all jobs (of one user's jobs only, if named)."""
        return ManyStream(self, wanted=lambda told: user in (None, told.user))

    async def read_job(self, job_id: str) -> Job:
        """Return a job as it stands; raises `NotFound`."""
        [job] = await self._store.get([job_id])
        if job is None:
            raise NotFound(job_id)
        return job

    async def read_story(self, job_id: str, *, after: int) -> Story:
        """Return a job with its events after a seq; raises `NotFound`."""
        story = await self._store.story(job_id, after=after)
        if story is None:
            raise NotFound(job_id)
        return story

    async def _read(self, position: int) -> None:
        failures = 0
        while True:
            try:
                published = await self._store.published(position, wait=READ_WAIT)
            except Exception:
                log.warning("the event log can't be read; trying again", exc_info=True)
                await asyncio.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
                failures += 1
                continue
            failures = 0
            position = published.position
            self._tell(published)

    def _tell(self, published: Published) -> None:
        if published.gap:
            for stream in self._streams():
                stream.gap()
        for told in published.told:
            for listener in self._jobs.get(told.task_id, ()):
                listener.push(told)
            for onlooker in self._many:
                onlooker.push(told)

    def _streams(self) -> Iterator[Stream]:
        for listeners in self._jobs.values():
            yield from listeners
        yield from self._many

    def join(self, stream: Stream) -> None:
        """Tell a stream what comes from now on; a closed `Live` ends it."""
        if self._closed:
            stream.end()
        elif isinstance(stream, JobStream):
            self._jobs.setdefault(stream.job_id, set()).add(stream)
        elif isinstance(stream, ManyStream):
            self._many.add(stream)

    def leave(self, stream: Stream) -> None:
        """Tell a stream nothing more. Safe to repeat."""
        if isinstance(stream, ManyStream):
            self._many.discard(stream)
        elif isinstance(stream, JobStream):
            listeners = self._jobs.get(stream.job_id, set())
            listeners.discard(stream)
            if not listeners:
                self._jobs.pop(stream.job_id, None)
