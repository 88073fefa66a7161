"""Live progress: one reader of the event log a process, fanned out in memory to any number of streams.

Three promises, whatever a listener's speed:

* A job's stream begins with a snapshot (or with the first event after a named ``seq``), goes on with every later
  event, and ends with the job's final event: also for who comes late, also after a hole in the log. A job's
  stream that fell behind reads what it missed from the store, at its own pace, so it never has a hole.
* Buffers are bounded. Progress goes first, older before newer; status changes, a task's own events and log lines
  only go from a stream of many jobs, which is then told so by `Lagged`.
* No stream slows another one, and none slows the reader.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from faena.errors import NotFound
from faena.events import Event, EventType, Published, Told
from faena.job import Job, Record
from faena.ports.records import Story

log = logging.getLogger(__name__)

BUFFER = 256
"""How many events wait for a slow listener."""
READ_WAIT = 30.0
"""Seconds that one reading of the log waits for something to come."""
BACKOFF = (0.1, 0.5, 2.0, 5.0)
"""Seconds between readings while the store does not answer."""


class Snapshot(Record, frozen=True):
    """A job as it stood at its event ``job.seq``; what follows in the stream happened after it."""

    job: Job


class Lagged(Record, frozen=True):
    """A stream of many jobs lost something (it was too slow, or the log had a gap): read the jobs again."""

    lost: int = 0
    """How many events this stream dropped; 0: not known."""


Item: TypeAlias = Snapshot | Told | Lagged


class EventLog(Protocol):
    """What `Live` needs of a `Store`."""

    async def get(self, ids: Sequence[str]) -> list[Job | None]: ...

    async def published(self, after: int | None, *, wait: float) -> Published: ...

    async def story(self, job_id: str, *, after: int = 0) -> Story | None: ...


class Buffer:
    """Events that wait for one listener: bounded, progress goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Told] = deque()

    def push(self, told: Told) -> int:
        """Keep an event; returns how many events other than outdated progress had to be dropped for it."""
        if self._outdates_last(told):
            self._waiting.pop()
        elif len(self._waiting) >= self._limit:
            self._drop_progress()
        dropped = 0
        if len(self._waiting) >= self._limit:
            dropped = len(self._waiting)
            self._waiting.clear()
        self._waiting.append(told)
        return dropped

    def pop(self) -> Told | None:
        """Return the oldest event, None when there is none."""
        return self._waiting.popleft() if self._waiting else None

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()

    def _outdates_last(self, told: Told) -> bool:
        if not self._waiting or told.event.type is not EventType.PROGRESS:
            return False
        last = self._waiting[-1]
        return last.event.type is EventType.PROGRESS and last.task_id == told.task_id

    def _drop_progress(self) -> None:
        kept = [waiting for waiting in self._waiting if waiting.event.type is not EventType.PROGRESS]
        self._waiting = deque(kept)


class Stream:
    """Events for one listener: ``async with`` it, then iterate. Made by `Live`; one task iterates."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._buffer = Buffer(live.buffer)
        self._something = asyncio.Event()
        self._ended = False

    async def __aenter__(self) -> Self:
        await self._live.start()
        self._live._join(self)
        try:
            await self._begin()
        except BaseException:
            self._live._leave(self)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live._leave(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while (item := await self._next()) is None:
            if self._ended:
                raise StopAsyncIteration
            self._something.clear()
            await self._something.wait()
        return item

    async def _begin(self) -> None:
        """Read what the stream starts with."""

    async def _next(self) -> Item | None:
        """Return the next item; None: nothing is there now."""
        raise NotImplementedError

    def _push(self, told: Told) -> None:
        """The reader tells an event. Never blocks."""
        raise NotImplementedError

    def _gap(self) -> None:
        """The reader tells that the log has lost something."""
        raise NotImplementedError

    def _end(self) -> None:
        self._ended = True
        self._something.set()


class JobStream(Stream):
    """The events of one job up to its final one, without a hole (but for outdated progress)."""

    def __init__(self, live: Live, job_id: str, *, after: int | None) -> None:
        super().__init__(live)
        self.job_id = job_id
        self._after = after
        self._read: deque[Item] = deque()  # what the store said; the listener gets it before the buffer
        self._told = 0  # the seq up to which the listener has, or finds in `_read`, everything
        self._first_heard: int | None = (
            None  # the seqs that the reader told since the last reading of the store
        )
        self._heard: int | None = None
        self._behind = False  # something is missing; the store has it

    async def _begin(self) -> None:
        if self._after is None:
            await self._start_afresh()
        else:
            await self._resume(self._after)

    async def _next(self) -> Item | None:
        while not self._ended:
            if self._read:
                return self._hand_out(self._read.popleft())
            if self._behind:
                await self._catch_up()
            elif (told := self._buffer.pop()) is None:
                return None
            elif told.event.seq > self._told:
                self._told = told.event.seq
                return self._hand_out(told)
        return None

    def _hand_out(self, item: Item) -> Item:
        if isinstance(item, Told) and item.event.status.final:
            self._end()
        return item

    def _push(self, told: Told) -> None:
        seq = told.event.seq
        if self._behind or (self._heard is not None and seq <= self._heard):
            return
        missed = self._heard is not None and seq > self._heard + 1
        self._first_heard = self._first_heard or seq
        self._heard = seq
        if self._buffer.push(told) or missed:
            self._fall_behind()
        self._something.set()

    def _gap(self) -> None:
        self._fall_behind()
        self._something.set()

    def _fall_behind(self) -> None:
        self._behind = True
        self._buffer.clear()

    async def _catch_up(self) -> None:
        self._first_heard = self._heard = None
        self._behind = False  # from here on the buffer hears again, and joins what is read
        try:
            await self._resume(self._told)
        except BaseException:
            self._fall_behind()
            raise

    async def _start_afresh(self) -> None:
        job = await self._live.read_job(self.job_id)
        self._read.append(Snapshot(job=job))
        if job.status.final:
            await self._repeat_final(job)
        self._join(job.seq)

    async def _resume(self, after: int) -> None:
        story = await self._live.read_story(self.job_id, after=after)
        if story.gap or after > story.job.seq:
            await self._start_afresh()
            return
        self._read.extend(_tell(story.job, event) for event in story.events)
        if story.job.status.final and not story.events:
            await self._repeat_final(story.job)
        self._join(story.job.seq)

    async def _repeat_final(self, job: Job) -> None:
        story = await self._live.read_story(self.job_id, after=job.seq - 1)
        self._read.extend(_tell(job, event) for event in story.events)

    def _join(self, seq: int) -> None:
        """What was read goes up to ``seq``; what was heard meanwhile must go on from there."""
        self._told = seq
        if self._first_heard is not None and self._first_heard > seq + 1:
            self._fall_behind()
        self._heard = max(seq, self._heard or 0)


class ManyStream(Stream):
    """The events of many jobs as they happen, from now on."""

    def __init__(self, live: Live, *, wanted: Callable[[Told], bool]) -> None:
        super().__init__(live)
        self._wanted = wanted
        self._lagged: Lagged | None = None

    async def _next(self) -> Item | None:
        if self._lagged is not None:
            lagged, self._lagged = self._lagged, None
            return lagged
        return self._buffer.pop()

    def _push(self, told: Told) -> None:
        if not self._wanted(told):
            return
        if lost := self._buffer.push(told):
            self._lose(lost)
        self._something.set()

    def _gap(self) -> None:
        self._lose(0)
        self._something.set()

    def _lose(self, lost: int) -> None:
        before = self._lagged.lost if self._lagged else 0
        self._lagged = Lagged(lost=before + lost)


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
            stream._end()

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
                stream._gap()
        for told in published.told:
            for listener in self._jobs.get(told.task_id, ()):
                listener._push(told)
            for onlooker in self._many:
                onlooker._push(told)

    def _streams(self) -> Iterator[Stream]:
        for listeners in self._jobs.values():
            yield from listeners
        yield from self._many

    def _join(self, stream: Stream) -> None:
        if self._closed:
            stream._end()
        elif isinstance(stream, JobStream):
            self._jobs.setdefault(stream.job_id, set()).add(stream)
        elif isinstance(stream, ManyStream):
            self._many.add(stream)

    def _leave(self, stream: Stream) -> None:
        if isinstance(stream, ManyStream):
            self._many.discard(stream)
        elif isinstance(stream, JobStream):
            listeners = self._jobs.get(stream.job_id, set())
            listeners.discard(stream)
            if not listeners:
                self._jobs.pop(stream.job_id, None)


def _tell(job: Job, event: Event) -> Told:
    return Told(task_id=job.id, task=job.task, queue=job.queue, event=event, topic=job.topic, user=job.user)
