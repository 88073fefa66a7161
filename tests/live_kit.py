"""A scripted event log for tests of `faena.live`, and short words for reading streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from faena.events import Event, EventType, Published, Told
from faena.job import Job, Status
from faena.ports.records import Story
from faena.streams import Item, Stream

JOB = "018f0000-0000-7000-8000-000000000001"
OTHER = "018f0000-0000-7000-8000-000000000002"


class ScriptedLog:
    """The part of a store that `Live` reads: what happened is told, and the log can be made to lose it."""

    def __init__(self) -> None:
        self.jobs: dict[str, list[Event]] = {}
        self.topics: dict[str, str] = {}
        self.kept_from: dict[str, int] = {}
        self.log: list[Told | None] = []  # None: a gap
        self.failures: list[Exception] = []
        self.story_failures: list[Exception] = []
        self.grown = asyncio.Condition()
        self.before_get: Callable[[], Awaitable[None]] | None = None
        self.after_get: Callable[[], Awaitable[None]] | None = None

    def happen(
        self,
        type: EventType = EventType.PROGRESS,
        *,
        job: str = JOB,
        status: Status = Status.PROCESSING,
        progress: float = 0.0,
        event: str | None = None,
        lost: bool = False,
    ) -> Event:
        events = self.jobs.setdefault(job, [])
        happened = Event(
            seq=len(events) + 1, type=type, status=status, at=0.0, progress=progress, event=event
        )
        events.append(happened)
        if not lost:
            self.log.append(self._told(job, happened))
        return happened

    def end(self, *, job: str = JOB, lost: bool = False) -> Event:
        return self.happen(EventType.STATUS, job=job, status=Status.COMPLETED, progress=100.0, lost=lost)

    def lose(self) -> None:
        self.log.append(None)

    async def publish(self) -> None:
        """Let the reader read everything that happened."""
        async with self.grown:
            self.grown.notify_all()
        await settled()

    def _told(self, job: str, event: Event) -> Told:
        return Told(task_id=job, task="t", queue="q", event=event, topic=self.topics.get(job))

    def _job(self, job_id: str) -> Job:
        last = self.jobs[job_id][-1]
        return Job(
            id=job_id, task="t", args=b"{}", queue="q", priority=0, status=last.status, attempt=1,
            max_attempts=1, crashes=0, token=1, seq=last.seq, created_at=0.0, due_at=0.0,
            progress=last.progress, topic=self.topics.get(job_id),
        )  # fmt: skip

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        if self.before_get is not None:
            await self.before_get()
        read = [self._job(job_id) if job_id in self.jobs else None for job_id in ids]
        if self.after_get is not None:
            await self.after_get()
        return read

    async def story(self, job_id: str, *, after: int = 0) -> Story | None:
        if self.story_failures:
            raise self.story_failures.pop(0)
        if job_id not in self.jobs:
            return None
        kept = self.kept_from.get(job_id, 1)
        events = tuple(event for event in self.jobs[job_id] if event.seq > after and event.seq >= kept)
        return Story(job=self._job(job_id), events=events, gap=after + 1 < kept)

    async def published(self, after: int | None, *, wait: float) -> Published:
        if after is None:
            return Published(position=len(self.log))
        if self.failures:
            raise self.failures.pop(0)
        async with self.grown:
            await self.grown.wait_for(lambda: len(self.log) > after)
        rest = self.log[after:]
        return Published(
            position=len(self.log), told=tuple(told for told in rest if told is not None), gap=None in rest
        )


async def settled() -> None:
    """Let every task that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def take(stream: Stream, count: int) -> list[Item]:
    return [await asyncio.wait_for(anext(stream), 5) for _ in range(count)]


async def rest(stream: Stream) -> list[Item]:
    async with asyncio.timeout(5):
        return [item async for item in stream]


def seqs(items: Sequence[Item]) -> list[int]:
    return [item.event.seq for item in items if isinstance(item, Told)]
