"""What one listener hears: the events of one job, or of many, at its own pace.

* A job's stream begins with a snapshot (or with the first event after a named ``seq``), goes on with every later
  event, and ends with the job's final event: also for who comes late, also after a hole in the log. A job's
  stream that fell behind reads what it missed from the store, at its own pace, so it never has a hole.
* Buffers are bounded. Progress goes first, older before newer; status changes, a task's own events and log lines
  only go from a stream of many jobs, which is then told so by `Lagged`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from faena.events import Event, EventType, Told
from faena.job import Job, Record
from faena.ports.records import Story


class Snapshot(Record, frozen=True):
    """A job as it stood at its event ``job.seq``; what follows in the stream happened after it."""

    job: Job


class Lagged(Record, frozen=True):
    """A stream of many jobs lost something (it was too slow, or the log had a gap): read the jobs again."""

    lost: int = 0
    """How many events this stream dropped; 0: not known."""


Item: TypeAlias = Snapshot | Told | Lagged


class Source(Protocol):
    """What a stream needs of `faena.live.Live`."""

    buffer: int

    async def start(self) -> None: ...

    def join(self, stream: Stream) -> None: ...

    def leave(self, stream: Stream) -> None: ...

    async def read_job(self, job_id: str) -> Job: ...

    async def read_story(self, job_id: str, *, after: int) -> Story: ...


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

    def __init__(self, live: Source) -> None:
        self._live = live
        self._buffer = Buffer(live.buffer)
        self._something = asyncio.Event()
        self._ended = False

    async def __aenter__(self) -> Self:
        await self._live.start()
        self._live.join(self)
        try:
            await self._begin()
        except BaseException:
            self._live.leave(self)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.leave(self)

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

    def push(self, told: Told) -> None:
        """The reader tells an event. Never blocks."""
        raise NotImplementedError

    def gap(self) -> None:
        """The reader tells that the log has lost something."""
        raise NotImplementedError

    def end(self) -> None:
        """Make the listener's iteration end."""
        self._ended = True
        self._something.set()


class JobStream(Stream):
    """The events of one job up to its final one, without a hole (but for outdated progress)."""

    def __init__(self, live: Source, job_id: str, *, after: int | None) -> None:
        super().__init__(live)
        self.job_id = job_id
        self._after = after
        self._read: deque[Item] = deque()  # what the store said; the listener gets it before the buffer
        self._told = 0  # the seq up to which the listener has, or finds in `_read`, everything
        # the first and the last seq that the reader told since the last reading of the store
        self._first_heard: int | None = None
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
            self.end()
        return item

    def push(self, told: Told) -> None:
        seq = told.event.seq
        if self._behind or (self._heard is not None and seq <= self._heard):
            return
        missed = self._heard is not None and seq > self._heard + 1
        self._first_heard = self._first_heard or seq
        self._heard = seq
        if self._buffer.push(told) or missed:
            self._fall_behind()
        self._something.set()

    def gap(self) -> None:
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

    def __init__(self, live: Source, *, wanted: Callable[[Told], bool]) -> None:
        super().__init__(live)
        self._wanted = wanted
        self._lagged: Lagged | None = None

    async def _next(self) -> Item | None:
        if self._lagged is not None:
            lagged, self._lagged = self._lagged, None
            return lagged
        return self._buffer.pop()

    def push(self, told: Told) -> None:
        if not self._wanted(told):
            return
        if lost := self._buffer.push(told):
            self._lose(lost)
        self._something.set()

    def gap(self) -> None:
        self._lose(0)
        self._something.set()

    def _lose(self, lost: int) -> None:
        before = self._lagged.lost if self._lagged else 0
        self._lagged = Lagged(lost=before + lost)


def _tell(job: Job, event: Event) -> Told:
    return Told(task_id=job.id, task=job.task, queue=job.queue, event=event, topic=job.topic, user=job.user)
